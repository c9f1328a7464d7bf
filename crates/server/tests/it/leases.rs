use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;
use xenkeep_api::{Directive, JobState, JournalEntry, Progress};
use xenkeep_server::Error;

use crate::fixture::{Rig, answer, eventually};
use crate::mover;

#[tokio::test]
async fn waits_for_a_job_but_not_for_ever() {
    let rig = Rig::start_with(|config| config.limits.lease_wait = Duration::from_millis(50)).await;
    assert!(rig.engine().lease("local").await.unwrap().is_none());
}

#[tokio::test]
async fn a_job_that_is_queued_wakes_whoever_waits() {
    let rig = Rig::start_with(|config| config.limits.lease_wait = Duration::from_secs(60)).await;
    rig.furnish().await;
    let engine = rig.engine().clone();
    let waiting = tokio::spawn(async move { engine.lease("local").await });
    let job = rig.queue_backup("web").await;
    assert_eq!(waiting.await.unwrap().unwrap().unwrap().id, job.id);
}

#[tokio::test]
async fn a_lease_that_nobody_takes_goes_back() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    for _ in 0..20 {
        // Given up at whatever point it has come to.
        let mut lease = Box::pin(rig.engine().lease("local"));
        for _ in 0..3 {
            assert!(futures::poll!(&mut lease).is_pending());
            tokio::task::yield_now().await;
        }
        drop(lease);
    }
    eventually("it is queued again", async || rig.job(job.id).await.state == JobState::Queued).await;
    let leased = rig.lease().await;
    assert_eq!(leased.id, job.id);
    assert!(leased.fence >= 1);
    rig.shutdown().await;
}

#[tokio::test]
async fn never_two_jobs_on_one_vm_and_three_a_client() {
    let rig = Rig::start_with(|config| config.limits.lease_wait = Duration::from_millis(50)).await;
    rig.furnish().await;
    for vm in ["a", "a", "b", "c", "d"] {
        rig.queue_backup(vm).await;
    }
    let running = [rig.lease().await, rig.lease().await, rig.lease().await];
    let subjects = async |jobs: &[xenkeep_api::LeasedJob]| {
        let mut names = Vec::new();
        for job in jobs {
            names.push(rig.job(job.id).await.subject);
        }
        names
    };
    assert_eq!(subjects(&running).await, ["a", "b", "c"]);
    assert!(rig.engine().lease("local").await.unwrap().is_none());
    // Short jobs don't wait: a check runs beside them.
    let check = rig.request(reqwest::Method::POST, "/clients/lab/check").send();
    let checked = async {
        let job = loop {
            if let Some(job) = rig.engine().lease("local").await.unwrap() {
                break job;
            }
        };
        rig.engine().finish(job.id, job.fence, &mover::good(mover::result(&job))).await.unwrap();
    };
    let (response, ()) = tokio::join!(check, checked);
    let _: serde_json::Value = answer(response.unwrap(), StatusCode::OK).await;

    rig.engine().finish(running[1].id, running[1].fence, &mover::good(mover::result(&running[1]))).await.unwrap();
    let next = rig.lease().await;
    assert_eq!(subjects(&[next]).await, ["d"], "a second job on a still waits");
}

#[tokio::test]
async fn what_an_old_fence_says_counts_no_more() {
    let rig = Rig::start().await;
    rig.furnish().await;
    rig.queue_backup("web").await;
    let job = rig.lease().await;
    let entry = JournalEntry { id: Uuid::new_v4(), what: json!({"snapshot": 1}) };
    let wrong = job.fence + 1;
    let engine = rig.engine();
    let lost = |result: Result<(), Error>| assert!(matches!(result, Err(Error::LeaseLost(_))), "{result:?}");
    lost(engine.journal_write(job.id, wrong, &entry).await);
    lost(engine.journal_clear(job.id, wrong, entry.id).await);
    lost(engine.finish(job.id, wrong, &mover::good(mover::result(&job))).await);
    lost(engine.content(job.id, wrong).await.map(drop));
    let wanted = engine.renew(job.id, wrong, &Progress::default(), Vec::new()).await.unwrap();
    assert_eq!(wanted, Directive::Abandon);
    for _ in ["said", "said again, because the answer was lost"] {
        engine.finish(job.id, job.fence, &mover::good(mover::result(&job))).await.unwrap();
    }
    lost(engine.journal_write(job.id, job.fence, &entry).await);
}

#[tokio::test]
async fn whoever_waits_is_told_that_the_server_goes_down() {
    let rig = Rig::start_with(|config| config.limits.lease_wait = Duration::from_secs(60)).await;
    let engine = rig.engine().clone();
    let waiting = tokio::spawn(async move { engine.lease("local").await });
    tokio::task::yield_now().await;
    rig.shutdown().await;
    assert!(matches!(waiting.await.unwrap(), Err(Error::ShuttingDown)));
}
