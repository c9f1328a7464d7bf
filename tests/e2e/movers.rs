//! Two movers, the server and the pool, each on a machine of its own: one network between server and movers, another
//! between movers and pool. The server is not on the second one, so no disk can pass it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use xenkeep_tests::network::{Machine, Network, inside};
use xenkeep_tests::{Pool, PoolOptions, Product, binary, images};

const MIB: u64 = 1 << 20;
/// Seconds after which a silent mover has lost its jobs.
const LEASE: &str = "4";

#[test]
fn a_mover_that_dies_commits_nothing_and_leaves_nothing() {
    at_a_site("movers::a_mover_that_dies_commits_nothing_and_leaves_nothing", |site| {
        site.data_goes_past_the_server()?;
        site.one_is_killed()
    });
}

#[test]
fn a_mover_that_is_cut_off_or_sleeps_commits_nothing_and_leaves_nothing() {
    at_a_site("movers::a_mover_that_is_cut_off_or_sleeps_commits_nothing_and_leaves_nothing", |site| {
        site.one_is_cut_off()?;
        site.one_falls_asleep()
    });
}

/// Runs scenes of the test of this name, in a network namespace of its own.
fn at_a_site(test: &str, scenes: impl FnOnce(&mut Site) -> Result<()>) {
    inside(test, || {
        let dir = tempfile::tempdir()?;
        scenes(&mut Site::build(dir.path())?)
    })
    .unwrap();
}

struct Site {
    movers: [Mover; 2],
    product: Product,
    pool: Pool,
    server: Machine,
    _pool_machine: Machine,
    control: Network,
    data: Network,
    store: PathBuf,
    size_bytes: u64,
    baseline: Value,
    points: usize,
}

struct Mover {
    name: String,
    machine: Machine,
    token: PathBuf,
    log: PathBuf,
    process: Option<Child>,
}

