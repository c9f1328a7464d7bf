//! A pool, a datastore, and a mover that may be struck dead.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;
use xenkeep_api::*;
use xenkeep_mover::{Mover, MoverConfig};
use xenkeep_repo::{CreateOptions, Kdf, OpenOptions, Repo};
use xensim::{
    Config, Sim,
    config::{DiskConfig, HostConfig, SrConfig, SrKind, VmConfig},
};

use crate::desk::{Desk, Line};

const MIB: u64 = 1 << 20;
const PASSWORD: &str = "xensim";
const STORE_PASSWORD: &str = "correct horse battery staple";

pub(crate) struct Rig {
    pub(crate) sim: Sim,
    pub(crate) desk: Arc<Desk>,
    pub(crate) client: ClientAccess,
    pub(crate) datastore: DatastoreAccess,
    pub(crate) dir: TempDir,
}

/// A mover on threads of its own.
pub(crate) struct Machine {
    runtime: tokio::runtime::Runtime,
    line: Arc<Line>,
    shutdown: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Machine {
    pub(crate) fn start(desk: &Arc<Desk>) -> Self {
        Self::start_with(desk, None)
    }

    /// One that may run the commands of a directory.
    pub(crate) fn start_with(desk: &Arc<Desk>, hooks_dir: Option<std::path::PathBuf>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = MoverConfig {
            renew_every: Duration::from_millis(10),
            guest_wait: Duration::from_secs(20),
            hooks_dir,
            ..MoverConfig::default()
        };
        let line = Arc::new(Line::to(desk));
        let mover = Mover::new(Arc::<Line>::clone(&line), config);
        let shutdown = CancellationToken::new();
        let token = shutdown.clone();
        let running = runtime.spawn(async move { mover.run(token).await });
        Self { runtime, line, shutdown, running }
    }

    /// Pulls the plug: nothing of it runs on.
    pub(crate) fn kill(self) {
        self.line.cut();
        self.runtime.shutdown_background();
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let _ = self.running.await;
        self.runtime.shutdown_background();
    }
}

/// A pool of one host with an SR of plenty, a small one, and the VM `web1` with two disks and a network card.
pub(crate) fn config(dir: &Path) -> Config {
    let mut config = Config::new(dir.join("pool"));
    config.hosts = vec![HostConfig::new("host-1")];
    config.srs.push(SrConfig::new("Tiny", SrKind::Nfs, 2 * MIB));
    config.with_vm(web1(dir))
}

pub(crate) fn web1(dir: &Path) -> VmConfig {
    VmConfig::new("web1")
        .with_disk(DiskConfig::image(image(dir, "web1-0.raw", 1, 6 * MIB)))
        .with_disk(DiskConfig::image(image(dir, "web1-1.raw", 2, 4 * MIB)))
}

/// An image: noise at both ends, a hole in the middle.
pub(crate) fn image(dir: &Path, name: &str, seed: u64, size: u64) -> std::path::PathBuf {
    use std::io::{Seek, SeekFrom, Write};
    let path = dir.join(name);
    let mut file = std::fs::File::create(&path).unwrap();
    let piece = usize::try_from(size / 4).unwrap();
    file.write_all(&noise(seed, piece)).unwrap();
    file.seek(SeekFrom::Start(size - piece as u64)).unwrap();
    file.write_all(&noise(seed + 1000, piece)).unwrap();
    path
}

/// Bytes that don't compress and are the same each time.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
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

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(config).await
    }

    pub(crate) async fn with(config: impl FnOnce(&Path) -> Config) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sim = Sim::start(config(dir.path())).await.unwrap();
        let store = dir.path().join("store");
        let options = CreateOptions { kdf: Kdf { n: 1 << 4, r: 1, p: 1 }, ..CreateOptions::default() };
        Repo::create(&store, &STORE_PASSWORD.to_owned().into(), options).await.unwrap();
        let client = ClientAccess {
            id: ClientId::random(),
            name: "lab".into(),
            address: sim.host_http(0).to_string(),
            user: "root".into(),
            password: Secret::new(PASSWORD),
            transport: Transport::Http,
            certificate_sha256: None,
            members: Vec::new(),
        };
        let datastore = DatastoreAccess {
            id: DatastoreId::random(),
            name: "store".into(),
            path: store.to_str().unwrap().into(),
            s3: None,
            s3_secret_access_key: None,
            password: Secret::new(STORE_PASSWORD),
        };
        Self { sim, desk: Desk::new(), client, datastore, dir }
    }

    pub(crate) fn job(&self, spec: JobSpec) -> LeasedJob {
        LeasedJob {
            id: JobId::random(),
            fence: 1,
            client: spec.client().map(|_| self.client.clone()),
            datastore: spec.datastore().map(|_| self.datastore.clone()),
            task: None,
            target: None,
            point: None,
            secret: None,
            known_points: Vec::new(),
            unfinished: Vec::new(),
            journal: Vec::new(),
            spec,
        }
    }

    pub(crate) fn backup_spec(&self, vm: &str) -> JobSpec {
        self.backup_with(vm, BackupOptions::default())
    }

    pub(crate) fn backup_with(&self, vm: &str, options: BackupOptions) -> JobSpec {
        JobSpec::Backup {
            client: self.client.id,
            vm: vm.into(),
            datastore: self.datastore.id,
            transport: None,
            backup_type: BackupType::Incremental,
            options,
        }
    }

    pub(crate) fn restore_spec(&self, point: &Point, placement: Placement) -> JobSpec {
        JobSpec::Restore {
            client: self.client.id,
            datastore: self.datastore.id,
            point: point.id.clone(),
            placement,
            places: RestorePlaces::default(),
            start: false,
            transport: None,
        }
    }

    pub(crate) fn beside(&self, point: &Point, name: &str) -> JobSpec {
        self.restore_spec(point, Placement::Beside { name: name.into() })
    }

    pub(crate) fn recover_spec(&self, interrupted: JobId) -> JobSpec {
        JobSpec::Recover { interrupted, client: Some(self.client.id), datastore: Some(self.datastore.id) }
    }

    /// Another repository, with another key.
    pub(crate) async fn second_store(&self) -> DatastoreAccess {
        let store = self.dir.path().join("offsite");
        let options = CreateOptions { kdf: Kdf { n: 1 << 4, r: 1, p: 1 }, ..CreateOptions::default() };
        Repo::create(&store, &"another password".to_owned().into(), options).await.unwrap();
        DatastoreAccess {
            id: DatastoreId::random(),
            name: "offsite".into(),
            path: store.to_str().unwrap().into(),
            s3: None,
            s3_secret_access_key: None,
            password: Secret::new("another password"),
        }
    }

    /// Runs a job on a mover of its own, to its end.
    pub(crate) async fn run(&self, spec: JobSpec) -> (JobId, JobReport) {
        self.run_job(self.job(spec)).await
    }

    pub(crate) async fn run_job(&self, job: LeasedJob) -> (JobId, JobReport) {
        let id = job.id;
        self.desk.queue(job);
        let machine = Machine::start(&self.desk);
        let report = self.desk.report(id).await;
        machine.stop().await;
        (id, report)
    }

    /// Runs a job that is struck dead, or ends before it is.
    pub(crate) async fn run_or_die(&self, spec: JobSpec) -> (JobId, Option<JobReport>) {
        let job = self.job(spec);
        let id = job.id;
        self.desk.queue(job);
        let machine = Machine::start(&self.desk);
        let report = self.desk.report_or_death(id).await;
        machine.kill();
        (id, report)
    }

    /// What a server does after a job was interrupted; nothing of it is left in the journal.
    pub(crate) async fn recover(&self, interrupted: JobId) -> (Vec<String>, Vec<Point>) {
        let mut job = self.job(self.recover_spec(interrupted));
        job.journal = self.desk.journal(interrupted);
        let id = job.id;
        self.desk.queue(job);
        let machine = Machine::start(&self.desk);
        let report = self.desk.report(id).await;
        machine.stop().await;
        let Some(JobResult::Recovered { undone, points }) = report.result else {
            panic!("not recovered: {report:?}; {:#?}", self.desk.log(id))
        };
        assert_eq!(self.desk.journal(interrupted), Vec::new());
        (undone, points)
    }

    pub(crate) async fn backup(&self, vm: &str) -> Point {
        let (id, report) = self.run(self.backup_spec(vm)).await;
        point_of(&report).unwrap_or_else(|| panic!("{report:#?} {:#?}", self.desk.log(id)))
    }

    pub(crate) async fn restore(&self, spec: JobSpec) -> RestoredVm {
        let (id, report) = self.run(spec).await;
        vm_of(&report).unwrap_or_else(|| panic!("{report:#?} {:#?}", self.desk.log(id)))
    }

    /// Ids of all points that are listed.
    pub(crate) async fn points(&self) -> Vec<String> {
        let password = STORE_PASSWORD.to_owned().into();
        let repo = Repo::open(Path::new(&self.datastore.path), &password, OpenOptions::default()).await.unwrap();
        repo.points().await.unwrap().into_iter().map(|point| point.id.to_string()).collect()
    }

    pub(crate) async fn state(&self) -> State {
        let control = self.sim.control_url();
        State(serde_json::from_slice(&http_get(&format!("{control}/state")).await).unwrap())
    }

    pub(crate) async fn sha256(&self, vdi: &str) -> String {
        let control = self.sim.control_url();
        let answer: Value = serde_json::from_slice(&http_get(&format!("{control}/vdi/{vdi}/sha256")).await).unwrap();
        answer["sha256"].as_str().unwrap().to_owned()
    }

    /// SHA-256 of the disks of a VM, by position.
    pub(crate) async fn contents(&self, uuid: &str) -> Vec<String> {
        let mut sums = Vec::new();
        for vdi in self.state().await.vm(uuid).expect("the VM is there").disks() {
            sums.push(self.sha256(&vdi).await);
        }
        sums
    }

    /// Writes to a disk of a VM.
    pub(crate) async fn scribble(&self, uuid: &str, position: usize, seed: u64) {
        let vdi = self.state().await.vm(uuid).unwrap().disks()[position].clone();
        self.sim.storage().write(&vdi, 64 << 10, &noise(seed, 128 << 10)).unwrap();
    }

    /// A login as an administrator.
    pub(crate) async fn admin(&self) -> xapi::Pool {
        let endpoint = xapi::Endpoint { address: self.sim.host_http(0).to_string(), tls: xapi::Tls::Plain };
        let options = xapi::Options { originator: "admin".into(), ..xapi::Options::default() };
        xapi::Pool::login_with(endpoint, "root", &PASSWORD.to_owned().into(), options).await.unwrap()
    }

    pub(crate) async fn uuid(&self, name: &str) -> String {
        self.state().await.vm_named(name).expect("a VM of that name").uuid()
    }
}

