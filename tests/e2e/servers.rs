//! Two servers on one PostgreSQL: what a schedule starts is started once, and by the other one when one is dead.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xenkeep_tests::{Pool, PoolOptions, Postgres, Product};

const TASKS: usize = 6;

struct Site {
    /// The servers, each with a mover in its process.
    servers: Vec<Product>,
    database: String,
    pool: Pool,
}

#[test]
fn two_servers_start_a_schedule_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut site = Site::build(dir.path())?;
    for number in 0..TASKS {
        site.schedule(number)?;
    }
    // Yesterday's starts have not been decided: both servers find all of them due at the same second.
    site.make_due("TRUE")?;
    site.until("all schedules have started", |site| Ok(site.backups()?.len() >= TASKS))?;
    site.until("all jobs have ended", |site| Ok(site.backups()?.iter().all(|job| job["state"] == "success")))?;
    for number in 0..TASKS {
        site.started_once(&schedule(number))?;
    }
    ensure!(site.backups()?.len() == TASKS, "{:#?}", site.backups()?);
    let shown = |server: &Product| server.json(&["point", "list"]);
    let (first, second) = (shown(&site.servers[0])?, shown(&site.servers[1])?);
    ensure!(first == second && first.as_array().is_some_and(|points| points.len() == TASKS), "{first:#} {second:#}");

    // One server dies; the other starts what is due, and its mover does it.
    site.servers.remove(0).kill()?;
    site.schedule(TASKS)?;
    site.make_due(&format!("name = '{}'", schedule(TASKS)))?;
    site.until("the other server has started it", |site| {
        Ok(site.backups()?.len() > TASKS && site.backups()?.iter().all(|job| job["state"] == "success"))
    })?;
    site.started_once(&schedule(TASKS))
}

fn schedule(number: usize) -> String {
    format!("at-three-{number}")
}

impl Site {
    fn build(dir: &Path) -> Result<Self> {
        let vms = (0..=TASKS).map(|number| (format!("vm{number}"), vec![PathBuf::from("64K")]));
        let pool = Pool::start(&dir.join("xensim"), &PoolOptions { vms: vms.collect(), ..PoolOptions::default() })?;
        let database = Postgres::shared().database()?;
        let url_file = dir.join("database-url");
        std::fs::write(&url_file, &database)?;
        let url_file = url_file.display().to_string();
        let mut servers = Vec::new();
        for name in ["one", "two"] {
            let data = dir.join(name);
            if name == "two" {
                // Whoever shares the catalogue must be able to open what is sealed in it.
                std::fs::create_dir(&data)?;
                std::fs::copy(dir.join("one/key"), data.join("key"))?;
            }
            let arguments = ["--listen", "127.0.0.1:0", "--lease", "4", "--database-url-file", &url_file];
            servers.push(Product::start_on(&[], &data, &arguments)?);
        }
        let site = Self { servers, database, pool };
        site.furnish(dir)?;
        Ok(site)
    }

    /// What one server is told, the other one knows.
    fn furnish(&self, dir: &Path) -> Result<()> {
        let (one, two) = (&self.servers[0], &self.servers[1]);
        let password = dir.join("password");
        std::fs::write(&password, xenkeep_tests::PASSWORD)?;
        let (password, store) = (password.display().to_string(), dir.join("store").display().to_string());
        let address = self.pool.https_address();
        one.ok(&["client", "add", "lab", "--address", address, "--password-file", &password])?;
        let movers = one.json(&["mover", "list"])?;
        let movers: Vec<&str> =
            movers.as_array().context("no movers")?.iter().filter_map(|mover| mover["name"].as_str()).collect();
        ensure!(movers.len() == 2, "each server has a mover: {movers:?}");
        two.ok(&["datastore", "create", "store", "--path", &store, "--mover", movers[0], "--mover", movers[1]])?;
        one.ok(&["drive", "create", "13", "--datastore", "store", "--channels", "2"])?;
        for number in 0..=TASKS {
            let (task, vm) = (format!("task{number}"), format!("vm{number}"));
            self.servers[number % 2].ok(&["task", "create", &task, "--client", "lab", "--vm", &vm, "--drive", "13"])?;
        }
        Ok(())
    }

    fn schedule(&self, number: usize) -> Result<()> {
        let (name, target) = (schedule(number), format!("task:task{number}"));
        let window = ["--time-zone", "UTC", "--start-window", "2000"];
        let create = ["schedule", "create", &name, "--when", "daily at 03:00", "--start", &target];
        self.last().ok(&[&create[..], &window].concat()).map(drop)
    }

    /// Turns the clock of schedules back by a day: their starts since then are due now.
    fn make_due(&self, which: &str) -> Result<()> {
        let yesterday = "CAST(extract(epoch FROM now()) * 1000 AS BIGINT) - 86400000";
        let change = format!("UPDATE schedules SET decided_ms = {yesterday}, next_ms = {yesterday} WHERE {which}");
        Postgres::shared().execute(&self.database, &change)
    }

    fn last(&self) -> &Product {
        &self.servers[self.servers.len() - 1]
    }

    fn backups(&self) -> Result<Vec<Value>> {
        let jobs = self.last().json(&["job", "list", "--kind", "backup", "--limit", "1000"])?;
        Ok(jobs.as_array().context("no list")?.clone())
    }

    /// A schedule has one start, which made one job.
    fn started_once(&self, name: &str) -> Result<()> {
        let shown = self.last().json(&["schedule", "show", name])?;
        let starts = shown["starts"].as_array().context("no starts")?;
        ensure!(starts.len() == 1 && starts[0]["outcome"] == "started", "{shown:#}");
        let jobs = self.backups()?;
        let own: Vec<&Value> = jobs.iter().filter(|job| job["origin"]["schedule"] == name).collect();
        ensure!(own.len() == 1 && own[0]["origin"]["run"] == starts[0]["run"], "{own:#?} {shown:#}");
        Ok(())
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self)? {
            ensure!(Instant::now() < deadline, "did not happen: {what}\n{}", self.last().log());
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}
