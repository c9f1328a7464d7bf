//! A pool for a test, and plain clients for it.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xensim::Sim;
use xensim::config::{Config, DiskConfig, SrConfig, SrKind, VmConfig};

pub(crate) const MIB: u64 = 1 << 20;

/// A pool that is gone with the test.
pub(crate) struct Pool {
    pub(crate) sim: Sim,
    pub(crate) session: String,
    _dir: TempDir,
}

/// An HTTP answer, with all bytes that came behind its head.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().skip(1);
        lines.find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer has a head") + 4;
        Self { head: String::from_utf8(bytes[..end].to_vec()).unwrap(), body: bytes[end..].to_vec() }
    }
}

/// Bytes without any pattern, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    std::iter::repeat_with(|| next().to_le_bytes()).flatten().take(len).collect()
}

/// An image with data at the start, somewhere in the middle, and near the end.
pub(crate) fn image(path: &Path, seed: u64, size: u64) -> DiskConfig {
    let mut bytes = vec![0; size as usize];
    for (number, part) in [0, size / 2, size - size / 8].into_iter().enumerate() {
        let data = noise(seed + number as u64, (size / 16) as usize);
        bytes[part as usize..][..data.len()].copy_from_slice(&data);
    }
    std::fs::write(path, bytes).unwrap();
    DiskConfig::image(path)
}

