//! The whole path: a simulated pool, the server with its mover, a datastore, and back into a file.

use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;
use xenkeep_tests::{Pool, PoolOptions, Product};

use crate::measure::{Cost, peak_memory, remove, run, size_of};
use crate::report::{BACKUP, BACKUP_TLS, CP, EXPORT, Report, SERVER, ZSTD};
use crate::{pipeline, restore};

/// Name of the VM.
const VM: &str = "bench";
/// Clients: the same pool, without and with TLS.
const PLAIN: &str = "plain";
const TLS: &str = "tls";

/// Takes turns: zstd, backups over HTTP and HTTPS, cp, export. The export is compared with the disk.
pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    let lab = Lab::build(disk, scratch)?;
    let point = lab.point()?;
    report.measure(&mut [
        (ZSTD, &mut || pipeline::zstd(disk, &scratch.join("disk.zst"))),
        (BACKUP, &mut || lab.back_up(PLAIN)),
        (BACKUP_TLS, &mut || lab.back_up(TLS)),
        (CP, &mut || restore::cp(disk, &scratch.join("copy.raw"))),
        (EXPORT, &mut || lab.export(&point, disk)),
    ])?;
    let peak_memory_bytes = lab.product.server_id().and_then(peak_memory).context("the server is gone")?;
    report.add(SERVER, Cost { peak_memory_bytes, ..Cost::default() });
    Ok(())
}

struct Lab {
    product: Product,
    dir: TempDir,
    _pool: Pool,
}

impl Lab {
    fn build(disk: &Path, scratch: &Path) -> Result<Self> {
        println!("starting a pool and a server …");
        let dir = tempfile::tempdir_in(scratch)?;
        let vms = vec![(VM.to_owned(), vec![disk.to_owned()])];
        let pool = Pool::start(&dir.path().join("pool"), &PoolOptions { vms, ..PoolOptions::default() })?;
        let product = Product::start(&dir.path().join("server"))?;
        let password = dir.path().join("pool/pool-password").display().to_string();
        for (client, transport, address) in [(PLAIN, "http", pool.http_address()), (TLS, "https", pool.https_address())]
        {
            let add = ["client", "add", client, "--address", address, "--transport", transport, "--trusted-network"];
            product.ok(&[&add[..], &["--user", "root", "--password-file", &password]].concat())?;
        }
        Ok(Lab { product, dir, _pool: pool })
    }

    /// Backs the VM up into a fresh datastore, whose directory is left.
    fn back_up_into(&self, client: &str, store: &str) -> Result<Cost> {
        let path = self.dir.path().join(store).display().to_string();
        self.product.ok(&["datastore", "create", store, "--path", &path])?;
        let cost = run(&mut self.product.command(&["backup", client, VM, "--datastore", store])?)?;
        Ok(Cost { stored_bytes: size_of(path.as_ref())?, ..cost })
    }

    fn back_up(&self, client: &str) -> Result<Cost> {
        let stores = self.product.json(&["datastore", "list"])?;
        let store = format!("store-{}", stores.as_array().map_or(0, Vec::len));
        let cost = self.back_up_into(client, &store)?;
        remove(&self.dir.path().join(store))?;
        Ok(cost)
    }

    /// A point that stays.
    fn point(&self) -> Result<String> {
        self.back_up_into(PLAIN, "kept")?;
        let points = self.product.json(&["point", "list"])?;
        let id = points.get(0).and_then(|point| point["id"].as_str());
        id.map(str::to_owned).with_context(|| format!("no point in {points}"))
    }

    fn export(&self, point: &str, disk: &Path) -> Result<Cost> {
        let to = self.dir.path().join("exported");
        let out = to.display().to_string();
        let cost = run(&mut self.product.command(&["export", point, "--format", "raw", "-o", &out])?)?;
        let mut files = std::fs::read_dir(&to)?;
        let file = files.next().context("nothing was exported")??.path();
        restore::compare(disk, &file)?;
        remove(&to).map(|()| cost)
    }
}
