//! A hundred tasks at a drive with eight channels, as an administrator starts and sees them.

use std::cmp::Reverse;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use xenkeep_tests::{Lab, Mover, PoolOptions};

const TASKS: usize = 100;
const CHANNELS: usize = 8;

#[test]
fn a_hundred_tasks_share_eight_channels() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lab = Lab::build(dir.path(), &pool())?;
    let product = &lab.product;
    // Two movers could do twelve each, and the pool stands 24: only the drive is narrow.
    let _movers = [Mover::start(product, dir.path(), "one", 12)?, Mover::start(product, dir.path(), "two", 12)?];
    let store = dir.path().join("wide").display().to_string();
    product.ok(&["datastore", "create", "wide", "--path", &store, "--mover", "one", "--mover", "two"])?;
    product.ok(&["client", "set", "lab", "--jobs", "24"])?;
    product.ok(&["drive", "create", "13", "--datastore", "wide", "--channels", &CHANNELS.to_string()])?;
    make_tasks(&lab)?;

    lab.pool.post("/faults", &json!({"kind": "stall_call", "method": "/export", "when": "before", "times": null}))?;
    let mut start = product.command(&["--output", "json", "group", "start", "vms", "--drive", "13"])?;
    let start = start.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    until(&lab, "eight exports are held", || Ok(stalled(&lab)? == CHANNELS))?;
    whoever_waits_is_told_why(&lab)?;
    // What needs no channel goes past those that wait for one.
    product.ok(&["backup", "lab", "--meta-data", "--datastore", "wide"])?;
    ensure!(stalled(&lab)? == CHANNELS, "there is no ninth channel");
    lab.pool.clear_faults()?;

    let ended = start.wait_with_output()?;
    let errors = String::from_utf8_lossy(&ended.stderr);
    ensure!(ended.status.success(), "group start: {}: {errors}\n{}", ended.status, product.log());
    let run: Value = serde_json::from_slice(&ended.stdout)?;
    let jobs = run["jobs"].as_array().context("a run without jobs")?;
    assert_eq!((jobs.len(), &run["counts"]["success"]), (TASKS, &json!(TASKS)), "{run:#}");
    in_order(jobs)?;
    let transfers = lab.pool.get("/transfers")?;
    assert_eq!(transfers["/export"], json!({"now": 0, "most": CHANNELS}), "{transfers}");
    let points = product.json(&["point", "list", "--datastore", "wide"])?;
    let vms = points.as_array().context("no points")?.iter().filter(|point| point["kind"] == "vm");
    assert_eq!(vms.count(), TASKS);
    Ok(())
}

/// A pool of small VMs.
fn pool() -> PoolOptions {
    let vms = (0..TASKS).map(|number| (vm(number), vec![PathBuf::from("64K")]));
    PoolOptions { vms: vms.collect(), more: vec!["--sr".into(), "pool=20G:exact".into()], ..PoolOptions::default() }
}

fn vm(number: usize) -> String {
    format!("vm{number:03}")
}

/// The name of the task of a VM, and its priority: neither is in the order in which the tasks are made.
fn task(number: usize) -> (String, usize) {
    (format!("task{:03}", number * 37 % TASKS), number % 3)
}

fn make_tasks(lab: &Lab) -> Result<()> {
    let make = |number: usize| -> Result<()> {
        let ((name, priority), vm) = (task(number), vm(number));
        let priority = priority.to_string();
        let arguments = ["task", "create", &name, "--client", "lab", "--vm", &vm, "--priority", &priority];
        lab.product.ok(&arguments).map(drop)
    };
    std::thread::scope(|scope| {
        let makers: Vec<_> =
            (0..4).map(|first| scope.spawn(move || (first..TASKS).step_by(4).try_for_each(make))).collect();
        makers.into_iter().try_for_each(|maker| maker.join().map_err(|_| anyhow::anyhow!("a maker broke down"))?)
    })?;
    let names: Vec<String> = (0..TASKS).map(|number| task(number).0).collect();
    let mut arguments = vec!["group", "create", "vms"];
    arguments.extend(names.iter().map(String::as_str));
    lab.product.ok(&arguments).map(drop)
}

fn whoever_waits_is_told_why(lab: &Lab) -> Result<()> {
    let drive = lab.product.json(&["drive", "show", "13"])?;
    let running = drive["running"].as_array().context("no channels")?.len();
    assert_eq!((running, &drive["waiting"]), (CHANNELS, &json!(TASKS - CHANNELS)), "{drive:#}");
    assert_eq!(drive["next"][0]["waiting"]["code"], "queue.drive_full", "{drive:#}");
    let shown = lab.product.ok(&["drive", "show", "13"])?;
    assert!(shown.contains("drive 13 has no free channel: 8 of 8 are taken"), "{shown}");
    let queued = lab.product.json(&["job", "list", "--state", "queued", "--limit", "1000"])?;
    let reasons: Vec<&Value> =
        queued.as_array().context("no jobs")?.iter().map(|job| &job["waiting"]["code"]).collect();
    assert_eq!(reasons, vec!["queue.drive_full"; TASKS - CHANNELS]);
    Ok(())
}

/// Who had the higher priority, and among equals the name that comes first, has not begun later than another.
fn in_order(jobs: &[Value]) -> Result<()> {
    let mut begun = Vec::with_capacity(jobs.len());
    for job in jobs {
        let at: Timestamp = job["started_at"].as_str().context("a job that never began")?.parse()?;
        let priority = job["priority"].as_i64().context("a job without priority")?;
        begun.push((at, Reverse(priority), job["subject"].as_str().context("a job without subject")?));
    }
    // Those that began together, as far as the clock tells, count as begun in order.
    begun.sort_unstable();
    ensure!(begun.is_sorted_by_key(|(_, priority, name)| (*priority, *name)), "begun out of order: {begun:#?}");
    Ok(())
}

fn stalled(lab: &Lab) -> Result<usize> {
    Ok(lab.pool.get("/stalled")?.as_array().context("no list")?.len())
}

fn until(lab: &Lab, what: &str, holds: impl Fn() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !holds()? {
        ensure!(Instant::now() < deadline, "did not happen: {what}\n{}", lab.product.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
