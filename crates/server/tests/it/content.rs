use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use xenkeep_api::{JobResult, JobState, LeasedJob, Point, Problem};
use xenkeep_server::{ContentSender, Error};

use crate::fixture::{Rig, eventually, refused};
use crate::mover;

/// A leased export of the only point.
async fn leased_export(rig: &Rig) -> LeasedJob {
    rig.furnish().await;
    let backup = rig.queue_backup("wéb/1").await;
    let leased = rig.lease().await;
    rig.engine().finish(leased.id, leased.fence, &mover::good(mover::result(&leased))).await.unwrap();
    let point: Point = rig.get(&format!("/points/{}", backup.id.0.simple())).await;
    rig.start_job("/exports", json!({"point": point.id, "format": "raw", "disk": "3"})).await;
    let export = rig.lease().await;
    assert_eq!(export.point, Some(point));
    export
}

fn done(bytes: u64) -> xenkeep_api::JobReport {
    mover::good(JobResult::Export { bytes, sha256: "00".repeat(32) })
}

async fn read(rig: &Rig, job: &LeasedJob) -> Response {
    rig.send(Method::GET, &format!("/jobs/{}/content", job.id)).await
}

async fn meet(rig: &Rig, job: &LeasedJob) -> (Response, ContentSender) {
    let (response, sender) = tokio::join!(read(rig, job), rig.engine().content(job.id, job.fence));
    assert_eq!(response.status(), StatusCode::OK);
    (response, sender.unwrap())
}

#[tokio::test]
async fn goes_through_unread_and_unchanged() {
    let rig = Rig::start().await;
    let job = leased_export(&rig).await;
    let (response, sender) = meet(&rig, &job).await;
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"w_b_1-3.raw\"");
    let pieces: Vec<Bytes> = (0..64u8).map(|n| Bytes::from(vec![n; 300_000])).collect();
    let expected = pieces.concat();
    let send = async {
        for piece in pieces {
            sender.send(Ok(piece)).await.unwrap();
        }
        drop(sender);
        rig.engine().finish(job.id, job.fence, &done(64 * 300_000)).await.unwrap();
    };
    let (body, ()) = tokio::join!(response.bytes(), send);
    assert!(body.unwrap() == expected, "the bytes differ");
    // Once, and no more.
    refused(read(&rig, &job).await, StatusCode::CONFLICT, "export.over").await;
}

#[tokio::test]
async fn a_reader_may_come_before_the_job_runs() {
    let rig = Rig::start().await;
    let first = leased_export(&rig).await;
    let spec = json!({"point": first.point.as_ref().unwrap().id, "format": "xva"});
    let queued = rig.start_job("/exports", spec).await;
    let path = format!("/jobs/{}/content", queued.id);
    let mover = async {
        let job = rig.lease().await;
        let sender = rig.engine().content(job.id, job.fence).await.unwrap();
        sender.send(Ok(Bytes::from_static(b"all of it"))).await.unwrap();
        // The job may end before its last bytes are read.
        rig.engine().finish(job.id, job.fence, &done(9)).await.unwrap();
    };
    let (response, ()) = tokio::join!(rig.send(Method::GET, &path), mover);
    assert_eq!(response.text().await.unwrap(), "all of it");
}

#[tokio::test]
async fn a_stream_that_is_cut_short_does_not_look_whole() {
    let rig = Rig::start_with(|config| config.limits.lease = Duration::from_secs(5)).await;
    let job = leased_export(&rig).await;
    // The mover ends its stream, but its job fails.
    let (response, sender) = meet(&rig, &job).await;
    sender.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    drop(sender);
    rig.engine().finish(job.id, job.fence, &mover::bad(Problem::new("datastore.damaged", "a chunk"))).await.unwrap();
    assert!(response.bytes().await.is_err());

    // The mover says so itself.
    let spec = json!({"point": job.point.as_ref().unwrap().id, "format": "xva"});
    rig.start_job("/exports", spec.clone()).await;
    let job = rig.lease().await;
    let (response, sender) = meet(&rig, &job).await;
    sender.send(Err(Problem::new("datastore.damaged", "a chunk"))).await.unwrap();
    assert!(response.bytes().await.is_err());
    rig.engine().finish(job.id, job.fence, &mover::bad(Problem::new("x.y", "z"))).await.unwrap();

    // The mover hangs with its end open, and loses its lease.
    rig.start_job("/exports", spec).await;
    let job = rig.lease().await;
    let (response, sender) = meet(&rig, &job).await;
    sender.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    rig.clock.advance(Duration::from_secs(6));
    assert!(response.bytes().await.is_err());
    drop(sender);
}

#[tokio::test]
async fn a_slow_reader_slows_the_mover_and_one_that_leaves_stops_it() {
    let rig = Rig::start().await;
    let job = leased_export(&rig).await;
    let (response, sender) = meet(&rig, &job).await;
    let piece = Bytes::from(vec![7; 1 << 20]);
    // Sockets hold some megabytes; then it is full, however long one waits.
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(500), sender.send(Ok(piece.clone()))).await.is_ok() {
        sent += 1;
        assert!(sent < 64, "nobody holds the mover back");
    }
    let second = read(&rig, &job).await;
    refused(second, StatusCode::CONFLICT, "export.taken").await;
    let mut body = response.bytes_stream();
    body.next().await.unwrap().unwrap();
    drop(body);
    eventually("the mover is told", async || sender.send(Ok(piece.clone())).await.is_err()).await;
}

#[tokio::test]
async fn nobody_comes() {
    let rig = Rig::start_with(|config| config.limits.content_wait = Duration::from_millis(100)).await;
    let job = leased_export(&rig).await;
    let error = rig.engine().content(job.id, job.fence).await.unwrap_err();
    assert!(matches!(error, Error::NoReader(_)), "{error:?}");
    // The reader, on the other hand, is told why there will be nothing.
    let fail = async {
        let report = mover::bad(Problem::new("export.no_reader", "nobody came"));
        rig.engine().finish(job.id, job.fence, &report).await.unwrap();
    };
    let (response, ()) = tokio::join!(read(&rig, &job), fail);
    refused(response, StatusCode::UNPROCESSABLE_ENTITY, "export.no_reader").await;
}

#[tokio::test]
async fn only_exports_have_content() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    let response = rig.send(Method::GET, &format!("/jobs/{}/content", job.id)).await;
    refused(response, StatusCode::CONFLICT, "export.none").await;
    assert_eq!(rig.job(job.id).await.state, JobState::Queued);
}
