//! `GET /export`.

use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xenkeep_disk::Data;
use xenkeep_disk::xva::Reader;
use xensim::fault::{Fault, FaultKind};

use crate::pool::{MIB, Pool};

/// SHA-256 of each disk in an archive, in the order of the archive, with the names of the VDIs.
pub(crate) async fn read_archive(bytes: &[u8]) -> Result<Vec<(String, String)>, xenkeep_disk::Error> {
    let mut reader = Reader::open(bytes).await?;
    let names: Vec<String> = reader.disks().iter().map(|disk| disk.vdi_uuid.clone()).collect();
    let mut sums = vec![Sha256::new(); names.len()];
    while let Some(next) = reader.next().await? {
        match next.block.data {
            Data::Bytes(bytes) => sums[next.disk].update(&bytes),
            Data::Zero | Data::Unchanged => sums[next.disk].update(vec![0; next.block.len as usize]),
        }
    }
    reader.finish().await?;
    Ok(names.into_iter().zip(sums.into_iter().map(|sum| hex::encode(sum.finalize()))).collect())
}

async fn expected(pool: &Pool, vm: &str) -> Vec<(String, String)> {
    let mut all: Vec<_> = pool.disks(vm).await.into_iter().zip(pool.sums(vm).await).collect();
    all.sort();
    all
}

