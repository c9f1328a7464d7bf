//! What goes wrong on demand, and what a client sees of it.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xenkeep_disk::Error;
use xensim::fault::{Fault, FaultKind};

use crate::export::read_archive;
use crate::pool::{Answer, MIB, Pool};

async fn arm(pool: &Pool, fault: serde_json::Value) {
    assert_eq!(pool.control("POST", "/faults", Some(fault)).await.0, 200);
}

/// Exports into what may break.
async fn export(pool: &Pool, task: &str) -> (Vec<u8>, std::io::Result<()>) {
    let vm = pool.vm("web").await;
    let mut stream = pool.connect(0).await;
    stream.write_all(pool.request("GET", "/export", &[("ref", &vm), ("task_id", task)]).as_bytes()).await.unwrap();
    let mut all = Vec::new();
    let result = stream.read_to_end(&mut all).await.map(drop);
    let end = all.windows(4).position(|window| window == b"\r\n\r\n").map_or(all.len(), |at| at + 4);
    (all.split_off(end), result)
}

async fn import(pool: &Pool, archive: &[u8], task: &str) -> std::io::Result<Answer> {
    let mut stream = pool.connect(0).await;
    stream.write_all(pool.request("PUT", "/import", &[("task_id", task)]).as_bytes()).await?;
    stream.write_all(archive).await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(Answer { head: String::from_utf8_lossy(&all).into_owned(), body: all })
}

async fn good_archive(pool: &Pool) -> Vec<u8> {
    let task = pool.task().await;
    let (archive, result) = export(pool, &task).await;
    result.unwrap();
    archive
}

