//! Tasks and groups, as an administrator uses them: a selection, a rename, a second run, retention.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use xenkeep_tests::{Lab, PoolOptions, images};

/// Kinds and subjects of the jobs of a run that went well, in order.
fn jobs(run: &Value) -> Result<Vec<(String, String)>> {
    anyhow::ensure!(run["state"] == "success", "{run:#}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let jobs = run["jobs"].as_array().context("no jobs")?;
    let mut jobs: Vec<(String, String)> =
        jobs.iter().map(|job| (text(&job["spec"]["kind"]), text(&job["subject"]))).collect();
    jobs.sort();
    Ok(jobs)
}

fn expected(jobs: &[(&str, &str)]) -> Vec<(String, String)> {
    jobs.iter().map(|(kind, subject)| ((*kind).to_owned(), (*subject).to_owned())).collect()
}

#[test]
fn a_group_backs_up_a_selection_and_a_vm_that_is_renamed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let content = dir.path().join("content");
    images::fill_directory(&content, 7, 10, 40_000)?;
    let disk = |name: &str| -> Result<Vec<PathBuf>> {
        let path = dir.path().join(format!("{name}.img"));
        images::ext4(&path, 8 << 20, &content)?;
        Ok(vec![path])
    };
    let vms = ["web1", "web2", "db", "scratch"].into_iter().map(|name| Ok((name.to_owned(), disk(name)?)));
    let options = PoolOptions { vms: vms.collect::<Result<_>>()?, ..PoolOptions::default() };
    let lab = Lab::build(dir.path(), &options)?;
    let product = &lab.product;
    product.ok(&["drive", "create", "13", "--datastore", "store", "--channels", "2"])?;

    let selection = ["--client", "lab", "--all", "--exclude-name", "SCR*", "--exclude-vm", "db"];
    let words = |first: &[&'static str]| [first, &selection[..]].concat();
    let today = product.json(&words(&["task", "create", "most", "--dry-run"]))?;
    let names: Vec<&str> =
        today["vms"].as_array().context("no VMs")?.iter().filter_map(|vm| vm["name"].as_str()).collect();
    assert_eq!(names, ["web1", "web2"]);
    product.ok(&words(&["task", "create", "most", "--keep-last", "1"]))?;
    product.ok(&["task", "create", "db", "--client", "lab", "--vm", "db", "-a", "http=https", "--type", "FULL"])?;
    product.ok(&["group", "create", "vms", "most", "db"])?;

    let run = product.json(&["group", "start", "vms", "--drive", "13"])?;
    let backups = [("backup", "db"), ("backup", "web1"), ("backup", "web2"), ("expand-selection", "most")];
    assert_eq!(jobs(&run)?, expected(&backups));
    let first = &run["jobs"][0];
    assert_eq!((&first["origin"]["group"], &first["origin"]["run"]), (&json!("vms"), &run["id"]));

    // The VM is renamed; its task goes on with it, and shows the new name.
    let db = lab.pool.vm("db")?;
    let reference = lab.pool.call("VM.get_by_uuid", &[json!(db.uuid)])?;
    lab.pool.call("VM.set_name_label", &[reference, json!("sales")])?;
    lab.pool.post("/clock", &json!({"seconds": 60}))?;
    product.json(&["task", "start", "db", "--drive", "13"])?;
    assert_eq!(product.json(&["task", "show", "db"])?["source"], json!({"kind": "vm", "vm": "sales", "uuid": db.uuid}));

    // The VM was excluded by its old name, so the selection takes it now; and keeps one point of each VM.
    let run = product.json(&["task", "start", "most", "--drive", "13"])?;
    let removals = jobs(&run)?.into_iter().filter(|(kind, _)| kind == "forget-points").count();
    assert_eq!(removals, 3, "{run:#}");
    let points = product.json(&["point", "list"])?;
    let mut of: Vec<&str> =
        points.as_array().context("no points")?.iter().filter_map(|point| point["source_name"].as_str()).collect();
    of.sort_unstable();
    assert_eq!(of, ["sales", "web1", "web2"]);
    Ok(())
}
