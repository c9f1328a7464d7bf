//! Several VMs restored at once, and a client whose access is changed, through the command line.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use xenkeep_tests::{Lab, PoolOptions};

const VMS: [&str; 3] = ["db", "mail", "web"];

#[test]
fn several_vms_come_back_at_once() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lab = lab(dir.path())?;
    let product = &lab.product;
    let mut points = Vec::new();
    for name in VMS {
        let job = product.json(&["backup", "lab", name, "--datastore", "store"])?;
        points.push(job["result"]["point"]["id"].as_str().context("no point")?.to_owned());
    }
    let with_points = |verb: &[&str], rest: &[&str]| -> Vec<String> {
        let words = verb.iter().copied().chain(points.iter().map(String::as_str)).chain(rest.iter().copied());
        words.map(str::to_owned).collect()
    };
    let run = |words: &[String]| product.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let plan = run(&with_points(&["restore"], &["--name", "{name}-back", "--dry-run"]))?;
    ensure!(plan.good() && VMS.iter().all(|name| plan.stdout.contains(&format!("{name}-back"))), "{plan:?}");
    let same = run(&with_points(&["restore"], &["--name", "back"]))?;
    ensure!(same.code == 2 && same.stderr.contains("{name}"), "three VMs of one name: {same:?}");

    lab.pool.post("/faults", &json!({"kind": "stall_call", "method": "/import", "when": "before", "times": null}))?;
    let words = with_points(&["restore"], &["--name", "{name}-back"]);
    let mut restore = product.command(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    let restore = restore.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while lab.pool.get("/stalled")?.as_array().context("no list")?.len() < VMS.len() {
        ensure!(Instant::now() < deadline, "the restores do not go on at once\n{}", product.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    lab.pool.clear_faults()?;
    let ended = restore.wait_with_output()?;
    ensure!(ended.status.success(), "{}\n{}", String::from_utf8_lossy(&ended.stderr), product.log());
    for name in VMS {
        let (original, restored) = (lab.pool.vm(name)?, lab.pool.vm(&format!("{name}-back"))?);
        ensure!(lab.pool.contents(&restored)? == lab.pool.contents(&original)?, "{name} came back as another");
        ensure!(restored.uuid != original.uuid && restored.macs != original.macs, "{restored:?}");
    }
    Ok(())
}

#[test]
fn a_client_is_changed_when_the_change_works() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let lab = lab(dir.path())?;
    let product = &lab.product;
    let address = || -> Result<String> {
        Ok(product.json(&["client", "show", "lab"])?["address"].as_str().context("no address")?.to_owned())
    };
    let guess = dir.path().join("guess");
    std::fs::write(&guess, "guess")?;
    let wrong = product.run(&["client", "set", "lab", "--password-file", &guess.display().to_string()])?;
    ensure!(wrong.code == 1 && wrong.stderr.contains("password") && !wrong.stderr.contains("guess"), "{wrong:?}");
    let nowhere = product.run(&["client", "set", "lab", "--address", "127.0.0.1:1"])?;
    ensure!(nowhere.code == 1 && address()? == lab.pool.https_address(), "{nowhere:?}");
    let print = "00".repeat(32);
    let other = product.run(&["client", "set", "lab", "--certificate", &print])?;
    ensure!(other.code == 1 && other.stderr.contains("certificate"), "{other:?}");
    let http = ["client", "set", "lab", "--address", lab.pool.http_address(), "--transport", "http"];
    let unsafe_way = product.run(&http)?;
    ensure!(unsafe_way.code == 2 && unsafe_way.stderr.contains("--trusted-network"), "{unsafe_way:?}");
    product.ok(&["backup", "lab", "web", "--datastore", "store"])?;

    // Any host of the pool will do: the member sends the login on to the master.
    let member = lab.pool.member_https_address().context("a pool without members")?;
    product.ok(&["client", "set", "lab", "--address", member])?;
    ensure!(address()? == member);
    let shown = product.ok(&["client", "show", "lab"])?;
    ensure!(shown.contains("xensim-1") && shown.contains("member"), "{shown}");
    product.ok(&["backup", "lab", "web", "--datastore", "store"])?;

    product.ok(&[&http[..], &["--trusted-network"]].concat())?;
    let client = product.json(&["client", "show", "lab"])?;
    ensure!(client["transport"] == "http" && client["certificate_sha256"].is_null(), "{client:#}");
    product.ok(&["backup", "lab", "web", "--datastore", "store"])?;
    Ok(())
}

fn lab(dir: &Path) -> Result<Lab> {
    let vm = |(number, name): (usize, &&str)| -> Result<_> {
        let image = dir.join(format!("{name}.img"));
        let content: Vec<u8> = (0..65536_usize).map(|at| (at * (number + 3) / 7 % 251) as u8).collect();
        std::fs::write(&image, content)?;
        Ok(((*name).to_owned(), vec![image]))
    };
    let vms = VMS.iter().enumerate().map(vm).collect::<Result<_>>()?;
    Lab::build(dir, &PoolOptions { vms, ..PoolOptions::default() })
}