impl Mover {
    fn start(&mut self, url: &str, certificate: &str) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.machine.command(binary("xenkeep")?);
        command.args(["mover", "--server", url, "--server-certificate", certificate, "--token-file"]).arg(&self.token);
        self.process = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let id = self.process.as_ref().context("the mover does not run")?.id();
        images::run(Command::new("kill").args([signal, &id.to_string()]))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Site {
    fn build(dir: &Path) -> Result<Self> {
        let (control, data) = (Network::new("ctl", "10.77.0")?, Network::new("dat", "10.78.0")?);
        let (server, pool_machine) = (Machine::new("srv")?, Machine::new("poo")?);
        let address = server.plug(&control, 1)?;
        let pool_address = pool_machine.plug(&data, 20)?;

        let content = dir.join("content");
        images::fill_directory(&content, 11, 80, 300_000)?;
        let disk = dir.join("system.img");
        images::ext4(&disk, 40 * MIB, &content)?;
        let options = PoolOptions {
            vms: vec![("web".into(), vec![disk])],
            address: Some(pool_address),
            prefix: pool_machine.prefix(),
            ..PoolOptions::default()
        };
        let pool = Pool::start(&dir.join("xensim"), &options)?;
        let baseline = leftovers(&pool)?;
        let listen = format!("{address}:7443");
        let arguments = ["--listen", &listen, "--no-local-mover", "--lease", LEASE];
        let product = Product::start_on(&server.prefix(), &dir.join("xenkeep"), &arguments)?;

        let mut movers = Vec::new();
        for (name, number) in [("one", 11), ("two", 12)] {
            let machine = Machine::new(name)?;
            machine.plug(&control, number)?;
            machine.plug(&data, number)?;
            let (token, log) = (dir.join(format!("{name}.token")), dir.join(format!("{name}.log")));
            product.ok(&["mover", "add", name, "--new-token-file", &token.display().to_string()])?;
            movers.push(Mover { name: name.to_owned(), machine, token, log, process: None });
        }
        let movers = movers.try_into().map_err(|_| anyhow::anyhow!("there are two movers"))?;
        let store = dir.join("store");
        let size_bytes = 24_000_000;
        let mut site = Self {
            movers,
            product,
            pool,
            server,
            _pool_machine: pool_machine,
            control,
            data,
            store,
            size_bytes,
            baseline,
            points: 0,
        };
        site.start(0)?;
        site.start(1)?;
        let password = dir.join("password");
        std::fs::write(&password, "correct horse battery staple")?;
        let (password, pool_address) = (password.display().to_string(), site.pool.https_address().to_owned());
        site.product.ok(&["client", "add", "lab", "--address", &pool_address, "--password-file", &password])?;
        let store = site.store.display().to_string();
        site.product.ok(&["datastore", "create", "store", "--path", &store, "--mover", "one", "--mover", "two"])?;
        Ok(site)
    }

    /// Starts a mover and waits until the server has heard of it.
    fn start(&mut self, index: usize) -> Result<()> {
        let running: Value = serde_json::from_slice(&std::fs::read(self.product.data().join("server.json"))?)?;
        let word = |key: &str| running[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
        self.movers[index].start(&word("url")?, &word("certificate_sha256")?)?;
        self.until("the mover connects", |site| {
            let movers = site.product.json(&["mover", "list"])?;
            let name = site.movers[index].name.as_str();
            Ok(items(&movers).any(|mover| mover["name"] == name && mover["connected"] == true))
        })
    }

    fn data_goes_past_the_server(&mut self) -> Result<()> {
        let (server, mover) = (&self.server, &self.movers[0].machine);
        let before = (server.traffic_bytes(&self.control)?, mover.traffic_bytes(&self.data)?);
        self.product.ok(&["client", "set", "lab", "--mover", "one"])?;
        self.product.ok(&["backup", "lab", "web", "--datastore", "store"])?;
        let passed = server.traffic_bytes(&self.control)? - before.0;
        let moved = mover.traffic_bytes(&self.data)? - before.1;
        ensure!(moved > self.size_bytes, "the mover has moved {moved} bytes only");
        ensure!(passed < self.size_bytes / 20, "{passed} bytes passed the server");
        self.points += 1;
        self.check("after the first backup")
    }

    fn one_is_killed(&mut self) -> Result<()> {
        let job = self.back_up_and_hold("one")?;
        let mut process = self.movers[0].process.take().context("the mover runs")?;
        process.kill()?;
        process.wait()?;
        self.pool.clear_faults()?;
        self.taken_over(&job, "two")?;
        self.check("after a mover was killed")?;
        self.start(0)
    }

    fn one_is_cut_off(&mut self) -> Result<()> {
        let job = self.back_up_and_hold("one")?;
        for network in [&self.control, &self.data] {
            self.movers[0].machine.link(network, false)?;
        }
        self.pool.clear_faults()?;
        self.interrupted(&job)?;
        self.until("the mover gives up", |site| Ok(site.movers[0].log().contains("the job is given up")))?;
        // Only now the pool hears that nobody reads its stream any more, and lets go of the snapshot.
        for network in [&self.control, &self.data] {
            self.movers[0].machine.link(network, true)?;
        }
        self.tidied_up(&job, "two")?;
        self.check("after a mover was cut off")?;
        self.works_again("one")
    }

    /// A mover that stood still wakes up when its job has long been taken from it, with all of the disk before it.
    fn one_falls_asleep(&mut self) -> Result<()> {
        let job = self.back_up_and_hold("two")?;
        self.movers[1].signal("-STOP")?;
        self.pool.clear_faults()?;
        self.interrupted(&job)?;
        // As long as it sleeps the pool waits for it to read on, and keeps the snapshot busy: only now that can go.
        self.movers[1].signal("-CONT")?;
        self.tidied_up(&job, "one")?;
        self.works_again("two")?;
        self.check("after a mover fell asleep")
    }

    /// Starts a backup on a mover and waits until the pool holds its stream half-way; tells the job.
    fn back_up_and_hold(&self, mover: &str) -> Result<String> {
        self.product.ok(&["client", "set", "lab", "--mover", mover])?;
        self.pool.post("/faults", &json!({"kind": "stall_export", "at_byte": 8 * MIB, "seconds": 0}))?;
        let mut command = self.product.command(&["backup", "lab", "web", "--datastore", "store"])?;
        let mut client = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.until("the pool holds the stream", |site| {
            Ok(site.pool.get("/stalled")?.as_array().is_some_and(|stalled| !stalled.is_empty()))
        })?;
        client.kill()?;
        client.wait()?;
        let jobs = self.product.json(&["job", "list"])?;
        let job = items(&jobs).find(|job| job["state"] == "running").context("no job runs")?;
        ensure!(job["mover"] == mover, "the job is not at {mover}: {job}");
        Ok(job["id"].as_str().context("a job without id")?.to_owned())
    }

    /// Waits until a job is called interrupted, and another mover has tidied up after it.
    fn taken_over(&self, job: &str, by: &str) -> Result<()> {
        self.interrupted(job)?;
        self.tidied_up(job, by)
    }

    fn interrupted(&self, job: &str) -> Result<()> {
        self.product.ok(&["client", "set", "lab", "--mover", "any"])?;
        self.until("the job is interrupted", |site| {
            Ok(site.product.json(&["job", "show", job])?["state"] == "interrupted")
        })
    }

    fn tidied_up(&self, job: &str, by: &str) -> Result<()> {
        self.until("all is tidied up", |site| {
            let jobs = site.product.json(&["job", "list"])?;
            let open = |job: &Value| job["state"] == "queued" || job["state"] == "running";
            Ok(!items(&jobs).any(open))
        })?;
        let jobs = self.product.json(&["job", "list"])?;
        let recovery =
            items(&jobs).find(|other| other["spec"]["kind"] == "recover" && other["spec"]["interrupted"] == job);
        let recovery = recovery.with_context(|| format!("nobody has tidied up after {job}"))?;
        ensure!(recovery["state"] == "success" && recovery["mover"] == by, "not tidied up by {by}: {recovery}");
        Ok(())
    }

    /// A mover does the next backup as if nothing had been.
    fn works_again(&mut self, mover: &str) -> Result<()> {
        self.product.ok(&["client", "set", "lab", "--mover", mover])?;
        self.product.ok(&["backup", "lab", "web", "--datastore", "store"])?;
        self.points += 1;
        self.check(&format!("{mover} works again"))
    }

    /// The pool holds nothing of ours, and the datastore the points that are listed and no others: says restic.
    fn check(&self, when: &str) -> Result<()> {
        let found = leftovers(&self.pool)?;
        ensure!(found == self.baseline, "{when}: left behind {found} instead of {}\n{}", self.baseline, self.logs());
        let points = self.product.json(&["point", "list"])?;
        let sheet = self.product.json(&["datastore", "recovery-sheet", "store"])?;
        let password = sheet["password"].as_str().context("no password")?;
        let mut restic = Command::new("restic");
        restic.args(["--no-lock", "--no-cache", "snapshots", "--json", "--repo"]).arg(&self.store);
        let output = restic.env("RESTIC_PASSWORD", password).output().context("cannot run restic")?;
        ensure!(output.status.success(), "restic: {}", String::from_utf8_lossy(&output.stderr));
        let snapshots: Value = serde_json::from_slice(&output.stdout)?;
        let ids = |list: &Value| {
            let mut ids: Vec<String> = items(list).filter_map(|one| one["id"].as_str().map(str::to_owned)).collect();
            ids.sort();
            ids
        };
        ensure!(
            ids(&snapshots) == ids(&points),
            "{when}: restic finds {snapshots}, listed are {points}\n{}",
            self.logs()
        );
        ensure!(ids(&points).len() == self.points, "{when}: {} points instead of {}", ids(&points).len(), self.points);
        Ok(())
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        while !holds(self)? {
            if Instant::now() > deadline {
                bail!("did not happen: {what}\n{}", self.logs());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn logs(&self) -> String {
        format!("server:\n{}\none:\n{}\ntwo:\n{}", self.product.log(), self.movers[0].log(), self.movers[1].log())
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn leftovers(pool: &Pool) -> Result<Value> {
    let state = pool.get("/state")?;
    let count = |key: &str| state[key].as_array().map_or(0, Vec::len);
    let mut vms: Vec<&str> = items(&state["vms"]).filter_map(|vm| vm["name"].as_str()).collect();
    vms.sort_unstable();
    let pending = items(&state["tasks"]).filter(|task| task["status"] == "pending").count();
    Ok(json!({"vms": vms, "vdis": count("vdis"), "dom0_vbds": count("dom0_vbds"), "pending_tasks": pending}))
}