/// Nothing of an export or import is left in the pool.
async fn assert_clean(pool: &Pool) {
    let state = pool.control("GET", "/state", None).await.1;
    assert_eq!(state["dom0_vbds"], json!([]));
    for vm in state["vms"].as_array().unwrap() {
        assert_eq!(vm["current_operations"], json!({}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_cut() {
    let pool = Pool::start().await;
    let whole = good_archive(&pool).await;
    for at_byte in [0, 700, 2_000_000] {
        arm(&pool, json!({ "kind": "cut_export", "at_byte": at_byte })).await;
        let task = pool.task().await;
        let (body, result) = export(&pool, &task).await;
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        // A reset throws away what was on its way.
        assert!(body.len() <= at_byte && whole.len() > at_byte);
        assert_eq!(pool.wait(&task).await.0, "failure");
        assert_clean(&pool).await;
    }
    assert_eq!(good_archive(&pool).await.len(), whole.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_with_a_second_answer() {
    let pool = Pool::start().await;
    for at_byte in [10, 3_000_000] {
        arm(&pool, json!({ "kind": "tail_export", "at_byte": at_byte })).await;
        let task = pool.task().await;
        let (body, result) = export(&pool, &task).await;
        result.unwrap();
        assert!(body[at_byte..].starts_with(b"HTTP/1.1 500 Internal Error\r\n"));
        assert!(matches!(read_archive(&body).await, Err(Error::SenderFailed { .. })));
        assert_eq!(pool.wait(&task).await.0, "failure");
        assert_clean(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_answer_comes_behind_a_compressed_stream_too() {
    let pool = Pool::start().await;
    let vm = pool.vm("web").await;
    arm(&pool, json!({ "kind": "tail_export", "at_byte": 1_000_000 })).await;
    let answer = pool.get("/export", &[("ref", &vm), ("use_compression", "zstd")]).await;
    assert!(String::from_utf8_lossy(&answer.body).contains("HTTP/1.1 500 Internal Error"));
    assert!(read_archive(&answer.body).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_is_flipped() {
    let pool = Pool::start().await;
    let whole = good_archive(&pool).await;
    arm(&pool, json!({ "kind": "corrupt_export", "at_byte": 2_000_000 })).await;
    let task = pool.task().await;
    let (body, result) = export(&pool, &task).await;
    result.unwrap();
    let different: Vec<usize> = (0..whole.len().min(body.len())).filter(|at| whole[*at] != body[*at]).collect();
    assert_eq!(different, [2_000_000]);
    assert!(matches!(read_archive(&body).await, Err(Error::Checksum { .. })));
    assert_eq!(pool.wait(&task).await.0, "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_fails_after_the_last_byte() {
    let pool = Pool::start().await;
    arm(&pool, json!({ "kind": "fail_export_task" })).await;
    let task = pool.task().await;
    let (body, _) = export(&pool, &task).await;
    read_archive(&body).await.unwrap();
    assert_eq!(pool.wait(&task).await.0, "failure");

    let before = pool.inventory().await;
    arm(&pool, json!({ "kind": "fail_import_task" })).await;
    let task = pool.task().await;
    let answer = import(&pool, &body, &task).await.unwrap();
    assert!(answer.head.contains("HTTP/1.1 200 OK") && answer.head.contains("HTTP/1.1 500 Internal Error"));
    assert_eq!(pool.wait(&task).await.0, "failure");
    assert_eq!(pool.inventory().await, before);
    assert_clean(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_cut() {
    let pool = Pool::start().await;
    let archive = good_archive(&pool).await;
    let before = pool.inventory().await;
    for at_byte in [0, 1000, 3_000_000] {
        arm(&pool, json!({ "kind": "cut_import", "at_byte": at_byte })).await;
        let task = pool.task().await;
        assert!(import(&pool, &archive, &task).await.is_err());
        assert_eq!(pool.wait(&task).await.0, "failure");
        assert_eq!(pool.inventory().await, before);
        assert_clean(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_fills_up() {
    let pool = Pool::start().await;
    let archive = good_archive(&pool).await;
    let before = pool.inventory().await;
    arm(&pool, json!({ "kind": "sr_full", "at_byte": 2 * MIB })).await;
    let task = pool.task().await;
    let _ = import(&pool, &archive, &task).await;
    let (_, _, error) = pool.wait(&task).await;
    assert!(error[0] == "INTERNAL_ERROR" && error[1].contains("ENOSPC"), "{error:?}");
    assert_eq!(pool.inventory().await, before);

    arm(&pool, json!({ "kind": "sr_full_snapshot" })).await;
    let vm = pool.vm("web").await;
    let error = pool.try_call("VM.snapshot", json!([vm, "snap"])).await.unwrap_err();
    assert_eq!(error[0], "SR_BACKEND_FAILURE_44");
    assert_eq!(pool.inventory().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn thin_storage_fills_up_for_real() {
    let pool = Pool::start_with(|config| {
        let mut config = config;
        config.srs.push(xensim::config::SrConfig::new("Narrow", xensim::config::SrKind::Nfs, 2 * MIB));
        config
    })
    .await;
    let archive = good_archive(&pool).await;
    let before = pool.inventory().await;
    let narrow = pool.sr("Narrow").await;
    let task = pool.task().await;
    pool.put("/import", &[("sr_id", &narrow), ("task_id", &task)], &archive).await;
    let (_, _, error) = pool.wait(&task).await;
    assert!(error[0] == "INTERNAL_ERROR" && error[1].contains("ENOSPC"), "{error:?}");
    assert_eq!(pool.inventory().await, before);
    assert_eq!(pool.call("SR.get_physical_utilisation", json!([narrow])).await, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_is_in_use_for_a_while() {
    let pool = Pool::start().await;
    arm(&pool, json!({ "kind": "vdi_in_use", "times": 2 })).await;
    let vm = pool.vm("web").await;
    let uuid = pool.disks(&vm).await[0].clone();
    pool.call("VM.destroy", json!([vm])).await;
    let vdi = pool.call("VDI.get_by_uuid", json!([uuid])).await;
    for _ in 0..2 {
        assert_eq!(pool.try_call("VDI.destroy", json!([vdi])).await.unwrap_err()[0], "VDI_IN_USE");
    }
    pool.call("VDI.destroy", json!([vdi])).await;
    assert_eq!(pool.sim.faults().struck(FaultKind::VdiInUse), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_lost_in_mid_stream() {
    let pool = Pool::start().await;
    arm(&pool, json!({ "kind": "session_lost", "at_byte": 1_000_000 })).await;
    let task = pool.task().await;
    let (body, result) = export(&pool, &task).await;
    result.unwrap();
    read_archive(&body).await.unwrap();
    let error = pool.try_call("VM.get_all", json!([])).await.unwrap_err();
    assert_eq!(error, ["SESSION_INVALID", &pool.session]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_refused_before_their_head() {
    let pool = Pool::start().await;
    let archive = good_archive(&pool).await;
    arm(&pool, json!({ "kind": "refuse_export" })).await;
    arm(&pool, json!({ "kind": "refuse_import" })).await;
    let task = pool.task().await;
    assert_eq!(pool.get("/export", &[("ref", &pool.vm("web").await), ("task_id", &task)]).await.status(), 500);
    assert_eq!(pool.put("/import", &[("task_id", &task)], &archive).await.status(), 500);
    assert_eq!(pool.outcome(&task).await.0, "pending");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_stalled_link_loses_nothing() {
    let pool = Pool::start().await;
    let archive = good_archive(&pool).await;
    let rate = archive.len() as u64 * 4;
    arm(&pool, json!({ "kind": "slow_link", "bytes_per_second": rate, "times": 2 })).await;
    arm(&pool, json!({ "kind": "stall_import", "at_byte": 1_000_000, "seconds": 0.2 })).await;
    let task = pool.task().await;
    let (body, _) = export(&pool, &task).await;
    read_archive(&body).await.unwrap();
    let task = pool.task().await;
    import(&pool, &body, &task).await.unwrap();
    assert_eq!(pool.wait(&task).await.0, "success");
    assert_eq!(pool.sim.faults().struck(FaultKind::SlowLink), 2);
    assert_eq!(pool.sim.faults().struck(FaultKind::StallImport), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_is_held_until_it_is_let_go() {
    let pool = Pool::start().await;
    let archive = good_archive(&pool).await;
    pool.sim.faults().arm(Fault::new(FaultKind::StallImport).at_byte(2_000_000));
    let task = pool.task().await;
    let control = async {
        while pool.sim.faults().stalled().is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.control("GET", "/stalled", None).await.1, json!([{ "method": "/import", "when": "during" }]));
        let vms = pool.control("GET", "/state", None).await.1["vms"].as_array().unwrap().len();
        assert_eq!(vms, 2);
        assert_eq!(pool.control("DELETE", "/faults", None).await.0, 204);
    };
    let (answer, ()) = tokio::join!(import(&pool, &archive, &task), control);
    answer.unwrap();
    assert_eq!(pool.wait(&task).await.0, "success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_hangs_up() {
    let pool = Pool::start().await;
    pool.sim.faults().arm(Fault::new(FaultKind::DropRpc));
    let mut stream = pool.connect(0).await;
    stream.write_all(b"POST /jsonrpc HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
    let mut all = Vec::new();
    assert!(stream.read_to_end(&mut all).await.is_err() || all.is_empty());
    assert_eq!(all, b"");
}
