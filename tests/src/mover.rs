//! A mover as a process of its own, on the machine of its server.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Product;
use crate::process::binary;

/// A running mover. It is killed when this goes.
#[derive(Debug)]
pub struct Mover(Child);

impl Mover {
    /// Adds a mover to the server's list and starts it, with its token and log in `dir`; the server has heard of it then.
    ///
    /// # Errors
    /// When it does not reach its server within a minute.
    pub fn start(product: &Product, dir: &Path, name: &str, jobs: u32) -> Result<Self> {
        let token = dir.join(format!("{name}.token"));
        product.ok(&["mover", "add", name, "--new-token-file", &token.display().to_string()])?;
        let server: Value = serde_json::from_slice(&std::fs::read(product.data().join("server.json"))?)?;
        let log = std::fs::File::create(dir.join(format!("{name}.log")))?;
        let mut command = Command::new(binary("xenkeep")?);
        command.args(["mover", "--server", server["url"].as_str().context("a server without an address")?]);
        if let Some(certificate) = server["certificate_sha256"].as_str() {
            command.args(["--server-certificate", certificate]);
        }
        command.arg("--token-file").arg(&token).args(["--jobs", &jobs.to_string()]);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mover = Self(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let movers = product.json(&["mover", "list"])?;
            let mut movers = movers.as_array().into_iter().flatten();
            if movers.any(|mover| mover["name"] == name && mover["connected"] == true) {
                return Ok(mover);
            }
            ensure!(Instant::now() < deadline, "mover {name} does not connect");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