pub(crate) fn point_of(report: &JobReport) -> Option<Point> {
    match &report.result {
        Some(JobResult::Point { point }) if report.state.is_good() => Some(point.clone()),
        _ => None,
    }
}

pub(crate) fn vm_of(report: &JobReport) -> Option<RestoredVm> {
    match &report.result {
        Some(JobResult::Vm { vm }) if report.state.is_good() => Some(vm.clone()),
        _ => None,
    }
}

pub(crate) fn code_of(report: &JobReport) -> &str {
    report.problem.as_ref().map_or("", |problem| problem.code.as_str())
}

/// The pool as the simulator knows it.
pub(crate) struct State(Value);

/// A VM in it.
pub(crate) struct VmState<'a>(pub(crate) &'a Value);

impl State {
    pub(crate) fn list(&self, what: &str) -> &[Value] {
        self.0[what].as_array().unwrap()
    }

    pub(crate) fn vm(&self, uuid: &str) -> Option<VmState<'_>> {
        self.list("vms").iter().find(|vm| vm["uuid"] == uuid).map(VmState)
    }

    pub(crate) fn vm_named(&self, name: &str) -> Option<VmState<'_>> {
        self.list("vms").iter().find(|vm| vm["name"] == name).map(VmState)
    }

    pub(crate) fn vms(&self) -> BTreeSet<String> {
        texts(self.list("vms"), "uuid")
    }

    pub(crate) fn vdis(&self) -> BTreeSet<String> {
        texts(self.list("vdis"), "uuid")
    }

    pub(crate) fn snapshots(&self) -> BTreeSet<String> {
        texts(self.list("snapshots"), "uuid")
    }

    pub(crate) fn networks(&self) -> BTreeSet<String> {
        texts(self.list("networks"), "uuid")
    }

    /// What must not be there when no job runs: marks, snapshots, tasks and dom0's disks of ours.
    pub(crate) fn ours(&self) -> Vec<String> {
        let mut ours = Vec::new();
        for class in ["vms", "snapshots", "vdis"] {
            for object in self.list(class) {
                let text = object["other_config"].to_string() + object["name"].as_str().unwrap();
                if text.contains("xenkeep") || text.contains("import_task") {
                    ours.push(format!("{class}: {object}"));
                }
            }
        }
        for task in self.list("tasks") {
            let name = task["name"].as_str().unwrap();
            if name.starts_with("xenkeep") || matches!(name, "Async.VM.snapshot" | "Async.VM.checkpoint") {
                ours.push(format!("task: {task}"));
            }
        }
        for vbd in self.list("dom0_vbds") {
            ours.push(format!("dom0: {vbd}"));
        }
        ours
    }

    /// Sessions of ours.
    pub(crate) fn sessions(&self) -> usize {
        self.list("sessions").iter().filter(|session| session["originator"] == "xenkeep").count()
    }

    /// The same VMs with the same disks, snapshots and networks as in `before`, and nothing of ours.
    #[track_caller]
    pub(crate) fn assert_same_as(&self, before: &Self, when: &str) {
        assert_eq!(self.ours(), Vec::<String>::new(), "{when}");
        assert_eq!(self.vms(), before.vms(), "VMs {when}");
        assert_eq!(self.vdis(), before.vdis(), "VDIs {when}");
        assert_eq!(self.snapshots(), before.snapshots(), "snapshots {when}");
        assert_eq!(self.networks(), before.networks(), "networks {when}");
    }
}

impl VmState<'_> {
    pub(crate) fn uuid(&self) -> String {
        self.0["uuid"].as_str().unwrap().to_owned()
    }

    pub(crate) fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    pub(crate) fn disks(&self) -> Vec<String> {
        list(&self.0["disks"])
    }

    pub(crate) fn macs(&self) -> Vec<String> {
        list(&self.0["macs"])
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn texts(list: &[Value], field: &str) -> BTreeSet<String> {
    list.iter().map(|object| object[field].as_str().unwrap().to_owned()).collect()
}

/// The body of an answer to a plain GET.
async fn http_get(url: &str) -> Vec<u8> {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(
        answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&answer)
    );
    answer.split_off(body)
}
