//! A pool, a server with a data directory, and a person at a shell.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use xensim::{
    Config, Sim,
    config::{DiskConfig, SrConfig, SrKind, VmConfig},
};

use crate::program::{self, Ran, Running};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const PASSWORD: &str = "xensim";

/// All of it. Dropped in this order: the server before the pool, the pool before its files.
pub(crate) struct Lab {
    server: Option<Running>,
    pub(crate) sim: Sim,
    http: reqwest::Client,
    dir: TempDir,
}

impl Lab {
    /// A pool with two VMs: `web1` with two disks, `idle` with one.
    pub(crate) async fn new() -> Self {
        Self::with(|config| config).await
    }

    pub(crate) async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        // reqwest panics without one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let image = |name: &str, bytes: Vec<u8>| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            DiskConfig::image(path)
        };
        let web1 = VmConfig::new("web1")
            .with_disk(image("web1-0.raw", disk(1, 24 * MIB)))
            .with_disk(image("web1-1.raw", disk(2, 16 * MIB)));
        let idle = VmConfig::new("idle").with_disk(image("idle-0.raw", disk(3, 8 * MIB)));
        let small = SrConfig::new("Small storage", SrKind::Ext, 4 * MIB);
        let config = Config::new(dir.path().join("pool")).with_vm(web1.running()).with_vm(idle).with_sr(small);
        let sim = Sim::start(change(config)).await.unwrap();
        let mut lab = Self { server: None, sim, http: reqwest::Client::builder().no_proxy().build().unwrap(), dir };
        std::fs::write(lab.path("password"), format!("{PASSWORD}\n")).unwrap();
        lab.start_server(&[]);
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts the server, on any free port.
    pub(crate) fn start_server(&mut self, arguments: &[&str]) {
        let mut command = program::xenkeep(&self.data(), &["server", "--listen", "127.0.0.1:0"]);
        let mut server = Running::start(command.args(arguments));
        server.hear("listening");
        self.server = Some(server);
    }

    /// Tells the server to stop and waits for it.
    pub(crate) fn stop_server(&mut self) -> Ran {
        let server = self.server.take().unwrap();
        server.signal("TERM");
        server.end()
    }

    /// A command, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        program::xenkeep(&self.data(), arguments)
    }

    /// Runs a command to its end. It blocks no thread that the pool needs.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        tokio::task::block_in_place(|| program::run(&mut command))
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let mut with_output = arguments.to_vec();
        with_output.extend(["--output", "json"]);
        self.run(&with_output).ok().json()
    }

    /// Adds the pool as `lab` and a datastore as `store`.
    pub(crate) fn set_up(&self) {
        self.add_client("lab", &self.address()).ok();
        self.run(&["datastore", "create", "store", "--path", &self.text("store")]).ok();
    }

    pub(crate) fn add_client(&self, name: &str, address: &str) -> Ran {
        let password = self.text("password");
        self.run(&["client", "add", name, "--address", address, "--user", "root", "--password-file", &password])
    }

    /// `host:port` of the master's HTTPS.
    pub(crate) fn address(&self) -> String {
        address(self.sim.https_url())
    }

    /// Backs `vm` up and gives the id of the point.
    pub(crate) fn back_up(&self, vm: &str) -> String {
        let job = self.json(&["backup", "lab", vm, "--datastore", "store"]);
        job["result"]["point"]["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn points(&self) -> Vec<Value> {
        self.json(&["point", "list"]).as_array().unwrap().clone()
    }

    pub(crate) fn points_of(&self, vm: &str) -> Vec<Value> {
        self.json(&["point", "list", "--client", "lab", "--vm", vm]).as_array().unwrap().clone()
    }

    /// The VM of this name, as the pool lists it.
    pub(crate) fn vm(&self, name: &str) -> Value {
        let vms = self.json(&["vm", "list", "lab"]);
        let found: Vec<_> = vms.as_array().unwrap().iter().filter(|vm| vm["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name} in {vms:#}");
        found[0].clone()
    }

    /// SHA-256 of each disk of a VM, by position.
    pub(crate) async fn disks(&self, vm: &Value) -> Vec<String> {
        let mut sums = Vec::new();
        for disk in vm["disks"].as_array().unwrap() {
            let path = format!("vdi/{}/sha256", disk["vdi_uuid"].as_str().unwrap());
            let answer = self.control(Method::GET, &path, None).await;
            sums.push(answer["sha256"].as_str().unwrap().to_owned());
        }
        sums
    }

    /// Makes the pool misbehave.
    pub(crate) async fn fault(&self, fault: Value) {
        self.control(Method::POST, "faults", Some(fault)).await;
    }

    /// Lets the guest write.
    pub(crate) async fn guest_write(&self, vm: &str, disk: &str, offset: u64, pattern: &str) {
        let write = json!({ "vm": vm, "disk": disk, "offset": offset, "len": 65536, "pattern": pattern });
        self.control(Method::POST, "guest-write", Some(write)).await;
    }

    pub(crate) async fn control(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/{path}", self.sim.control_url());
        let mut request = self.http.request(method, &url);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{url}: {}", response.text().await.unwrap());
        serde_json::from_str(&response.text().await.unwrap()).unwrap_or(Value::Null)
    }

    /// Takes all faults away.
    pub(crate) async fn clear_faults(&self) {
        self.control(Method::DELETE, "faults", None).await;
    }

    /// The VMs of these names (sorted) are on the pool with their disks, and nothing of ours.
    pub(crate) async fn assert_clean(&self, names: &[&str]) {
        let state = self.control(Method::GET, "state", None).await;
        let list = |kind: &str| state[kind].as_array().unwrap().clone();
        let mut found: Vec<_> = list("vms").iter().map(|vm| vm["name"].as_str().unwrap().to_owned()).collect();
        found.sort_unstable();
        assert_eq!(found, names, "{state:#}");
        for kind in ["snapshots", "dom0_vbds", "tasks"] {
            assert!(list(kind).is_empty(), "{kind} in {state:#}");
        }
        for vdi in list("vdis") {
            let used = !vdi["vbds"].as_array().unwrap().is_empty() || vdi["sr"] == "ISO library";
            assert!(used, "nobody uses {vdi:#}");
        }
        for session in list("sessions") {
            assert_ne!(session["originator"], "xenkeep", "a session is left");
        }
        for vm in list("vms") {
            let marks = vm["other_config"].as_object().unwrap().keys().any(|key| key.starts_with("xenkeep"));
            assert!(!marks, "a mark is left: {vm:#}");
        }
    }

    /// An administrator's session on the pool, and a call with it.
    async fn xapi(&self, session: &str, method: &str, mut params: Vec<Value>) -> Value {
        if !session.is_empty() {
            params.insert(0, json!(session));
        }
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let url = format!("{}/jsonrpc", self.sim.http_url());
        let answer = self.http.post(url).body(call).send().await.unwrap().text().await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(answer["error"].is_null(), "{method}: {answer:#}");
        answer["result"].clone()
    }

    async fn login(&self) -> String {
        let params = ["root", PASSWORD, "1.0", "a test"].map(|text| json!(text));
        self.xapi("", "session.login_with_password", params.into()).await.as_str().unwrap().to_owned()
    }

    /// The administrator shuts a VM down.
    pub(crate) async fn shut_down(&self, name: &str) {
        let session = self.login().await;
        let vm = self.xapi(&session, "VM.get_by_uuid", vec![self.vm(name)["uuid"].clone()]).await;
        self.xapi(&session, "VM.hard_shutdown", vec![vm]).await;
        self.xapi(&session, "session.logout", Vec::new()).await;
    }

    /// The administrator removes a VM with its disks.
    pub(crate) async fn destroy(&self, name: &str) {
        let vm = self.vm(name);
        let session = self.login().await;
        let by_uuid = self.xapi(&session, "VM.get_by_uuid", vec![vm["uuid"].clone()]).await;
        self.xapi(&session, "VM.destroy", vec![by_uuid]).await;
        for disk in vm["disks"].as_array().unwrap() {
            let vdi = self.xapi(&session, "VDI.get_by_uuid", vec![disk["vdi_uuid"].clone()]).await;
            self.xapi(&session, "VDI.destroy", vec![vdi]).await;
        }
        self.xapi(&session, "session.logout", Vec::new()).await;
    }

    /// The administrator imports an XVA; gives the uuid of the new VM.
    pub(crate) async fn import(&self, xva: Vec<u8>) -> String {
        let before: Vec<_> = self.sim.vms();
        let session = self.login().await;
        let url = format!("{}/import?session_id={session}", self.sim.http_url());
        let response = self.http.put(url).body(xva).send().await.unwrap();
        assert!(response.status().is_success());
        self.xapi(&session, "session.logout", Vec::new()).await;
        let new: Vec<_> = self.sim.vms().into_iter().filter(|vm| !before.contains(vm)).collect();
        assert_eq!(new.len(), 1);
        new[0].0.clone()
    }
}

pub(crate) fn address(url: impl AsRef<str>) -> String {
    url.as_ref().split("//").nth(1).unwrap().trim_end_matches('/').to_owned()
}

/// A disk with data that doesn't compress, data that does, and holes; the same for the same seed.
pub(crate) fn disk(seed: u8, size: u64) -> Vec<u8> {
    let mut disk = vec![0; size as usize];
    let mut block = Sha256::digest([seed]);
    for piece in disk[MIB as usize..5 * MIB as usize].chunks_mut(32) {
        piece.copy_from_slice(&block);
        block = Sha256::digest(block);
    }
    disk[6 * MIB as usize..7 * MIB as usize].fill(seed);
    let end = disk.len() - 512;
    disk[end..].fill(seed);
    disk
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

pub(crate) fn sha256_of(path: &Path) -> String {
    sha256(&std::fs::read(path).unwrap())
}