impl Pool {
    /// Two hosts, and beside the usual storage one SR that only the member sees, one that is small and thick, and
    /// one that rounds no sizes; one machine `web` with two disks, halted.
    pub(crate) async fn start() -> Self {
        Self::start_with(|config| config).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Config) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let exact = SrConfig { rounding_bytes: 512, ..SrConfig::new("Exact", SrKind::Ext, 1 << 30) };
        let second = DiskConfig { sr: Some("Exact".to_owned()), ..image(&dir.path().join("b.raw"), 7, 3 * MIB + 512) };
        let config = Config::new(dir.path().join("storage"))
            .with_sr(exact)
            .with_sr(SrConfig { hosts: Some(vec![1]), ..SrConfig::new("Local", SrKind::Ext, 1 << 30) })
            .with_sr(SrConfig::new("Tiny", SrKind::Lvm, 10 * MIB))
            .with_vm(VmConfig::new("web").with_disk(image(&dir.path().join("a.raw"), 1, 20 * MIB)).with_disk(second));
        let mut config = change(config);
        config.srs[0].rounding_bytes = 512;
        config.progress_interval = std::time::Duration::from_millis(10);
        config.timing.start = std::time::Duration::ZERO;
        config.timing.shutdown = std::time::Duration::ZERO;
        let sim = Sim::start(config).await.unwrap();
        let session = sim.world().login("root", "xensim", "tests").await.unwrap().to_string();
        Self { sim, session, _dir: dir }
    }

    /// Calls a method over JSON-RPC at the master; the error is the code and its parameters.
    pub(crate) async fn try_call(&self, method: &str, params: Value) -> Result<Value, Vec<String>> {
        let mut all = vec![json!(self.session)];
        all.extend(params.as_array().unwrap().iter().cloned());
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": all }).to_string();
        let head =
            format!("POST /jsonrpc HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let answer = self.send(0, head.as_bytes()).await;
        let reply: Value = serde_json::from_slice(&answer.body).unwrap();
        let Some(error) = reply.get("error").filter(|error| !error.is_null()) else {
            return Ok(reply["result"].clone());
        };
        let mut words = vec![error["message"].as_str().unwrap().to_owned()];
        words.extend(error["data"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()));
        Err(words)
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error:?}"))
    }

    /// Calls a method that gives text.
    pub(crate) async fn text(&self, method: &str, params: Value) -> String {
        self.call(method, params).await.as_str().unwrap().to_owned()
    }

    pub(crate) fn address(&self, host: usize) -> SocketAddr {
        self.sim.host_http(host)
    }

    pub(crate) async fn connect(&self, host: usize) -> TcpStream {
        TcpStream::connect(self.address(host)).await.unwrap()
    }

    /// Sends bytes, and reads until the host closes.
    pub(crate) async fn send(&self, host: usize, bytes: &[u8]) -> Answer {
        let mut stream = self.connect(host).await;
        stream.write_all(bytes).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        Answer::parse(&all)
    }

    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Answer {
        self.send(0, self.request("GET", path, query).as_bytes()).await
    }

    /// Sends a body without announcing its length, and keeps the connection open.
    pub(crate) async fn put(&self, path: &str, query: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect(0).await;
        stream.write_all(self.request("PUT", path, query).as_bytes()).await.unwrap();
        // The host may refuse, and close, before it has read everything.
        let _ = stream.write_all(body).await;
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        Answer::parse(&all)
    }

    pub(crate) fn request(&self, method: &str, path: &str, query: &[(&str, &str)]) -> String {
        let mut target = format!("{path}?session_id={}", self.session);
        query.iter().for_each(|(name, value)| target += &format!("&{name}={value}"));
        format!("{method} {target} HTTP/1.1\r\nHost: xensim\r\n\r\n")
    }

    pub(crate) async fn vm(&self, name: &str) -> String {
        let found = self.call("VM.get_by_name_label", json!([name])).await;
        found[0].as_str().unwrap_or_else(|| panic!("there is no VM {name}")).to_owned()
    }

    pub(crate) async fn sr(&self, name: &str) -> String {
        self.call("SR.get_by_name_label", json!([name])).await[0].as_str().unwrap().to_owned()
    }

    /// A task for a transfer.
    pub(crate) async fn task(&self) -> String {
        self.text("task.create", json!(["test", ""])).await
    }

    /// Status, result and error of a task.
    pub(crate) async fn outcome(&self, task: &str) -> (String, String, Vec<String>) {
        let record = self.call("task.get_record", json!([task])).await;
        let text = |field: &str| record[field].as_str().unwrap().to_owned();
        let error = record["error_info"].as_array().unwrap();
        (text("status"), text("result"), error.iter().map(|word| word.as_str().unwrap().to_owned()).collect())
    }

    /// Waits until a task has ended.
    pub(crate) async fn wait(&self, task: &str) -> (String, String, Vec<String>) {
        loop {
            let outcome = self.outcome(task).await;
            if outcome.0 != "pending" {
                return outcome;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// The uuids of a machine's disks, in order.
    pub(crate) async fn disks(&self, vm: &str) -> Vec<String> {
        let mut disks = Vec::new();
        for vbd in self.call("VM.get_VBDs", json!([vm])).await.as_array().unwrap() {
            let record = self.call("VBD.get_record", json!([vbd])).await;
            if record["type"] == "Disk" {
                let uuid = self.text("VDI.get_uuid", json!([record["VDI"]])).await;
                disks.push((record["userdevice"].as_str().unwrap().to_owned(), uuid));
            }
        }
        disks.sort();
        disks.into_iter().map(|(_, uuid)| uuid).collect()
    }

    /// SHA-256 of a machine's disks.
    pub(crate) async fn sums(&self, vm: &str) -> Vec<String> {
        let disks = self.disks(vm).await;
        disks.iter().map(|uuid| hex::encode(self.sim.storage().reader(uuid).unwrap().sha256().unwrap())).collect()
    }

    /// Numbers of machines, disks, devices, interfaces and networks: to see whether something was left behind.
    pub(crate) async fn inventory(&self) -> Vec<usize> {
        let mut counts = Vec::new();
        for class in ["VM", "VDI", "VBD", "VIF", "network", "VM_metrics", "VTPM"] {
            counts.push(self.call(&format!("{class}.get_all"), json!([])).await.as_array().unwrap().len());
        }
        counts
    }

    /// Does something on the control endpoint; gives status and JSON.
    pub(crate) async fn control(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = self.sim.control_url();
        let address = url.strip_prefix("http://").unwrap().strip_suffix("/control").unwrap();
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let request = format!(
            "{method} /control{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let answer = Answer::parse(&all);
        (answer.status(), serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }
}
