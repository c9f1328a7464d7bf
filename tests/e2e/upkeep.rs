//! Keeping a datastore in order, as an administrator does: remove by a policy, prune, verify, heal, copy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xenkeep_tests::{Lab, PoolOptions, images};

const MIB: u64 = 1 << 20;

/// A lab with one VM of two disks.
struct Site {
    lab: Lab,
    dir: PathBuf,
}

/// A point, and what the VM's disks held when it was made.
#[derive(Debug, Clone)]
struct Kept {
    id: String,
    contents: Vec<String>,
}

impl Site {
    fn build(dir: &Path) -> Result<Self> {
        let content = dir.join("content");
        images::fill_directory(&content, 11, 40, 100_000)?;
        let (system, data) = (dir.join("system.img"), dir.join("data.img"));
        images::ext4(&system, 16 * MIB, &content)?;
        images::ext4(&data, 12 * MIB, &content.join("d01"))?;
        let options = PoolOptions { vms: vec![("web".into(), vec![system, data])], ..PoolOptions::default() };
        Ok(Self { lab: Lab::build(dir, &options)?, dir: dir.to_owned() })
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.lab.product.ok(arguments)
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.lab.product.json(arguments)
    }

    /// The guest replaces three MiB, in the same place each time, by what was never there before.
    fn change(&self, number: u64) -> Result<()> {
        let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for mib in 2..5 {
            let mut pattern = String::new();
            while pattern.len() < 1 << 20 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                pattern.push_str(&format!("{state:016x}"));
            }
            let write = json!({"vm": "web", "disk": "1", "offset": mib * MIB, "len": MIB, "pattern": pattern});
            self.lab.pool.post("/guest-write", &write)?;
        }
        Ok(())
    }

    /// Backs the VM up, a minute after the time before: a pool tells the time of a snapshot in seconds.
    fn back_up(&self) -> Result<Kept> {
        self.lab.pool.post("/clock", &json!({"seconds": 60}))?;
        let contents = self.lab.pool.contents(&self.lab.pool.vm("web")?)?;
        let job = self.json(&["backup", "lab", "web", "--datastore", "store"])?;
        let id = job["result"]["point"]["id"].as_str().with_context(|| format!("no point in {job}"))?.to_owned();
        Ok(Kept { id, contents })
    }

    /// The ids of all listed points, newest first.
    fn points(&self) -> Result<Vec<String>> {
        let points = self.json(&["point", "list"])?;
        Ok(points.as_array().context("no list")?.iter().map(|point| text(&point["id"])).collect())
    }

    /// A point exports the bytes that were backed up.
    fn check(&self, id: &str, contents: &[String]) -> Result<()> {
        let dir = self.dir.join(format!("export-{id}"));
        self.ok(&["export", id, "--format", "raw", "-o", &dir.display().to_string()])?;
        let mut files: Vec<_> = std::fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        let sums: Vec<_> = files.iter().map(|file| images::sha256(file)).collect::<Result<_>>()?;
        ensure!(sums == contents, "point {id} holds another content");
        std::fs::remove_dir_all(dir)?;
        Ok(())
    }

    /// restic on a datastore, which must succeed.
    fn restic(&self, datastore: &str, arguments: &[&str]) -> Result<String> {
        let sheet = self.json(&["datastore", "recovery-sheet", datastore])?;
        let store = self.dir.join(datastore);
        let mut command = Command::new("restic");
        command
            .env("RESTIC_PASSWORD", text(&sheet["password"]))
            .env("TZ", "UTC")
            .arg("--no-cache")
            .arg("--repo")
            .arg(store);
        let output = command.args(arguments).output().context("cannot run restic")?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "restic {arguments:?}: {}{stderr}", String::from_utf8_lossy(&output.stdout));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn data(&self, datastore: &str) -> PathBuf {
        self.dir.join(datastore).join("data")
    }

    /// Waits until no job is queued or running.
    fn settle(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let jobs = self.json(&["job", "list"])?;
            let jobs = jobs.as_array().context("no list of jobs")?;
            if jobs.iter().all(|job| job["state"] != "queued" && job["state"] != "running") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "jobs do not end: {jobs:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn usage(dir: &Path) -> u64 {
    files(dir).iter().map(|file| file.metadata().unwrap().len()).sum()
}

/// In the middle of the largest pack.
fn flip_a_bit(data: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let pack = files(data).into_iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    std::fs::set_permissions(&pack, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&pack, bytes).unwrap();
}

