//! What can't be done is refused with a sentence and a hint, exit code 1, and nothing is left behind.

use serde_json::json;
use xensim::config::{DiskConfig, SrConfig, VmConfig};

use crate::lab::{Lab, MIB};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name() {
    let lab = Lab::new().await;
    lab.set_up();
    lab.run(&["backup", "lab", "web2", "--datastore", "store"]).complains(1, &["web2"]);
    lab.run(&["backup", "lob", "web1", "--datastore", "store"]).complains(1, &["lob"]);
    lab.run(&["backup", "lab", "web1", "--datastore", "stare"]).complains(1, &["stare"]);
    lab.run(&["restore", "abcdef", "--as", "x"]).complains(1, &["abcdef"]);
    lab.run(&["point", "show", "abcdef"]).complains(1, &["abcdef"]);
    lab.run(&["job", "show", "abcdef"]).complains(1, &["abcdef"]);
    lab.run(&["job", "cancel", "abcdef"]).complains(1, &["abcdef"]);
    assert!(lab.points().is_empty());
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let lab = Lab::new().await;
    std::fs::write(lab.path("password"), "wrong\n").unwrap();
    let refused = lab.add_client("lab", &lab.address()).complains(1, &["password"]);
    assert!(!format!("{refused:?}").contains("wrong\\n"));
    assert_eq!(lab.json(&["client", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_nobody_gives() {
    let lab = Lab::new().await;
    lab.run(&["client", "add", "lab", "--address", &lab.address()]).complains(2, &["no password"]);
    lab.run(&["client", "add", "lab", "--address", &lab.address(), "--password-file", "/nonexistent"]).fails(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_vms_of_one_name() {
    let twin = || VmConfig::new("twin").with_disk(DiskConfig::empty(4 * MIB));
    let lab = Lab::with(|config| config.with_vm(twin()).with_vm(twin())).await;
    lab.set_up();
    let vms = lab.json(&["vm", "list", "lab"]);
    let uuids: Vec<_> = vms.as_array().unwrap().iter().filter(|vm| vm["name"] == "twin").collect();
    let uuids: Vec<_> = uuids.iter().map(|vm| vm["uuid"].as_str().unwrap()).collect();
    lab.run(&["backup", "lab", "twin", "--datastore", "store"]).complains(1, &uuids);
    lab.run(&["backup", "lab", uuids[0], "--datastore", "store"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_default_sr() {
    let no_default = |sr: SrConfig| SrConfig { default: false, ..sr };
    let lab = Lab::with(|mut config| {
        // The simulator's disks still need to lie somewhere.
        let first = config.srs[0].name.clone();
        for disk in config.vms.iter_mut().flat_map(|vm| &mut vm.disks) {
            disk.sr = Some(first.clone());
        }
        config.srs = config.srs.into_iter().map(no_default).collect();
        config
    })
    .await;
    lab.set_up();
    let point = lab.back_up("idle");
    lab.run(&["restore", &point, "--as", "copy"]).complains(1, &["default SR", "--sr"]);
    lab.assert_clean(&["idle", "web1"]).await;
    lab.run(&["restore", &point, "--as", "copy", "--sr", "Second storage"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sr_that_is_too_small_or_not_there() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");
    lab.run(&["restore", &point, "--as", "copy", "--sr", "Small storage"]).complains(1, &["Small storage"]);
    lab.shut_down("web1").await;
    lab.run(&["restore", &point, "--overwrite", "--yes", "--sr", "Small storage"]).complains(1, &["Small storage"]);
    lab.run(&["restore", &point, "--as", "copy", "--sr", "Nowhere"]).complains(1, &["Nowhere"]);
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_runs_is_not_restored_over() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");
    let before = lab.vm("web1");
    lab.run(&["restore", &point, "--overwrite", "--yes"]).complains(1, &["web1 is running"]);
    assert_eq!(lab.vm("web1"), before);
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sr_that_fills_up_on_the_way() {
    let lab = Lab::new().await;
    lab.set_up();
    let point = lab.back_up("web1");
    lab.fault(json!({ "kind": "sr_full", "at_byte": 2 * MIB })).await;
    lab.run(&["restore", &point, "--as", "copy"]).fails(1);
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_pool() {
    let lab = Lab::new().await;
    lab.set_up();
    // A port that was free a moment ago.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    lab.add_client("gone", &nobody).complains(1, &[&nobody]);
    let clients = lab.json(&["client", "list"]);
    assert_eq!(clients.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_certificate() {
    let mut lab = Lab::new().await;
    lab.set_up();
    let pinned = lab.json(&["client", "show", "lab"])["certificate_sha256"].clone();
    lab.replace_pool().await;
    assert_ne!(pinned, lab.sim().certificate_sha256());
    let checked = lab.run(&["client", "check", "lab"]);
    assert_eq!(checked.code, 1, "{checked:#?}");
    assert!(checked.stdout.contains("FAILED   certificate"), "{checked:#?}");
    lab.run(&["vm", "list", "lab"]).complains(1, &["certificate"]);
    lab.run(&["backup", "lab", "web1", "--datastore", "store"]).complains(1, &["certificate"]);
    assert_eq!(lab.json(&["client", "show", "lab"])["certificate_sha256"], pinned);
    assert!(lab.points().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_the_expected_one() {
    let lab = Lab::new().await;
    let other = "ab".repeat(32);
    let password = lab.text("password");
    let address = lab.address();
    let mut add = vec!["client", "add", "lab", "--address", &address, "--password-file", &password];
    add.extend(["--certificate", &other]);
    lab.run(&add).complains(1, &["certificate"]);
    assert_eq!(lab.json(&["client", "list"]), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cut_leaves_no_point() {
    let lab = Lab::new().await;
    lab.set_up();
    lab.fault(json!({ "kind": "cut_export", "at_byte": 3 * MIB, "times": null })).await;
    lab.run(&["backup", "lab", "web1", "--datastore", "store"]).fails(1);
    assert!(lab.points().is_empty());
    lab.assert_clean(&["idle", "web1"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_complains_in_json() {
    let lab = Lab::new().await;
    lab.set_up();
    let ran = lab.run(&["backup", "lab", "web2", "--datastore", "store", "--output", "json"]);
    assert_eq!(ran.code, 1);
    let problem: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert!(problem["code"].as_str().unwrap().contains('.'), "{problem:#}");
    assert!(problem["message"].as_str().unwrap().contains("web2"), "{problem:#}");
    // If there was a job, it is told too.
    if !ran.stdout.is_empty() {
        assert_eq!(ran.json()["state"], "failed");
    }
}
