//! SIGKILL of the server, with its mover in it, at ten points of a backup and of both restores.
//!
//! The pool holds a call, or a stream, at the wanted point; the server is killed; the pool goes on. Then the server
//! comes back by itself, and: no listed point is damaged, no VM is lost, nothing of ours is on the pool, and the same
//! job runs through.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use xenkeep_tests::{Lab, PoolOptions, PoolVm, images};

const MIB: u64 = 1 << 20;

/// Where the pool holds: a fault of its control endpoint, and for people.
struct Hold(&'static str, Value);

fn before(method: &'static str) -> Hold {
    Hold(method, json!({"kind": "stall_call", "method": method, "when": "before", "nth": 1}))
}

fn after(method: &'static str) -> Hold {
    Hold(method, json!({"kind": "stall_call", "method": method, "when": "after", "nth": 1}))
}

fn nth(method: &'static str, when: &'static str, nth: u32) -> Hold {
    Hold(method, json!({"kind": "stall_call", "method": method, "when": when, "nth": nth}))
}

fn stream(kind: &'static str, at_byte: u64) -> Hold {
    Hold(kind, json!({"kind": kind, "at_byte": at_byte}))
}

#[test]
fn a_killed_backup_leaves_nothing_behind() {
    let holds = [
        before("VM.snapshot"),
        after("VM.snapshot"),
        after("VM.add_to_other_config"),
        before("/export"),
        stream("stall_export", 100),
        stream("stall_export", 3 * MIB),
        stream("stall_export", 10 * MIB),
        before("VM.destroy"),
        after("VM.destroy"),
        after("VDI.destroy"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::build(dir.path()).unwrap();
    for hold in holds {
        let arguments = ["backup", "lab", &site.vm.uuid.clone(), "--datastore", "store"].map(str::to_owned);
        site.kill_at(&hold, &arguments).with_context(|| format!("{} {}", hold.0, hold.1)).unwrap();
        site.ok(&arguments).with_context(|| format!("after {} {}", hold.0, hold.1)).unwrap();
        site.check().with_context(|| format!("after {} {}", hold.0, hold.1)).unwrap();
    }
}

#[test]
fn a_killed_restore_beside_leaves_nothing_behind() {
    let holds = [
        before("/import"),
        stream("stall_import", 100),
        stream("stall_import", MIB),
        stream("stall_import", 5 * MIB),
        stream("stall_import", 10 * MIB),
        after("/import"),
        before("task.destroy"),
        after("task.destroy"),
        before("session.logout"),
        after("session.logout"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::build(dir.path()).unwrap();
    let point = site.back_up().unwrap();
    for hold in holds {
        let arguments = ["restore", &point, "--as", "beside"].map(str::to_owned);
        site.kill_at(&hold, &arguments).with_context(|| format!("{} {}", hold.0, hold.1)).unwrap();
        site.remove("beside").unwrap();
        site.ok(&arguments).with_context(|| format!("after {} {}", hold.0, hold.1)).unwrap();
        let restored = site.lab.pool.vm("beside").unwrap();
        assert_eq!(site.lab.pool.contents(&restored).unwrap(), site.contents, "after {} {}", hold.0, hold.1);
        site.remove("beside").unwrap();
        site.check().with_context(|| format!("after {} {}", hold.0, hold.1)).unwrap();
    }
}

#[test]
fn a_killed_restore_over_the_original_never_loses_the_vm() {
    let holds = [
        stream("stall_import", 5 * MIB),
        after("/import"),
        before("/export_metadata"),
        // The first metadata import is a dry run; the second one puts the new VM in the place of the old one.
        before("/import_metadata"),
        nth("/import_metadata", "before", 2),
        nth("/import_metadata", "after", 2),
        before("VM.destroy"),
        after("VM.destroy"),
        before("VDI.destroy"),
        after("VDI.destroy"),
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::build(dir.path()).unwrap();
    let point = site.back_up().unwrap();
    for hold in holds {
        let arguments = ["restore", &point, "--overwrite", "--yes"].map(str::to_owned);
        site.kill_at(&hold, &arguments).with_context(|| format!("{} {}", hold.0, hold.1)).unwrap();
        site.check().with_context(|| format!("{} {}", hold.0, hold.1)).unwrap();
        site.ok(&arguments).with_context(|| format!("after {} {}", hold.0, hold.1)).unwrap();
        site.check().with_context(|| format!("after {} {}", hold.0, hold.1)).unwrap();
    }
}

/// A lab with one halted VM of two disks, and what must stay as it is.
struct Site {
    lab: Lab,
    scratch: std::path::PathBuf,
    vm: PoolVm,
    contents: Vec<String>,
    baseline: Leftovers,
}

/// What is counted on the pool: names that say what is there too much.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leftovers {
    vms: Vec<String>,
    disks: usize,
    dom0_vbds: usize,
    pending_tasks: usize,
}

impl Site {
    fn build(dir: &Path) -> Result<Self> {
        let content = dir.join("content");
        images::fill_directory(&content, 7, 60, 150_000)?;
        let (system, data) = (dir.join("system.img"), dir.join("data.img"));
        images::ext4(&system, 24 * MIB, &content)?;
        images::ext4(&data, 17 * MIB, &content.join("d01"))?;
        let options = PoolOptions { vms: vec![("web".into(), vec![system, data])], ..PoolOptions::default() };
        let lab = Lab::build(dir, &options)?;
        let vm = lab.pool.vm("web")?;
        let contents = lab.pool.contents(&vm)?;
        let baseline = leftovers(&lab)?;
        Ok(Self { lab, scratch: dir.to_owned(), vm, contents, baseline })
    }

    fn back_up(&self) -> Result<String> {
        let point = self.lab.product.json(&["backup", "lab", &self.vm.uuid, "--datastore", "store"])?;
        let points = self.lab.product.json(&["point", "list"])?;
        let id = points[0]["id"].as_str().with_context(|| format!("no point after {point}"))?;
        Ok(id.to_owned())
    }

    fn ok(&self, arguments: &[String]) -> Result<()> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.lab.product.ok(&arguments).map(drop)
    }

    /// Starts a command, waits until the pool holds at `hold`, kills the server, lets the pool go on, starts the server
    /// again and waits until it has tidied up.
    fn kill_at(&mut self, hold: &Hold, arguments: &[String]) -> Result<()> {
        self.lab.pool.post("/faults", &hold.1)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = self.lab.product.command(&arguments)?;
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut client = command.spawn()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.lab.pool.get("/stalled")?.as_array().is_none_or(Vec::is_empty) {
            if let Some(status) = client.try_wait()? {
                bail!("the command ended ({status}) before the pool held it\n{}", self.lab.product.log());
            }
            ensure!(Instant::now() < deadline, "the pool never held\n{}", self.lab.product.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        self.lab.product.kill()?;
        // The command line has lost its server, and says so.
        ensure!(!client.wait()?.success(), "the command line called a killed job a success");
        self.lab.pool.clear_faults()?;
        self.lab.product.restart()?;
        self.settle()
    }

    /// Waits until no job is queued or running.
    fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let jobs = self.lab.product.json(&["job", "list"])?;
            let jobs = jobs.as_array().context("no list of jobs")?;
            if jobs.iter().all(|job| job["state"] != "queued" && job["state"] != "running") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "jobs do not end: {jobs:?}\n{}", self.lab.product.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The VM is there with its identity and content, every listed point is whole, and nothing else is on the pool.
    fn check(&self) -> Result<()> {
        let vm = self.lab.pool.vm("web")?;
        ensure!(vm.uuid == self.vm.uuid && vm.macs == self.vm.macs, "the VM has another identity: {vm:?}");
        ensure!(self.lab.pool.contents(&vm)? == self.contents, "the VM has another content");
        let found = leftovers(&self.lab)?;
        ensure!(
            found == self.baseline,
            "left behind: {found:?} instead of {:?}\n{}",
            self.baseline,
            self.lab.product.log()
        );
        let points = self.lab.product.json(&["point", "list"])?;
        for point in points.as_array().context("no list of points")? {
            let id = point["id"].as_str().context("a point without id")?;
            let dir = self.scratch.join(format!("export-{id}"));
            self.lab.product.ok(&["export", id, "--format", "raw", "-o", &dir.display().to_string()])?;
            let mut files: Vec<_> = std::fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
            files.sort();
            let sums: Vec<_> = files.iter().map(|file| images::sha256(file)).collect::<Result<_>>()?;
            ensure!(sums == self.contents, "point {id} holds another content");
            std::fs::remove_dir_all(dir)?;
        }
        Ok(())
    }

    /// Removes a VM that a restore made, as an administrator would; fine when it is not there.
    fn remove(&self, name: &str) -> Result<()> {
        for vm in self.lab.pool.vms()?.iter().filter(|vm| vm.name == name) {
            self.lab.pool.uninstall(vm)?;
        }
        Ok(())
    }
}

fn leftovers(lab: &Lab) -> Result<Leftovers> {
    let state = lab.pool.get("/state")?;
    let list = |key: &str| state[key].as_array().map(Vec::as_slice).unwrap_or_default().to_vec();
    let mut vms: Vec<String> =
        list("vms").iter().map(|vm| vm["name"].as_str().unwrap_or_default().to_owned()).collect();
    vms.sort();
    Ok(Leftovers {
        vms,
        disks: list("vdis").len(),
        dom0_vbds: list("dom0_vbds").len(),
        pending_tasks: list("tasks").iter().filter(|task| task["status"] == "pending").count(),
    })
}
