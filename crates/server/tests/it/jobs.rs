use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xenkeep_api::{Directive, Job, JobSpec, JobState, LogLevel, LogLine, Progress};

use crate::fixture::{Rig, answer, refused};
use crate::mover;

#[tokio::test]
async fn a_backup_is_queued_run_and_shown() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let response = rig.post("/backups", json!({"client": "lab", "vm": "web", "datastore": "store"})).await;
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let queued: Job = answer(response, StatusCode::ACCEPTED).await;
    assert_eq!(location, format!("/api/v1/jobs/{}", queued.id));
    assert_eq!((queued.state, queued.subject.as_str()), (JobState::Queued, "web"));

    let leased = rig.lease().await;
    assert_eq!((leased.id, leased.fence), (queued.id, 1));
    assert_eq!(leased.client.as_ref().unwrap().password.expose(), "secret-of-the-pool");
    assert_eq!(leased.datastore.as_ref().unwrap().path, "/srv/store");
    let line = LogLine {
        at: "2026-11-24T12:00:00Z".parse().unwrap(),
        level: LogLevel::Info,
        step: "read".to_owned(),
        text: "reading".to_owned(),
    };
    let progress = Progress { step: "read".to_owned(), total_bytes: 9, done_bytes: 4, ..Progress::default() };
    let wanted = rig.engine().renew(leased.id, leased.fence, &progress, vec![line.clone()]).await.unwrap();
    assert_eq!(wanted, Directive::Continue);
    let running = rig.job(&queued.id.to_string()[..8]).await;
    assert_eq!((running.state, running.progress), (JobState::Running, progress));
    assert_eq!(rig.get::<Vec<LogLine>>(&format!("/jobs/{}/log", queued.id)).await, [line]);

    rig.engine().finish(leased.id, leased.fence, &mover::good(mover::result(&leased))).await.unwrap();
    let done = rig.job(queued.id).await;
    assert_eq!((done.state, done.result), (JobState::Success, Some(mover::result(&leased))));
    assert!(done.finished_at.is_some());
    rig.shutdown().await;
}

#[tokio::test]
async fn a_queued_one_is_cancelled_at_once() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    let cancel = format!("/jobs/{}/cancel", job.id);
    let cancelled: Job = answer(rig.send(Method::POST, &cancel).await, StatusCode::OK).await;
    assert_eq!(cancelled.state, JobState::Cancelled);
    refused(rig.send(Method::POST, &cancel).await, StatusCode::CONFLICT, "job.ended").await;
}

#[tokio::test]
async fn a_running_one_is_told_by_its_renewal() {
    let rig = Rig::start().await;
    rig.furnish().await;
    rig.queue_backup("web").await;
    let leased = rig.lease().await;
    let response = rig.send(Method::POST, &format!("/jobs/{}/cancel", leased.id)).await;
    let job: Job = answer(response, StatusCode::OK).await;
    assert_eq!((job.state, job.cancel_requested), (JobState::Running, true));
    let progress = Progress::default();
    let renew = || rig.engine().renew(leased.id, leased.fence, &progress, Vec::new());
    assert_eq!(renew().await.unwrap(), Directive::Cancel);
    let report = mover::report(JobState::Cancelled, None, None);
    rig.engine().finish(leased.id, leased.fence, &report).await.unwrap();
    assert_eq!(rig.job(leased.id).await.state, JobState::Cancelled);
    assert_eq!(renew().await.unwrap(), Directive::Abandon);
}

#[tokio::test]
async fn are_listed_by_state_and_kind() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let (a, b) = (rig.queue_backup("a").await, rig.queue_backup("b").await);
    let ids = async |query: &str| -> Vec<_> {
        rig.get::<Vec<Job>>(&format!("/jobs?{query}")).await.into_iter().map(|job| job.id).collect()
    };
    assert_eq!(ids("kind=backup").await, [b.id, a.id]);
    assert_eq!(ids("state=queued&limit=1").await, [b.id]);
    assert_eq!(ids("kind=restore").await, []);
    let all: Vec<Job> = rig.get("/jobs").await;
    assert_eq!(all.len(), 4);
    assert!(matches!(all[3].spec, JobSpec::CheckClient { .. }));
    for query in ["state=odd", "kind=", "limit=-1", "limit=x", "colour=red"] {
        let response = rig.send(Method::GET, &format!("/jobs?{query}")).await;
        refused(response, StatusCode::BAD_REQUEST, "request.invalid").await;
    }
}

#[tokio::test]
async fn unknown_ones_are_not_found() {
    let rig = Rig::start().await;
    for (method, path) in [
        (Method::GET, "/jobs/abc"),
        (Method::POST, "/jobs/abc/cancel"),
        (Method::GET, "/jobs/abc/log"),
        (Method::GET, "/jobs/abc/events"),
        (Method::GET, "/jobs/abc/content"),
        (Method::GET, "/jobs/..%2F..%2Fetc%2Fpasswd"),
        (Method::GET, "/jobs/%25"),
    ] {
        refused(rig.send(method, path).await, StatusCode::NOT_FOUND, "job.not_found").await;
    }
    let all: Value = rig.get("/jobs").await;
    assert_eq!(all, json!([]));
}
