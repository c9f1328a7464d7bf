//! Work that is ended before its time: ^C, `job cancel`, a server that goes down.

use serde_json::{Value, json};

use crate::{
    lab::{Lab, MIB},
    program::Running,
};

/// An export that stands still after some bytes, so that there is time to end it.
async fn slow_export(lab: &Lab) {
    lab.fault(json!({ "kind": "stall_export", "at_byte": 2 * MIB, "seconds": 600, "times": null })).await;
}

async fn slow_import(lab: &Lab) {
    lab.fault(json!({ "kind": "stall_import", "at_byte": 2 * MIB, "seconds": 600, "times": null })).await;
}

fn jobs(lab: &Lab, kind: &str) -> Vec<Value> {
    lab.json(&["job", "list", "--kind", kind]).as_array().unwrap().clone()
}

fn start(lab: &Lab, arguments: &[&str]) -> Running {
    Running::start(&mut lab.command(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_leaves_nothing() {
    let lab = Lab::new().await;
    lab.set_up();
    slow_export(&lab).await;
    let mut backup = start(&lab, &["backup", "lab", "web1", "--datastore", "store"]);
    tokio::task::block_in_place(|| backup.hear("web1: read"));
    backup.signal("INT");
    let ended = tokio::task::block_in_place(|| backup.end());
    assert_eq!(ended.code, 1, "{ended:#?}");
    assert!(ended.stderr.contains("cancelling"), "{ended:#?}");
    assert!(ended.stderr.contains("cancelled"), "{ended:#?}");
    assert_eq!(jobs(&lab, "backup")[0]["state"], "cancelled");
    assert!(lab.points().is_empty());
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_leaves_the_pool_as_it_was() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");
    let before = (lab.vm("web1"), lab.disks(&lab.vm("web1")).await);
    slow_import(&lab).await;
    for placement in [["--as", "copy"], ["--overwrite", "--yes"]] {
        let mut arguments = vec!["restore", &point];
        arguments.extend(placement);
        let mut restore = start(&lab, &arguments);
        tokio::task::block_in_place(|| restore.hear("web1: import"));
        restore.signal("INT");
        let ended = tokio::task::block_in_place(|| restore.end());
        assert_eq!(ended.code, 1, "{ended:#?}");
        assert_eq!(jobs(&lab, "restore")[0]["state"], "cancelled", "{ended:#?}");
        lab.assert_clean(&["idle", "web1"]).await;
        assert_eq!((lab.vm("web1"), lab.disks(&lab.vm("web1")).await), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_by_its_id() {
    let lab = Lab::new().await;
    lab.set_up();
    slow_export(&lab).await;
    let job = lab.json(&["backup", "lab", "web1", "--datastore", "store", "--detach"]);
    let id = job["id"].as_str().unwrap();
    let mut watch = start(&lab, &["job", "watch", &id[..8]]);
    tokio::task::block_in_place(|| watch.hear("web1: read"));

    let cancelled = lab.run(&["job", "cancel", id]).ok();
    assert!(cancelled.stdout.contains("cancelled job"), "{cancelled:#?}");
    let watched = tokio::task::block_in_place(|| watch.end());
    assert_eq!(watched.code, 1, "{watched:#?}");
    assert!(lab.points().is_empty());
    lab.assert_clean(&["idle", "web1"]).await;

    let again = lab.run(&["job", "cancel", id]);
    assert_ne!(again.code, 2, "{again:#?}");
    assert!(!lab.run(&["job", "log", id]).ok().stdout.is_empty());
    assert!(lab.run(&["job", "show", id]).ok().stdout.contains("cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_watches_cancels_nothing() {
    let lab = Lab::new().await;
    lab.set_up();
    slow_export(&lab).await;
    let job = lab.json(&["backup", "lab", "web1", "--datastore", "store", "--detach"]);
    let id = job["id"].as_str().unwrap();
    let mut watch = start(&lab, &["job", "watch", id]);
    tokio::task::block_in_place(|| watch.hear("web1: read"));
    watch.signal("INT");
    let left = tokio::task::block_in_place(|| watch.end());
    assert_eq!(left.code, 1);
    assert!(left.stderr.contains("goes on without you"), "{left:#?}");
    assert_eq!(lab.json(&["job", "show", id])["state"], "running");
    lab.run(&["job", "cancel", id]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_cleans_up_first() {
    let mut lab = Lab::new().await;
    lab.set_up();
    slow_export(&lab).await;
    let mut backup = start(&lab, &["backup", "lab", "web1", "--datastore", "store"]);
    tokio::task::block_in_place(|| backup.hear("web1: read"));
    let stopped = tokio::task::block_in_place(|| lab.stop_server());
    assert_eq!(stopped.code, 0, "{stopped:#?}");
    let ended = tokio::task::block_in_place(|| backup.end());
    assert_eq!(ended.code, 1, "{ended:#?}");

    lab.clear_faults().await;
    tokio::task::block_in_place(|| lab.start_server(&[]));
    assert!(lab.points().is_empty());
    lab.assert_clean(&["idle", "web1"]).await;
    lab.back_up("web1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_export_leaves_no_file() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");
    // A pipe that nobody empties holds the export up.
    let fifo = lab.text("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let file = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let mut command = lab.command(&["export", &point, "--format", "raw", "--disk", "0", "-o", "-"]);
    let mut child = command.stdout(file.try_clone().unwrap()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let id = tokio::task::block_in_place(|| {
        loop {
            if let Some(job) = jobs(&lab, "export").first().filter(|job| job["state"] == "running") {
                break job["id"].as_str().unwrap().to_owned();
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    lab.run(&["job", "cancel", &id]).ok();
    drop(file);
    let status = tokio::task::block_in_place(|| child.wait().unwrap());
    assert_eq!(status.code(), Some(1));
}