#[test]
fn what_a_policy_removes_is_freed_and_the_rest_restores() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::build(dir.path()).unwrap();
    let mut kept = Vec::new();
    for number in 0..5 {
        kept.push(site.back_up().unwrap());
        site.change(number).unwrap();
    }
    site.ok(&["point", "protect", &kept[0].id, "--reason", "before the upgrade"]).unwrap();
    let refused = site.lab.product.run(&["point", "forget", &kept[0].id, "--yes"]).unwrap();
    assert!(refused.code == 1 && refused.stderr.contains("before the upgrade"), "{refused:?}");
    let silent = site.lab.product.run(&["point", "forget", "--keep-last", "2"]).unwrap();
    assert!(silent.code == 2 && silent.stderr.contains("nobody is there to ask"), "{silent:?}");

    let plan = site.ok(&["point", "forget", "--vm", "web", "--keep-last", "2", "--dry-run"]).unwrap();
    assert!(plan.contains("2 of 5 points removed") && plan.contains("protected: before the upgrade"), "{plan}");
    assert_eq!(site.points().unwrap().len(), 5);
    site.ok(&["point", "forget", "--vm", "web", "--keep-last", "2", "--yes"]).unwrap();
    let left: BTreeSet<String> = site.points().unwrap().into_iter().collect();
    assert_eq!(left, [&kept[0], &kept[3], &kept[4]].map(|kept| kept.id.clone()).into());

    let before = usage(&site.data("store"));
    let dry = site.json(&["datastore", "prune", "store", "--dry-run", "--grace", "0s", "--max-unused", "0"]).unwrap();
    assert!(dry["result"]["prune"]["unused_bytes"].as_u64().unwrap() > 0, "{dry:#}");
    assert_eq!(usage(&site.data("store")), before);
    for _ in 0..2 {
        site.ok(&["datastore", "prune", "store", "--grace", "0s", "--max-unused", "0"]).unwrap();
    }
    let after = usage(&site.data("store"));
    assert!(after + MIB < before, "{after} of {before} bytes are left");
    let shown = site.json(&["datastore", "show", "store"]).unwrap();
    assert_eq!(shown["state"]["points"], 3, "{shown:#}");
    assert_eq!(shown["state"]["pruned"]["reclaimable_bytes"], 0, "{shown:#}");
    let stored = shown["state"]["stored_bytes"].as_u64().unwrap();
    assert!(stored.abs_diff(after) < MIB / 4, "{stored} are said to be stored, {after} are");
    site.restic("store", &["check", "--read-data"]).unwrap();
    for point in [&kept[0], &kept[3], &kept[4]] {
        site.check(&point.id, &point.contents).unwrap();
    }
}

#[test]
fn damage_is_named_healed_and_survived_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::build(dir.path()).unwrap();
    let first = site.back_up().unwrap();
    site.ok(&["datastore", "verify", "store"]).unwrap();
    site.ok(&["datastore", "verify", "store", "--full"]).unwrap();
    let offsite = site.dir.join("offsite").display().to_string();
    site.ok(&["datastore", "create", "offsite", "--path", &offsite]).unwrap();
    site.ok(&["datastore", "copy", "store", "offsite", "--all"]).unwrap();

    flip_a_bit(&site.data("store"));
    let found = site.lab.product.run(&["datastore", "verify", "store", "--full"]).unwrap();
    assert_eq!(found.code, 1, "{found:?}");
    for word in ["web", "disk ", &first.id[..8], "data/"] {
        assert!(found.stdout.contains(word), "{word} in {found:?}");
    }
    assert!(found.stderr.contains("can't be restored whole") && found.stderr.contains("hint: "), "{found:?}");
    let listed = site.ok(&["point", "list", "--datastore", "store"]).unwrap();
    assert!(listed.contains("damaged"), "{listed}");
    let shown = site.ok(&["datastore", "show", "store"]).unwrap();
    assert!(shown.contains("1 files damaged, 1 points touched"), "{shown}");
    let restore = site.lab.product.run(&["restore", &first.id, "--as", "broken"]).unwrap();
    assert!(restore.code == 1 && !restore.stderr.contains("panicked"), "{restore:?}");

    // The next backup reads the damaged piece from the pool, and stores it again.
    let second = site.back_up().unwrap();
    let healed = site.lab.product.run(&["datastore", "verify", "store", "--full"]).unwrap();
    assert_ne!(healed.code, 1, "{healed:?}");
    site.check(&first.id, &first.contents).unwrap();
    site.check(&second.id, &second.contents).unwrap();
    let listed = site.ok(&["point", "list", "--datastore", "store"]).unwrap();
    assert!(!listed.contains("damaged"), "{listed}");

    // A second copy brings what is missing; and the copies live without the original.
    let copy = site.json(&["datastore", "copy", "store", "offsite", "--vm", "web"]).unwrap();
    assert_eq!(copy["result"]["copy"]["present"], 1, "{copy:#}");
    site.restic("offsite", &["check", "--read-data"]).unwrap();
    std::fs::remove_dir_all(site.dir.join("store")).unwrap();
    let copies = site.json(&["point", "list", "--datastore", "offsite"]).unwrap();
    let copies: Vec<String> = copies.as_array().unwrap().iter().map(|point| text(&point["id"])).collect();
    assert_eq!(copies.len(), 2);
    site.check(&copies[0], &second.contents).unwrap();
    site.check(&copies[1], &first.contents).unwrap();
    site.ok(&["restore", &copies[0], "--as", "back"]).unwrap();
    assert_eq!(site.lab.pool.contents(&site.lab.pool.vm("back").unwrap()).unwrap(), second.contents);
}

