//! A pool's own database, and its hosts: backed up, written to files, and put back, through the command line.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use xenkeep_tests::{Lab, Outcome, PoolOptions};

#[test]
fn a_pools_database_is_kept_and_put_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lab = lab(dir.path())?;
    let product = &lab.product;
    product.ok(&["drive", "create", "13", "--datastore", "store", "--channels", "1"])?;
    product.ok(&["task", "create", "db", "--client", "lab", "--meta-data", "--drive", "13", "--keep-last", "2"])?;
    for _ in 0..3 {
        lab.pool.post("/clock", &json!({"seconds": 60}))?;
        product.ok(&["task", "start", "db"])?;
    }
    let points = points(&lab)?;
    ensure!(points.len() == 2, "the task keeps two points: {points:#?}");
    let point = id(&points[0])?;
    let shown = product.ok(&["point", "show", point])?;
    for word in ["schema", "xensim-1, xensim-2", "web", "Shared storage"] {
        ensure!(shown.contains(word), "{word} is not in {shown}");
    }

    let file = dir.path().join("database.xml");
    let exported = product.run(&["export", point, &file.display().to_string()])?;
    ensure!(exported.good() && exported.stderr.contains("xe pool-restore-database"), "no next step: {exported:?}");
    let parsed = "import sys, xml.etree.ElementTree as e; print(e.parse(sys.argv[1]).getroot().tag)";
    ensure!(said(Command::new("python3").args(["-c", parsed]).arg(&file))? == "database");

    let web = lab.pool.vm("web")?;
    let vm = lab.pool.call("VM.get_by_uuid", &[json!(web.uuid)])?;
    lab.pool.call("VM.set_name_label", &[vm, json!("renamed")])?;
    let dry = product.ok(&["restore", "meta-data", point, "--to-pool", "lab"])?;
    ensure!(dry.contains("would take the database; nothing was changed"), "{dry}");
    let silent = product.run(&["restore", "meta-data", point, "--replace"])?;
    ensure!(silent.code == 2 && silent.stderr.contains("--confirm POOL"), "{silent:?}");
    let wrong = product.run(&["restore", "meta-data", point, "--replace", "--confirm", "other"])?;
    ensure!(wrong.code == 1 && wrong.stderr.contains("lab"), "{wrong:?}");
    ensure!(lab.pool.vm("renamed").is_ok(), "nothing has been replaced yet");

    let done = product.ok(&["restore", "meta-data", point, "--replace", "--confirm", "lab"])?;
    ensure!(done.contains("has taken the database; next:") && done.contains("pool-join"), "{done}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while lab.pool.vm("web").is_err() {
        ensure!(Instant::now() < deadline, "the master never came back with the old database");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Each cure is said where it is needed, before anything is replaced.
#[test]
fn a_database_that_the_pool_would_not_take_is_refused_with_the_reason() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lab = lab(dir.path())?;
    lab.product.ok(&["backup", "lab", "--meta-data", "--datastore", "store"])?;
    let points = points(&lab)?;
    let restore = ["restore", "meta-data", id(&points[0])?, "--replace", "--confirm", "lab"];
    for (code, says, cure) in [
        ("RESTORE_INCOMPATIBLE_VERSION", "schema", "install the release"),
        ("RESTORE_TARGET_MISSING_DEVICE", "eth7", "network"),
        ("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP", "eth7", "management interface"),
    ] {
        lab.pool.post(
            "/faults",
            &json!({"kind": "refuse_call", "method": "/pool/xmldbdump", "code": code, "params": ["eth7"]}),
        )?;
        let refused = lab.product.run(&restore)?;
        ensure!(refused.code == 1 && hint(&refused).contains(cure), "{code}: {refused:?}");
        ensure!(refused.stderr.contains(says), "{code}: {refused:?}");
        let transfers = lab.pool.get("/faults")?;
        ensure!(transfers["armed"] == json!([]), "the pool was asked: {transfers}");
    }
    ensure!(lab.pool.vm("web").is_ok());
    Ok(())
}

#[test]
fn hosts_are_kept_and_put_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lab = lab(dir.path())?;
    let product = &lab.product;
    product.ok(&["drive", "create", "13", "--datastore", "store", "--channels", "1"])?;
    product.ok(&[
        "task",
        "create",
        "hosts",
        "--client",
        "lab",
        "--host-backup",
        "--drive",
        "13",
        "--keep-last",
        "1",
    ])?;
    for _ in 0..2 {
        lab.pool.post("/clock", &json!({"seconds": 60}))?;
        product.ok(&["task", "start", "hosts"])?;
    }
    let points = points(&lab)?;
    let mut names: Vec<&str> = points.iter().filter_map(|point| point["source_name"].as_str()).collect();
    names.sort_unstable();
    ensure!(names == ["xensim-1", "xensim-2"], "one point of each host is kept: {points:#?}");

    let second = points.iter().find(|point| point["source_name"] == "xensim-2").context("no point of xensim-2")?;
    let point = id(second)?;
    let shown = product.ok(&["point", "show", point])?;
    ensure!(shown.contains("XCP-ng 8.3.0") && shown.contains("pool's database"), "{shown}");
    let file = dir.path().join("host.xbk");
    product.ok(&["export", point, &file.display().to_string()])?;
    let listed = said(Command::new("tar").arg("-tzf").arg(&file))?;
    ensure!(listed.contains("etc/xensource-inventory"), "{listed}");

    let silent = product.run(&["restore", "host", point, "--host", "xensim-2"])?;
    ensure!(silent.code == 2 && silent.stderr.contains("xensim-2 will be formatted"), "{silent:?}");
    let unknown = product.run(&["restore", "host", point, "--host", "xensim-9", "--yes"])?;
    ensure!(unknown.code == 1 && unknown.stderr.contains("xensim-1, xensim-2"), "{unknown:?}");
    let asked = lab.pool.get("/transfers")?;
    ensure!(asked["/host_restore"].is_null(), "nothing was sent yet: {asked}");
    let done = product.ok(&["restore", "host", point, "--host", "xensim-2", "--yes"])?;
    ensure!(done.contains("xensim-2") && done.contains("Restore from backup"), "{done}");
    let asked = lab.pool.get("/transfers")?;
    ensure!(asked["/host_restore"]["most"] == 1, "{asked}");
    Ok(())
}

fn lab(dir: &Path) -> Result<Lab> {
    let image = dir.join("web.img");
    std::fs::write(&image, vec![7; 65536])?;
    let vms = vec![("web".to_owned(), vec![image])];
    Lab::build(dir, &PoolOptions { vms, more: vec!["--restart-time".into(), "0".into()], ..PoolOptions::default() })
}

/// All points, newest first.
fn points(lab: &Lab) -> Result<Vec<Value>> {
    Ok(lab.product.json(&["point", "list"])?.as_array().context("no list")?.clone())
}

fn id(point: &Value) -> Result<&str> {
    point["id"].as_str().context("a point without id")
}

fn hint(outcome: &Outcome) -> &str {
    outcome.stderr.lines().find(|line| line.contains("hint: ")).unwrap_or_default()
}

/// What a foreign tool prints.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {:?}", command.get_program()))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
