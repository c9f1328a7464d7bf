//! Reading a host's backup: is it whole, and what is in it?

use std::io::BufRead;

use flate2::bufread::GzDecoder;
use xenkeep_api::HostSummary;

use super::tar::{Entry, Walk};

#[cfg(test)]
mod tests;

/// The file that says which release a host has.
const INVENTORY: &str = "etc/xensource-inventory";
/// It has some twenty lines.
const INVENTORY_BYTES_MAX: u64 = 64 << 10;
/// What the host's own script puts beside its file system.
const DATABASE: &str = "var/backup/pool-database-";

/// Reads a backup to its end.
pub(super) fn read(from: impl BufRead) -> Result<HostSummary, String> {
    let mut walk = Walk::new(GzDecoder::new(from));
    let mut summary = HostSummary::default();
    let mut inventory = None;
    while let Some(entry) = walk.next_entry()? {
        let Entry { path, is_file, real_bytes } = entry;
        let path = path.trim_start_matches("./");
        if is_file {
            summary.files += 1;
            summary.content_bytes = summary.content_bytes.saturating_add(real_bytes);
        }
        if path.starts_with(DATABASE) {
            summary.pool_database = Some(path.to_owned());
        }
        if path == INVENTORY && inventory.is_none() {
            inventory = Some(walk.content(INVENTORY_BYTES_MAX)?);
        }
    }
    // Whatever the archive is padded with, up to the checksum at the end of the compressed stream.
    let mut gzip = walk.into_inner();
    let copied = std::io::copy(&mut gzip, &mut std::io::sink());
    copied.map_err(|error| format!("its compressed stream is broken: {error}"))?;
    let mut rest = gzip.into_inner();
    if !rest.fill_buf().map_err(|error| error.to_string())?.is_empty() {
        return Err("something follows its end".to_owned());
    }
    let Some(inventory) = inventory else {
        return Err(format!("it has no {INVENTORY}: it is not the file system of a host"));
    };
    let inventory = String::from_utf8_lossy(&inventory).into_owned();
    summary.product = value(&inventory, "PRODUCT_BRAND");
    summary.version = value(&inventory, "PRODUCT_VERSION");
    summary.build = value(&inventory, "BUILD_NUMBER");
    Ok(summary)
}

/// `KEY='value'`.
fn value(inventory: &str, key: &str) -> String {
    let line = inventory.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    let text = line.unwrap_or_default().trim().trim_matches(['\'', '"']);
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
