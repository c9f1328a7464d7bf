//! A simulated pool as a process, and its control endpoint.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::process::{Running, binary};

/// Root's password on every pool of the tests.
pub const PASSWORD: &str = "correct horse battery staple";

/// What a pool is to have.
#[derive(Debug, Default, Clone)]
pub struct PoolOptions {
    /// VMs: name and disk images, in the order of their positions.
    pub vms: Vec<(String, Vec<PathBuf>)>,
    /// Names of the VMs that run from the start.
    pub running: Vec<String>,
    /// Where it listens; on loopback unless said otherwise.
    pub address: Option<String>,
    /// What stands before the command.
    pub prefix: Vec<String>,
    /// Further arguments of `xensim`.
    pub more: Vec<String>,
}

/// A running pool.
#[derive(Debug)]
pub struct Pool {
    _process: Running,
    runtime: Runtime,
    control: String,
    http: String,
    https: String,
    member_https: Option<String>,
}

/// A VM as the simulator's control endpoint shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolVm {
    /// uuid.
    pub uuid: String,
    /// name-label.
    pub name: String,
    /// Power state in XAPI's words.
    pub power_state: String,
    /// MACs of its VIFs by device.
    pub macs: Vec<String>,
    /// uuids of its disks by position.
    pub disks: Vec<String>,
}

/// A snapshot's disk that was destroyed; the simulator kept its content for comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedDisk {
    /// uuid it had.
    pub uuid: String,
    /// uuid of the disk that it was a snapshot of.
    pub snapshot_of: String,
}

impl Pool {
    /// Starts a pool whose files lie in `storage`.
    ///
    /// # Errors
    /// When the simulator cannot be started or refuses the images.
    pub fn start(storage: &Path, options: &PoolOptions) -> Result<Self> {
        let password_file = storage.join("pool-password");
        std::fs::create_dir_all(storage)?;
        std::fs::write(&password_file, PASSWORD)?;
        let mut command = crate::process::prefixed(&options.prefix, &binary("xensim")?);
        let listen = format!("{}:0", options.address.as_deref().unwrap_or("127.0.0.1"));
        command.arg("--storage").arg(storage.join("pool")).arg("--password-file").arg(&password_file);
        command.args(["--listen", &listen, "--listen-tls", &listen, "--listen-control", &listen, "--keep-deleted"]);
        for (name, disks) in &options.vms {
            let disks: Vec<_> = disks.iter().map(|path| path.display().to_string()).collect();
            command.args(["--vm", &format!("{name}={}", disks.join(","))]);
        }
        for name in &options.running {
            command.args(["--running", name]);
        }
        command.args(&options.more);
        let (process, words) = Running::start(&mut command)?;
        let word = |key: &str| words.get(key).cloned().with_context(|| format!("xensim did not say {key}="));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let member_https = words.get("member_https").cloned();
        Ok(Self {
            member_https,
            control: word("control")?,
            http: word("http")?,
            https: word("https")?,
            _process: process,
            runtime,
        })
    }

    /// `host:port` of the master for https.
    #[must_use]
    pub fn https_address(&self) -> &str {
        address(&self.https)
    }

    /// `host:port` of the master for http.
    #[must_use]
    pub fn http_address(&self) -> &str {
        address(&self.http)
    }

    /// `host:port` for https of a host that is not the master; none in a pool of one host.
    #[must_use]
    pub fn member_https_address(&self) -> Option<&str> {
        self.member_https.as_deref().map(address)
    }

