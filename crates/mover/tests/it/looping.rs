//! The loop around jobs: leases, reports, cancelling, stopping. No pool needed.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use xenkeep_api::*;
use xenkeep_mover::{Mover, MoverConfig};

use crate::desk::Desk;

pub(crate) fn mover(desk: &Arc<Desk>) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let config = MoverConfig { renew_every: Duration::from_millis(10), ..MoverConfig::default() };
    let mover = Mover::new(Arc::<Desk>::clone(desk), config);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    (shutdown, tokio::spawn(async move { mover.run(token).await }))
}

fn create_datastore(path: &str) -> LeasedJob {
    let access = DatastoreAccess {
        id: DatastoreId::random(),
        name: "store".into(),
        path: path.into(),
        s3: None,
        s3_secret_access_key: None,
        password: Secret::new("correct horse"),
    };
    LeasedJob {
        id: JobId::random(),
        fence: 1,
        spec: JobSpec::CreateDatastore { datastore: access.id },
        client: None,
        datastore: Some(access),
        task: None,
        target: None,
        point: None,
        secret: None,
        known_points: Vec::new(),
        unfinished: Vec::new(),
        journal: Vec::new(),
    }
}

/// A pool that takes connections and never answers.
pub(crate) async fn check_client_of_a_dumb_pool() -> (LeasedJob, tokio::net::TcpListener) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let access = ClientAccess {
        id: ClientId::random(),
        name: "lab".into(),
        address: listener.local_addr().unwrap().to_string(),
        user: "root".into(),
        password: Secret::new("hunter2"),
        transport: Transport::Http,
        certificate_sha256: None,
        members: Vec::new(),
    };
    let job = LeasedJob {
        id: JobId::random(),
        fence: 1,
        spec: JobSpec::CheckClient { client: access.id },
        client: Some(access),
        datastore: None,
        task: None,
        target: None,
        point: None,
        secret: None,
        known_points: Vec::new(),
        unfinished: Vec::new(),
        journal: Vec::new(),
    };
    (job, listener)
}

#[tokio::test]
async fn a_job_is_done_and_reported_though_the_server_hiccups() {
    let desk = Desk::new();
    let dir = tempfile::tempdir().unwrap();
    let job = create_datastore(dir.path().join("store").to_str().unwrap());
    let id = job.id;
    desk.queue(job);
    desk.unavailable(2);
    let (shutdown, running) = mover(&desk);
    let report = desk.report(id).await;
    assert_eq!((report.state, &report.problem), (JobState::Success, &None));
    assert!(matches!(report.result, Some(JobResult::Datastore { .. })));
    assert!(!desk.log(id).is_empty());
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_failure_has_a_code_and_a_hint() {
    let desk = Desk::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine"), "photos").unwrap();
    let job = create_datastore(dir.path().to_str().unwrap());
    let id = job.id;
    desk.queue(job);
    let (shutdown, _running) = mover(&desk);
    let report = desk.report(id).await;
    let problem = report.problem.unwrap();
    assert_eq!((report.state, problem.code.as_str()), (JobState::Failed, "datastore.not_empty"));
    assert!(problem.hint.is_some());
    shutdown.cancel();
}

#[tokio::test]
async fn a_pool_that_is_not_there_is_said_to_be_unreachable() {
    let desk = Desk::new();
    let (job, listener) = check_client_of_a_dumb_pool().await;
    drop(listener);
    let id = job.id;
    desk.queue(job);
    let (shutdown, _running) = mover(&desk);
    let problem = desk.report(id).await.problem.unwrap();
    assert_eq!(problem.code, "pool.unreachable");
    assert!(problem.message.contains("lab") && problem.message.contains("127.0.0.1"), "{problem}");
    assert!(!format!("{problem:?} {:?}", desk.log(id)).contains("hunter2"));
    shutdown.cancel();
}

#[tokio::test]
async fn a_cancel_is_heard_while_a_pool_does_not_answer() {
    let desk = Desk::new();
    let (job, _listener) = check_client_of_a_dumb_pool().await;
    let id = job.id;
    desk.queue(job);
    let (shutdown, _running) = mover(&desk);
    desk.until(id, |progress| progress.step == "check").await;
    desk.cancel(id);
    let report = desk.report(id).await;
    assert_eq!((report.state, report.problem), (JobState::Cancelled, None));
    shutdown.cancel();
}

#[tokio::test]
async fn a_mover_that_stops_cancels_and_reports_first() {
    let desk = Desk::new();
    let (job, _listener) = check_client_of_a_dumb_pool().await;
    let id = job.id;
    desk.queue(job);
    let (shutdown, running) = mover(&desk);
    desk.until(id, |progress| progress.step == "check").await;
    shutdown.cancel();
    running.await.unwrap();
    let report = desk.report(id).await;
    assert_eq!(report.state, JobState::Cancelled);
    assert_eq!(report.problem.unwrap().code, "job.mover_stopped");
}

#[tokio::test]
async fn a_job_whose_lease_is_lost_is_dropped_without_a_report() {
    let desk = Desk::new();
    let (job, _listener) = check_client_of_a_dumb_pool().await;
    let id = job.id;
    desk.queue(job);
    let (shutdown, running) = mover(&desk);
    desk.until(id, |progress| progress.step == "check").await;
    desk.take_away(id);
    // Stopping waits for jobs: this one is gone, though its pool still does not answer.
    shutdown.cancel();
    running.await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), desk.report(id)).await.is_err());
}
