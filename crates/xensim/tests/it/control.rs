//! The control endpoint.

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pool::Pool;

#[tokio::test(flavor = "multi_thread")]
async fn disks_can_be_looked_at_and_written() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    let uuid = pool.disks(&vm).await[1].clone();
    let path = format!("/vdi/{uuid}/sha256");
    let (status, before) = pool.control("GET", &path, None).await;
    assert_eq!((status, &before["size"]), (200, &json!(3 * 1024 * 1024 + 512)));
    let write = json!({ "vm": "web", "disk": "1", "offset": 100_000, "pattern": "abc", "len": 100_001 });
    assert_eq!(pool.control("POST", "/guest-write", Some(write)).await.0, 204);
    let after = pool.control("GET", &path, None).await.1;
    assert_ne!(before, after);

    let url = pool.sim.control_url();
    let mut stream = tokio::net::TcpStream::connect(url[7..].strip_suffix("/control").unwrap()).await.unwrap();
    let request = format!("GET /control/vdi/{uuid}/content HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let content = &all[all.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4..];
    assert_eq!(hex::encode(Sha256::digest(content)), after["sha256"]);
    assert_eq!(&content[100_000..][..6], b"abcabc");

    let outside = json!({ "vm": "web", "disk": "1", "offset": 1_u64 << 40, "pattern": "abc" });
    assert_eq!(pool.control("POST", "/guest-write", Some(outside)).await.0, 400);
    assert_eq!(pool.control("GET", "/vdi/nothing/sha256", None).await.0, 404);
    let unknown = json!({ "vm": "nothing", "disk": "1", "offset": 0, "pattern": "abc" });
    assert_eq!(pool.control("POST", "/guest-write", Some(unknown)).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn destroyed_snapshots_can_still_be_seen() {
    let pool = Pool::start_with(|mut config| {
        config.keep_deleted = true;
        config
    })
    .await;
    let vm = pool.vm("web").await;
    let snapshot = pool.text("VM.snapshot", json!([vm, "snap"])).await;
    let disks = pool.disks(&snapshot).await;
    let sums = pool.sums(&snapshot).await;
    let used = async || pool.call("SR.get_physical_utilisation", json!([pool.sr("Shared storage").await])).await;
    let before = used().await;
    let write = json!({ "vm": "web", "disk": "0", "offset": 0, "pattern": "changed" });
    pool.control("POST", "/guest-write", Some(write)).await;
    pool.call("VM.destroy", json!([snapshot])).await;
    for uuid in &disks {
        let vdi = pool.call("VDI.get_by_uuid", json!([uuid])).await;
        pool.call("VDI.destroy", json!([vdi])).await;
        assert!(pool.try_call("VDI.get_by_uuid", json!([uuid])).await.is_err());
    }
    let deleted = pool.control("GET", "/deleted", None).await.1;
    let origin = pool.disks(&vm).await;
    for (number, uuid) in disks.iter().enumerate() {
        assert_eq!(deleted[number]["uuid"], json!(uuid));
        assert_eq!((&deleted[number]["snapshot_of"], &deleted[number]["vm"]), (&json!(origin[number]), &json!("web")));
        let sum = pool.control("GET", &format!("/vdi/{uuid}/sha256"), None).await.1;
        assert_eq!(sum["sha256"], json!(sums[number]));
    }
    pool.call("SR.scan", json!([pool.sr("Shared storage").await])).await;
    assert_eq!(used().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_names_what_is_there() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    pool.call("VM.snapshot", json!([vm, "snap"])).await;
    let state = pool.control("GET", "/state", None).await.1;
    assert_eq!(state["snapshots"][0]["name"], "snap");
    let web = state["vms"].as_array().unwrap().iter().find(|vm| vm["name"] == "web").unwrap();
    assert_eq!(web["disks"], json!(pool.disks(&vm).await));
    assert_eq!((&web["power_state"], &web["is_template"]), (&json!("Halted"), &json!(false)));
    assert_eq!(web["macs"].as_array().unwrap().len(), 1);
    assert_eq!(state["sessions"][0]["originator"], "tests");
    let snapshots = state["vdis"].as_array().unwrap().iter().filter(|vdi| vdi["snapshot"] == true);
    assert_eq!(snapshots.count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_when_the_clock_moves_is_gone_at_once() {
    let pool = Pool::start().await;
    let (done, pending) = (pool.task().await, pool.task().await);
    pool.call("task.cancel", json!([done])).await;
    let clock = async |seconds: u64| pool.control("POST", "/clock", Some(json!({ "seconds": seconds }))).await.0;
    assert_eq!(clock(64 * 60).await, 204);
    assert_eq!(pool.text("task.get_status", json!([done])).await, "cancelled");
    clock(2 * 60).await;
    assert!(pool.try_call("task.get_status", json!([done])).await.is_err());
    assert_eq!(pool.text("task.get_status", json!([pending])).await, "pending");
    clock(23 * 3600).await;
    assert!(pool.try_call("task.get_status", json!([pending])).await.is_err());
}