async fn content(body: &[u8]) -> Vec<(String, String)> {
    let mut all = read_archive(body).await.unwrap();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_out_is_what_is_on_the_disks() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    for compression in ["false", "true", "gzip", "zstd", "nonsense"] {
        let task = pool.task().await;
        let answer = pool.get("/export", &[("ref", &vm), ("use_compression", compression), ("task_id", &task)]).await;
        assert!(answer.head.starts_with("HTTP/1.0 200 OK\r\n"), "{}", answer.head);
        assert_eq!(answer.header("content-length"), None);
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!(answer.header("connection").as_deref(), Some("close"));
        assert_eq!(answer.header("task-id").as_deref(), Some(task.as_str()));
        let magic: &[u8] = match compression {
            "true" | "gzip" => &[0x1f, 0x8b],
            "zstd" => &[0x28, 0xb5, 0x2f, 0xfd],
            _ => b"ova.xml\0",
        };
        assert!(answer.body.starts_with(magic), "{compression}");
        assert_eq!(content(&answer.body).await, expected(&pool, &vm).await);
        assert_eq!(pool.outcome(&task).await, ("success".to_owned(), String::new(), vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn holes_are_left_out() {
    let pool = Pool::start().await;
    let answer = pool.get("/export", &[("ref", &pool.vm("web").await)]).await;
    assert!((answer.body.len() as u64) < 12 * MIB, "{} bytes for 23 MiB with holes", answer.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_as_it_was_whatever_the_guest_writes() {
    let pool = Pool::start_with(|mut config| {
        config.vms[0].running = true;
        config
    })
    .await;
    let vm = pool.vm("web").await;
    let (_, written) =
        pool.control("POST", "/vm/web/writer", Some(json!({ "on": true, "bytes_per_second": 50 * MIB }))).await;
    assert_eq!(written["on"], true);
    let snapshot = pool.text("VM.snapshot", json!([vm, "snap"])).await;
    let sums = expected(&pool, &snapshot).await;
    let writes = async || pool.control("GET", "/vm/web/writer", None).await.1["writes"].as_u64().unwrap();
    let before = writes().await;
    while writes().await < before + 100 {
        tokio::task::yield_now().await;
    }
    let answer = pool.get("/export", &[("ref", &snapshot)]).await;
    assert_eq!(content(&answer.body).await, sums);
    assert_ne!(pool.sums(&vm).await, pool.sums(&snapshot).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_machine_is_refused() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    pool.call("VM.start", json!([vm, false, false])).await;
    let task = pool.task().await;
    let answer = pool.get("/export", &[("ref", &vm), ("task_id", &task)]).await;
    assert_eq!((answer.status(), answer.header("content-type").as_deref()), (500, Some("text/html")));
    let (status, _, error) = pool.outcome(&task).await;
    assert_eq!((status.as_str(), error[0].as_str()), ("failure", "VM_BAD_POWER_STATE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_machine_leaves_the_task_pending() {
    let pool = Pool::start().await;
    let task = pool.task().await;
    for query in [vec![("uuid", "7cd6ba9a-3e8d-4b7c-8b3e-6a6b8f2f6c11")], vec![("ref", "OpaqueRef:x")], vec![]] {
        let mut query = query;
        query.push(("task_id", &task));
        assert_eq!(pool.get("/export", &query).await.status(), 500);
        assert_eq!(pool.outcome(&task).await.0, "pending");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_in_several_ways() {
    let pool = Pool::start().await;
    let uuid = pool.text("VM.get_uuid", json!([pool.vm("web").await])).await;
    let session = &pool.session;
    let basic = "cm9vdDp4ZW5zaW0=";
    for header in [
        format!("Cookie: session_id={session}"),
        format!("Cookie: x=y&session_id={session}"),
        format!("Authorization: Basic {basic}"),
    ] {
        let request = format!("GET /export/?uuid={uuid} HTTP/1.1\r\n{header}\r\n\r\n");
        assert_eq!(pool.send(0, request.as_bytes()).await.status(), 200, "{header}");
    }
    let task = pool.task().await;
    let request = format!("GET /export?uuid={uuid}&session_id=OpaqueRef:x&task_id={task} HTTP/1.1\r\n\r\n");
    let answer = pool.send(0, request.as_bytes()).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="));
    let (status, _, error) = pool.outcome(&task).await;
    assert_eq!((status.as_str(), error), ("failure", vec!["SESSION_AUTHENTICATION_FAILED".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_does_not_exist_is_an_error() {
    let pool = Pool::start().await;
    let answer = pool.get("/export", &[("ref", &pool.vm("web").await), ("task_id", "OpaqueRef:x")]).await;
    assert_eq!(answer.status(), 500);
    assert!(String::from_utf8_lossy(&answer.body).contains("HANDLE_INVALID"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_runs_the_pool_shows_it() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    pool.sim.faults().arm(Fault::new(FaultKind::StallExport));
    let task = pool.task().await;
    let mut stream = pool.connect(0).await;
    stream.write_all(pool.request("GET", "/export", &[("ref", &vm), ("task_id", &task)]).as_bytes()).await.unwrap();
    while pool.control("GET", "/stalled", None).await.1 == json!([]) {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.call("VM.get_current_operations", json!([vm])).await, json!({ &task: "export" }));
    let state = pool.control("GET", "/state", None).await.1;
    assert_eq!(state["dom0_vbds"].as_array().unwrap().len(), 1);
    let vdi = pool.call("VDI.get_by_uuid", json!([state["dom0_vbds"][0]["vdi"]])).await;
    let error = pool.try_call("VDI.destroy", json!([vdi])).await.unwrap_err();
    assert_eq!(error[0], "VDI_IN_USE");
    let error = pool.try_call("VM.start", json!([vm, false, false])).await.unwrap_err();
    assert_eq!(error[0], "OTHER_OPERATION_IN_PROGRESS");

    pool.control("DELETE", "/faults", None).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(pool.outcome(&task).await.0, "success");
    assert_eq!(pool.call("VM.get_current_operations", json!([vm])).await, json!({}));
    assert_eq!(pool.control("GET", "/state", None).await.1["dom0_vbds"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_bridged_with_an_empty_chunk() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    pool.sim.faults().arm(Fault { seconds: 5.5, ..Fault::new(FaultKind::StallExport).at_byte(MIB) });
    let answer = pool.get("/export", &[("ref", &vm)]).await;
    let empty = b"EF46DB3751D8E999";
    assert!(answer.body.windows(empty.len()).any(|window| window == empty), "no empty chunk");
    assert_eq!(content(&answer.body).await, expected(&pool, &vm).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_fails_the_task() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    let task = pool.task().await;
    let mut stream = pool.connect(0).await;
    stream.write_all(pool.request("GET", "/export", &[("ref", &vm), ("task_id", &task)]).as_bytes()).await.unwrap();
    let mut some = vec![0; 1000];
    stream.read_exact(&mut some).await.unwrap();
    drop(stream);
    let (status, _, error) = pool.wait(&task).await;
    assert_eq!((status.as_str(), error[0].as_str()), ("failure", "CLIENT_ERROR"));
    assert_eq!(pool.control("GET", "/state", None).await.1["dom0_vbds"], json!([]));
    assert_eq!(pool.call("VM.get_current_operations", json!([vm])).await, json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_export_ends_with_its_task() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    let task = pool.task().await;
    pool.sim.faults().arm(Fault { bytes_per_second: MIB, ..Fault::new(FaultKind::SlowLink) });
    let mut stream = pool.connect(0).await;
    stream.write_all(pool.request("GET", "/export", &[("ref", &vm), ("task_id", &task)]).as_bytes()).await.unwrap();
    let mut some = vec![0; 1000];
    stream.read_exact(&mut some).await.unwrap();
    pool.call("task.cancel", json!([task])).await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(pool.wait(&task).await.0, "cancelled");
    assert!(read_archive(&rest).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_see_the_disks_points_elsewhere() {
    let pool = Pool::start_with(|mut config| {
        config.vms[0].disks[0].sr = Some("Local".to_owned());
        config
    })
    .await;
    let vm = pool.vm("web").await;
    let task = pool.task().await;
    let query = [("ref", vm.as_str()), ("task_id", task.as_str())];
    let answer = pool.get("/export", &query).await;
    assert_eq!(answer.status(), 302);
    let target = pool.request("GET", "/export", &query).split(' ').nth(1).unwrap().to_owned();
    let expected_location = format!("https://{}{target}", pool.sim.host_https(1));
    assert_eq!(answer.header("location"), Some(expected_location));
    assert_eq!(pool.outcome(&task).await.0, "pending");
    let answer = pool.send(1, pool.request("GET", "/export", &query).as_bytes()).await;
    assert_eq!(content(&answer.body).await, expected(&pool, &vm).await);
    assert_eq!(pool.outcome(&task).await.0, "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_no_host_sees_together_end_in_silence() {
    let pool = Pool::start_with(|mut config| {
        config.vms[0].disks[0].sr = Some("Local".to_owned());
        config.srs.iter_mut().find(|sr| sr.name == "Exact").unwrap().hosts = Some(vec![0]);
        config
    })
    .await;
    let task = pool.task().await;
    let mut stream = pool.connect(0).await;
    let vm = pool.vm("web").await;
    stream.write_all(pool.request("GET", "/export", &[("ref", &vm), ("task_id", &task)]).as_bytes()).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"");
    assert_eq!(pool.outcome(&task).await.0, "failure");
}