    /// Asks the control endpoint.
    ///
    /// # Errors
    /// When it cannot be reached or refuses.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.ask(reqwest::Method::GET, path, None)
    }

    /// Tells the control endpoint something.
    ///
    /// # Errors
    /// When it cannot be reached or refuses.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.ask(reqwest::Method::POST, path, Some(body))
    }

    /// Takes back all faults.
    ///
    /// # Errors
    /// When the control endpoint cannot be reached.
    pub fn clear_faults(&self) -> Result<()> {
        self.ask(reqwest::Method::DELETE, "/faults", None).map(drop)
    }

    fn ask(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.send(method, &format!("{}{path}", self.control), body)
    }

    fn send(&self, method: reqwest::Method, url: &str, body: Option<&Value>) -> Result<Value> {
        // Any TLS stack wants to be told its provider of cryptography; an error says that it was told already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        self.runtime.block_on(async {
            // A client of its own for each question: none of them is worth a connection pool.
            let mut request = reqwest::Client::builder().no_proxy().build()?.request(method, url);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.with_context(|| format!("cannot reach {url}"))?;
            let status = answer.status();
            let text = answer.text().await?;
            ensure!(status.is_success(), "{url}: {status}: {text}");
            if text.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_str(&text).with_context(|| format!("{url} answered {text}"))
        })
    }

    /// The real VMs (no templates, snapshots, control domains), by name.
    ///
    /// # Errors
    /// When the control endpoint cannot be reached.
    pub fn vms(&self) -> Result<Vec<PoolVm>> {
        let state = self.get("/state")?;
        let mut vms: Vec<PoolVm> = items(&state, "vms")
            .filter(|vm| vm["is_template"] == false && vm["is_snapshot"] == false && vm["is_control_domain"] != true)
            .map(|vm| PoolVm {
                uuid: text(&vm["uuid"]),
                name: text(&vm["name"]),
                power_state: text(&vm["power_state"]),
                macs: items(vm, "macs").map(text).collect(),
                disks: items(vm, "disks").map(text).collect(),
            })
            .collect();
        vms.sort_by(|a, b| a.name.cmp(&b.name).then(a.uuid.cmp(&b.uuid)));
        Ok(vms)
    }

    /// The one VM called `name`.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn vm(&self, name: &str) -> Result<PoolVm> {
        let mut vms = self.vms()?;
        vms.retain(|vm| vm.name == name);
        ensure!(vms.len() == 1, "{} VMs are called {name}", vms.len());
        vms.pop().context("no VM")
    }

    /// SHA-256 of the content of a disk, also of a destroyed snapshot's.
    ///
    /// # Errors
    /// When there is no such disk.
    pub fn sha256(&self, vdi: &str) -> Result<String> {
        Ok(text(&self.get(&format!("/vdi/{vdi}/sha256"))?["sha256"]))
    }

    /// Destroyed snapshots' disks, oldest first.
    ///
    /// # Errors
    /// When the control endpoint cannot be reached.
    pub fn deleted(&self) -> Result<Vec<DeletedDisk>> {
        let list = self.get("/deleted")?;
        Ok(list
            .as_array()
            .context("no list")?
            .iter()
            .map(|disk| DeletedDisk { uuid: text(&disk["uuid"]), snapshot_of: text(&disk["snapshot_of"]) })
            .collect())
    }

    /// SHA-256 of each disk of `vm` as the last snapshot of it held it, by position.
    ///
    /// # Errors
    /// When a disk has no destroyed snapshot.
    pub fn last_snapshot(&self, vm: &PoolVm) -> Result<Vec<String>> {
        let deleted = self.deleted()?;
        vm.disks
            .iter()
            .map(|disk| {
                let snapshot = deleted.iter().rev().find(|snapshot| snapshot.snapshot_of == *disk);
                self.sha256(&snapshot.with_context(|| format!("no snapshot of {disk} was read"))?.uuid)
            })
            .collect()
    }

    /// SHA-256 of each disk of `vm` as it is now, by position.
    ///
    /// # Errors
    /// When a disk is missing.
    pub fn contents(&self, vm: &PoolVm) -> Result<Vec<String>> {
        vm.disks.iter().map(|disk| self.sha256(disk)).collect()
    }
}

impl Pool {
    /// Calls XAPI over JSON-RPC as root, in a session of its own; for what an administrator does beside xenkeep.
    ///
    /// # Errors
    /// When the pool answers with an error.
    pub fn call(&self, method: &str, arguments: &[Value]) -> Result<Value> {
        let session = self.rpc("session.login_with_password", &[json!("root"), json!(PASSWORD)])?;
        let mut all = vec![session.clone()];
        all.extend_from_slice(arguments);
        let result = self.rpc(method, &all);
        self.rpc("session.logout", &[session])?;
        result
    }

    fn rpc(&self, method: &str, params: &[Value]) -> Result<Value> {
        let url = format!("{}/jsonrpc", self.http.trim_end_matches('/'));
        let question = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let answer = self.send(reqwest::Method::POST, &url, Some(&question))?;
        ensure!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        Ok(answer["result"].clone())
    }

    /// Destroys a halted VM and its disks, as `xe vm-uninstall` does.
    ///
    /// # Errors
    /// When the pool refuses.
    pub fn uninstall(&self, vm: &PoolVm) -> Result<()> {
        let reference = self.call("VM.get_by_uuid", &[json!(vm.uuid)])?;
        self.call("VM.destroy", &[reference])?;
        for disk in &vm.disks {
            let reference = self.call("VDI.get_by_uuid", &[json!(disk)])?;
            self.call("VDI.destroy", &[reference])?;
        }
        Ok(())
    }
}

/// The `host:port` of a URL.
fn address(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
