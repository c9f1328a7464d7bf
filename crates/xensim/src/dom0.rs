//! The control domain of a host: the little of its file system that a backup holds.

use std::io::{Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tar::{Builder, EntryType, Header};

use crate::error::ApiError;
use crate::model::{Ref, Tables, dump};

/// Restores of this major version and older are refused by hosts of today.
const OLD_MAJOR: u32 = 6;

/// Length of the file that is mostly a hole, and of the pieces of data at its beginning and end.
const SPARSE_BYTES: u64 = 1 << 20;
const SPARSE_PIECE_BYTES: u64 = 4096;

/// The root file system as a compressed archive (xapi: `scripts/host-backup-restore/host-backup`).
pub(crate) fn archive(t: &Tables, host: &Ref, date: &str) -> std::io::Result<Vec<u8>> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let version = |key| t.entry(host, "software_version", key).unwrap_or_default();
    for directory in ["./", "boot/efi/", "./etc/", "./etc/xensource/", "./var/backup/", "./tmp/", "./usr/bin/"] {
        let mut header = header(EntryType::Directory, 0o755);
        tar.append_data(&mut header, directory, std::io::empty())?;
    }
    let inventory = format!(
        "PRODUCT_BRAND='{}'\nPRODUCT_NAME='xenenterprise'\nPRODUCT_VERSION='{}'\nPRODUCT_VERSION_TEXT='{}'\n\
         BUILD_NUMBER='{}'\nPLATFORM_VERSION='{}'\nINSTALLATION_UUID='{}'\nMANAGEMENT_INTERFACE='xenbr0'\n\
         BACKUP_PARTITION='/dev/sda2'\n",
        version("product_brand"),
        version("product_version"),
        version("product_version_text"),
        version("build_number"),
        version("platform_version"),
        t.str(host, "uuid"),
    );
    let own = format!("{}\n", t.str(host, "hostname"));
    let long = format!("./usr/share/{}/doc.txt", "a-name-that-no-header-has-room-for/".repeat(4));
    let database = format!("./var/backup/pool-database-{date}");
    let dump = dump::write(t);
    let files: [(&str, &[u8]); 6] = [
        ("./etc/xensource-inventory", inventory.as_bytes()),
        ("./etc/hostname", own.as_bytes()),
        ("./usr/bin/tool", &noise(192 << 10)),
        (&long, b"text"),
        ("./etc/empty", b""),
        (&database, dump.as_bytes()),
    ];
    for (path, content) in files {
        let mut header = header(EntryType::Regular, 0o644);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content)?;
    }
    let mut link = header(EntryType::Symlink, 0o777);
    tar.append_link(&mut link, "./etc/localtime", "../usr/share/zoneinfo/UTC")?;
    sparse(&mut tar)?;
    tar.into_inner()?.finish()
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header
}

/// A file with a hole, as GNU tar writes it with `--sparse`.
fn sparse(tar: &mut Builder<impl std::io::Write>) -> std::io::Result<()> {
    let data = noise(2 * SPARSE_PIECE_BYTES as usize);
    let mut header = header(EntryType::GNUSparse, 0o644);
    header.set_path("var/lib/sparse.img")?;
    header.set_size(data.len() as u64);
    if let Some(gnu) = header.as_gnu_mut() {
        for (piece, offset) in gnu.sparse.iter_mut().zip([0, SPARSE_BYTES - SPARSE_PIECE_BYTES]) {
            (&mut piece.offset[..]).write_all(format!("{offset:011o}\0").as_bytes())?;
            (&mut piece.numbytes[..]).write_all(format!("{SPARSE_PIECE_BYTES:011o}\0").as_bytes())?;
        }
        (&mut gnu.realsize[..]).write_all(format!("{SPARSE_BYTES:011o}\0").as_bytes())?;
    }
    header.set_cksum();
    tar.append(&header, &data[..])
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// What a host does with a backup that it is to put on its backup partition: unpacks it, and looks at its version.
pub(crate) fn unpack(t: &Tables, host: &Ref, archive: &[u8]) -> Result<(), ApiError> {
    let failed = |log: String| ApiError::new("RESTORE_SCRIPT_FAILED", [log]);
    let mut version = None;
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    for entry in tar.entries().map_err(|error| failed(format!("tar: {error}")))? {
        let mut entry = entry.map_err(|error| failed(format!("tar: {error}")))?;
        let is_inventory = entry.path().is_ok_and(|path| path.ends_with("etc/xensource-inventory"));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(|error| failed(format!("tar: {error}")))?;
        if is_inventory {
            let text = String::from_utf8_lossy(&content).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix("PRODUCT_VERSION='").map(str::to_owned));
            version = line.and_then(|line| line.split(['.', '\'']).next()?.parse::<u32>().ok());
        }
    }
    let mut rest = Vec::new();
    tar.into_inner().read_to_end(&mut rest).map_err(|error| failed(format!("gzip: {error}")))?;
    let of_host = t.entry(host, "software_version", "product_version").unwrap_or_default();
    let of_host = of_host.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or_default();
    match version {
        None => Err(failed("no inventory in the backup".to_owned())),
        Some(major) if major <= OLD_MAJOR && of_host > OLD_MAJOR => {
            Err(failed(format!("a backup of version {major} cannot be put on version {of_host}")))
        }
        Some(_) => Ok(()),
    }
}
