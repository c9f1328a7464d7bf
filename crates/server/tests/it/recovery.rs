use std::time::Duration;

use serde_json::json;
use uuid::Uuid;
use xenkeep_api::{Directive, Job, JobResult, JobSpec, JobState, JournalEntry, LeasedJob, Point, Problem, Progress};

use crate::fixture::{Rig, eventually, new_client};
use crate::mover;

fn entry(what: &str) -> JournalEntry {
    JournalEntry { id: Uuid::new_v4(), what: json!({ "snapshot": what }) }
}

async fn leased_backup(rig: &Rig, vm: &str) -> LeasedJob {
    rig.queue_backup(vm).await;
    rig.lease().await
}

fn recovers(job: &LeasedJob, interrupted: &LeasedJob) {
    let JobSpec::Recover { interrupted: root, client, datastore } = job.spec else { panic!("{job:?}") };
    assert_eq!((root, client, datastore), (interrupted.id, interrupted.spec.client(), interrupted.spec.datastore()));
    assert!(job.client.is_some() && job.datastore.is_some());
}

#[tokio::test]
async fn after_a_crash_what_ran_is_interrupted_and_recovered_first() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = leased_backup(&rig, "web").await;
    let (a, b) = (entry("a"), entry("b"));
    rig.engine().journal_write(job.id, job.fence, &a).await.unwrap();
    rig.engine().journal_write(job.id, job.fence, &b).await.unwrap();
    rig.engine().journal_clear(job.id, job.fence, a.id).await.unwrap();
    rig.queue_backup("other").await;

    let rig = rig.crash_and_start().await;
    assert_eq!(rig.job(job.id).await.state, JobState::Interrupted);
    let recovery = rig.lease().await;
    recovers(&recovery, &job);
    assert_eq!(recovery.journal, std::slice::from_ref(&b));
    assert_eq!(rig.job(recovery.id).await.subject, "web");

    // It dies as well, having written down something of its own.
    let c = entry("c");
    rig.engine().journal_write(recovery.id, recovery.fence, &c).await.unwrap();
    let rig = rig.crash_and_start().await;
    let recovery = rig.lease().await;
    recovers(&recovery, &job);
    assert_eq!(recovery.journal, [b.clone(), c.clone()]);

    // This time it gets through, and finds that the point had been written.
    for entry in [&b, &c] {
        rig.engine().journal_clear(recovery.id, recovery.fence, entry.id).await.unwrap();
    }
    let point = mover::point(&job, "web");
    let report =
        mover::good(JobResult::Recovered { undone: vec!["snapshot a".to_owned()], points: vec![point.clone()] });
    rig.engine().finish(recovery.id, recovery.fence, &report).await.unwrap();
    assert_eq!(rig.get::<Vec<Point>>("/points").await, [point]);
    assert!(matches!(rig.lease().await.spec, JobSpec::Backup { .. }), "then the others");
    let rig = rig.crash_and_start().await;
    assert_eq!(rig.get::<Vec<Job>>("/jobs?kind=recover&state=success").await.len(), 1);
}

#[tokio::test]
async fn a_silent_mover_loses_its_job() {
    let rig = Rig::start_with(|config| config.limits.lease = Duration::from_secs(60)).await;
    rig.furnish().await;
    let job = leased_backup(&rig, "web").await;
    let progress = Progress::default();
    let renew = || rig.engine().renew(job.id, job.fence, &progress, Vec::new());
    for _ in 0..4 {
        rig.clock.advance(Duration::from_secs(40));
        assert_eq!(renew().await.unwrap(), Directive::Continue);
    }
    rig.clock.advance(Duration::from_secs(61));
    eventually("it is interrupted", async || rig.job(job.id).await.state == JobState::Interrupted).await;
    assert_eq!(renew().await.unwrap(), Directive::Abandon);
    // It comes back late and says that all went well. Its point is found by the recovery, or not at all.
    assert!(rig.engine().finish(job.id, job.fence, &mover::good(mover::result(&job))).await.is_err());
    assert!(rig.get::<Vec<Point>>("/points").await.is_empty());
    recovers(&rig.lease().await, &job);
}

#[tokio::test]
async fn what_a_failed_job_could_not_remove_is_removed_later() {
    let rig = Rig::start_with(|config| {
        config.limits.recover_again = Duration::from_secs(3600);
        config.limits.lease_wait = Duration::from_millis(50);
    })
    .await;
    rig.furnish().await;
    let job = leased_backup(&rig, "web").await;
    rig.engine().journal_write(job.id, job.fence, &entry("a")).await.unwrap();
    rig.engine().finish(job.id, job.fence, &mover::bad(Problem::new("vdi.in_use", "in use"))).await.unwrap();
    assert_eq!(rig.job(job.id).await.state, JobState::Failed);

    // Not at once; and until then nobody else gets this VM, but another.
    rig.queue_backup("web").await;
    assert!(rig.engine().lease("local").await.unwrap().is_none());
    let other = leased_backup(&rig, "other").await;
    rig.engine().finish(other.id, other.fence, &mover::good(mover::result(&other))).await.unwrap();
    rig.clock.advance(Duration::from_secs(3601));
    let recovery = rig.lease().await;
    recovers(&recovery, &job);
    assert_eq!(recovery.journal.len(), 1);

    // The pool is away: again, later.
    let failed = mover::bad(Problem::new("pool.unreachable", "away"));
    rig.engine().finish(recovery.id, recovery.fence, &failed).await.unwrap();
    let queued: Vec<Job> = rig.get("/jobs?kind=recover&state=queued").await;
    assert_eq!(queued.len(), 1);
    assert!(rig.engine().lease("local").await.unwrap().is_none());
    // The administrator has the last word.
    rig.send(reqwest::Method::POST, &format!("/jobs/{}/cancel", queued[0].id)).await;
    let next = rig.lease().await;
    assert!(matches!(next.spec, JobSpec::Backup { .. }));
    // Until the server starts again.
    let rig = rig.crash_and_start().await;
    let queued: Vec<Job> = rig.get("/jobs?kind=recover&state=queued").await;
    let roots: Vec<_> = queued.iter().map(|queued| &queued.spec).collect();
    assert_eq!(queued.len(), 2, "of the first job and of the one that has just been interrupted: {roots:?}");
}

#[tokio::test]
async fn a_client_that_was_being_added_is_gone_after_a_crash() {
    let rig = Rig::start().await;
    let adding = rig.request(reqwest::Method::POST, "/clients").json(&new_client("lab"));
    let adding = tokio::spawn(adding.send());
    let check = loop {
        if let Some(job) = rig.engine().lease("local").await.unwrap() {
            break job;
        }
    };
    let after = rig.crash_and_start().await;
    assert_eq!(after.job(check.id).await.state, JobState::Interrupted);
    assert!(after.get::<Vec<Job>>("/jobs?kind=recover").await.is_empty(), "it has left nothing");
    after.furnish().await;
    rig.engine().finish(check.id, check.fence, &mover::good(mover::result(&check))).await.unwrap();
    assert!(adding.await.unwrap().unwrap().status().is_success());
}