#[test]
fn policies_keep_what_restic_would_keep() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("small.img");
    std::fs::write(&image, [7; 65536]).unwrap();
    let options = PoolOptions { vms: vec![("web".into(), vec![image])], ..PoolOptions::default() };
    let site = Site { lab: Lab::build(dir.path(), &options).unwrap(), dir: dir.path().to_owned() };
    const HOUR: i64 = 3600;
    let turn = |hours: i64| site.lab.pool.post("/clock", &json!({"seconds": hours * HOUR})).unwrap();
    turn(-24 * 90);
    for hours in [0, 1, 5, 20, 1, 26, 72, 24 * 7, 24 * 10, 1, 24 * 12, 3, 20, 1] {
        turn(hours);
        site.back_up().unwrap();
    }
    for policy in [
        "--keep-last 3",
        "--keep-hourly 4",
        "--keep-daily 4",
        "--keep-weekly 3",
        "--keep-monthly 2",
        "--keep-within 13d",
        "--keep-within 1d2h",
        "--keep-last 1 --keep-hourly 2 --keep-daily 3 --keep-weekly 2",
        "--keep-daily 2 --keep-monthly 1 --keep-within 20h",
    ] {
        let policy: Vec<&str> = policy.split(' ').collect();
        let mut ours = vec!["point", "forget", "--dry-run", "--time-zone", "UTC"];
        ours.extend(&policy);
        let plan = site.json(&ours).unwrap();
        let kept: BTreeSet<String> = plan["groups"][0]["points"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|planned| !planned["kept"].as_array().unwrap().is_empty())
            .map(|planned| text(&planned["point"]["id"]))
            .collect();
        let mut theirs = vec!["forget", "--dry-run", "--json", "--group-by", "host,paths"];
        theirs.extend(&policy);
        let answer: Value = serde_json::from_str(&site.restic("store", &theirs).unwrap()).unwrap();
        let restic: BTreeSet<String> =
            answer[0]["keep"].as_array().unwrap().iter().map(|snapshot| text(&snapshot["id"])).collect();
        assert!(!restic.is_empty() && restic.len() < 14, "{policy:?}: {answer}");
        assert_eq!(kept, restic, "{policy:?}");
    }
}

/// SIGKILL of the server at some moment of each kind of job; which moment, is left to chance. Whatever it was: the
/// repository is in order, no point is lost that was not to go, and the next run does the rest.
#[test]
fn upkeep_survives_a_killed_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut site = Site::build(dir.path()).unwrap();
    let offsite = site.dir.join("offsite").display().to_string();
    site.ok(&["datastore", "create", "offsite", "--path", &offsite]).unwrap();
    let mut kept: Vec<Kept> = Vec::new();
    for number in 0..3 {
        site.change(number).unwrap();
        kept.push(site.back_up().unwrap());
    }
    let prune = ["datastore", "prune", "store", "--grace", "0s", "--max-unused", "0"];
    let last = kept.pop().unwrap();
    for (round, wait_ms) in [20, 60].into_iter().enumerate() {
        let gone = kept.remove(0);
        let jobs: [&[&str]; 4] = [
            &["point", "forget", &gone.id, "--yes"],
            &prune,
            &["datastore", "verify", "store", "--full"],
            &["datastore", "copy", "store", "offsite", "--point", &last.id],
        ];
        for job in jobs {
            let mut command = site.lab.product.command(job).unwrap();
            let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait_ms));
            site.lab.product.kill().unwrap();
            client.kill().unwrap();
            client.wait().unwrap();
            site.lab.product.restart().unwrap();
            site.settle().unwrap();
        }
        // Nothing that was begun is left half-done; and what had not even begun is done now.
        if site.points().unwrap().contains(&gone.id) {
            site.ok(&["point", "forget", &gone.id, "--yes"]).unwrap();
        }
        for _ in 0..2 {
            site.ok(&prune).unwrap();
        }
        site.ok(&["datastore", "verify", "store", "--full"]).unwrap();
        site.ok(&["datastore", "copy", "store", "offsite", "--point", &last.id]).unwrap();
        site.restic("store", &["check", "--read-data"]).with_context(|| format!("round {round}")).unwrap();
        for point in kept.iter().chain([&last]) {
            site.check(&point.id, &point.contents).unwrap();
        }
        let copies = site.json(&["point", "list", "--datastore", "offsite"]).unwrap();
        assert_eq!(copies.as_array().unwrap().len(), 1, "{copies:#}");
        site.check(&text(&copies[0]["id"]), &last.contents).unwrap();
    }
    site.restic("offsite", &["check", "--read-data"]).unwrap();
}
