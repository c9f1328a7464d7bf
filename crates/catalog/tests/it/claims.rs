use xenkeep_api::{JobResult, JobState, JournalEntry, Problem, Progress, RestoredVm};
use xenkeep_catalog::{Error, PointQuery, QueueEntry, Standing};

use super::fixture::{
    May, NO_RECOVERY, any_backup, at, backup, catalog, claim, claim_any, failed, good, new_job, point, ready_client,
    ready_datastore, recover_always, report, run,
};

#[tokio::test]
async fn of_two_only_one_gets_a_job() {
    let (catalog, _dir) = catalog().await;
    let job = new_job(any_backup());
    catalog.insert_job(&job, at(0)).await.unwrap();
    let claim = || claim_any(&catalog, 1);
    let (a, b) = tokio::join!(claim(), claim());
    let claimed: Vec<_> = [a, b].into_iter().flatten().collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].id, claimed[0].fence), (job.id, 1));
    assert_eq!(catalog.job(job.id).await.unwrap().started_at, Some(at(1)));
}

#[tokio::test]
async fn whoever_chooses_sees_what_waits_and_what_runs() {
    let (catalog, _dir) = catalog().await;
    let (first, second) = (new_job(any_backup()), new_job(any_backup()));
    catalog.insert_job(&first, at(0)).await.unwrap();
    catalog.insert_job(&second, at(0)).await.unwrap();
    claim(&catalog, first.id).await;
    let (running, waiting) = (first.id, second.id);
    let rules = May(move |standing: &Standing, job: &QueueEntry| {
        assert_eq!(job.id, waiting);
        assert_eq!(standing.running.iter().map(|job| job.id).collect::<Vec<_>>(), [running]);
        assert_eq!(standing.running[0].client, first.spec.client());
        assert_eq!(standing.running[0].vm_key.as_deref(), Some("name:web"));
        assert_eq!(standing.running[0].mover.as_deref(), Some("local"));
        false
    });
    assert!(catalog.claim(&["far"], at(1), at(30), &rules).await.unwrap()[0].is_none());
    assert_eq!(catalog.job(waiting).await.unwrap().state, JobState::Queued);
}

#[tokio::test]
async fn an_old_fence_changes_nothing() {
    let (catalog, _dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let entry = JournalEntry { id: uuid::Uuid::new_v4(), what: serde_json::json!({"snapshot": "x"}) };
    catalog.release(job.id, job.fence).await.unwrap();
    let again = claim(&catalog, job.id).await;
    assert_eq!((job.fence, again.fence), (1, 2));

    let lost = |error: Error| assert!(matches!(error, Error::LeaseLost(id) if id == job.id), "{error:?}");
    for fence in [0, job.fence, 3] {
        lost(catalog.renew(job.id, fence, at(60), &Progress::default(), &[]).await.unwrap_err());
        lost(catalog.journal_write(job.id, fence, &entry, at(2)).await.unwrap_err());
        lost(catalog.journal_clear(job.id, fence, entry.id).await.unwrap_err());
        lost(catalog.finish(job.id, fence, &failed(), at(2), NO_RECOVERY).await.unwrap_err());
        lost(catalog.holds(job.id, fence).await.unwrap_err());
        catalog.release(job.id, fence).await.unwrap();
    }
    assert_eq!(catalog.job(job.id).await.unwrap().state, JobState::Running);
    assert!(catalog.journal(job.id).await.unwrap().is_empty());
    catalog.holds(job.id, again.fence).await.unwrap();
    catalog.finish(job.id, again.fence, &failed(), at(2), NO_RECOVERY).await.unwrap();
}

#[tokio::test]
async fn a_lease_runs_out_unless_it_is_renewed() {
    let (catalog, _dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    assert!(catalog.interrupt_expired(at(30), NO_RECOVERY).await.unwrap().is_empty());
    let progress = Progress { step: "read".to_owned(), done_bytes: 7, ..Progress::default() };
    catalog.renew(job.id, job.fence, at(60), &progress, &[]).await.unwrap();
    assert!(catalog.interrupt_expired(at(60), NO_RECOVERY).await.unwrap().is_empty());
    assert_eq!(catalog.job(job.id).await.unwrap().progress, progress);

    assert_eq!(catalog.interrupt_expired(at(61), &recover_always).await.unwrap(), [job.id]);
    let ended = catalog.job(job.id).await.unwrap();
    assert_eq!((ended.state, ended.finished_at), (JobState::Interrupted, Some(at(61))));
    // Its mover comes back late: with a point it may have written, too.
    let late = catalog.finish(job.id, job.fence, &failed(), at(62), NO_RECOVERY).await;
    assert!(matches!(late, Err(Error::LeaseLost(_))));
    let renewed = catalog.renew(job.id, job.fence, at(90), &progress, &[]).await;
    assert!(matches!(renewed, Err(Error::LeaseLost(_))));
    // And its recovery waits in the queue.
    let recovery = claim_any(&catalog, 63).await.unwrap();
    assert_eq!(recovery.root, job.id);
}

#[tokio::test]
async fn all_that_runs_is_interrupted_at_a_start() {
    let (catalog, _dir) = catalog().await;
    let running = [run(&catalog, any_backup()).await.id, run(&catalog, any_backup()).await.id];
    let queued = new_job(any_backup());
    catalog.insert_job(&queued, at(0)).await.unwrap();
    assert_eq!(catalog.interrupt_of("local", at(2), NO_RECOVERY).await.unwrap(), running);
    assert!(catalog.interrupt_of("local", at(2), NO_RECOVERY).await.unwrap().is_empty());
    assert_eq!(catalog.job(queued.id).await.unwrap().state, JobState::Queued);
}

#[tokio::test]
async fn the_end_of_a_backup_and_its_point_come_together() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let (store, other) = (ready_datastore(&catalog, "store").await, ready_datastore(&catalog, "other").await);
    let job = run(&catalog, backup(lab.id, store)).await;
    let listed = async || catalog.points(&PointQuery::default(), 10).await.unwrap();

    // What doesn't fit the job changes nothing.
    let elsewhere = good(JobResult::Point { point: point("a", &lab, other, job.id, 5) });
    let vm = RestoredVm {
        uuid: String::new(),
        name: String::new(),
        power_state: xenkeep_api::PowerState::Halted,
        addresses: Vec::new(),
    };
    for wrong in [
        elsewhere,
        good(JobResult::Vm { vm }),
        report(JobState::Success, None),
        report(JobState::Running, None),
        report(JobState::Interrupted, None),
    ] {
        let refused = catalog.finish(job.id, job.fence, &wrong, at(9), NO_RECOVERY).await;
        assert!(matches!(refused, Err(Error::Contradiction { .. })), "{refused:?}");
        assert_eq!(catalog.job(job.id).await.unwrap().state, JobState::Running);
        assert!(listed().await.is_empty());
    }

    let point = point("a", &lab, store, job.id, 5);
    let mut right = report(JobState::Warning, Some(JobResult::Point { point: point.clone() }));
    right.warnings.push(Problem::new("guest.not_quiesced", "the guest has no VSS"));
    for _ in ["said", "said again"] {
        catalog.finish(job.id, job.fence, &right, at(9), NO_RECOVERY).await.unwrap();
    }
    assert_eq!(listed().await, [point]);
    let ended = catalog.job(job.id).await.unwrap();
    assert_eq!((ended.state, ended.warnings, ended.result), (JobState::Warning, right.warnings, right.result));
    // But not something else.
    let other_end = catalog.finish(job.id, job.fence, &failed(), at(9), NO_RECOVERY).await;
    assert!(matches!(other_end, Err(Error::LeaseLost(_))));
}

#[tokio::test]
async fn a_recovery_adds_the_points_that_were_not_seen_and_no_other_twice() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let store = ready_datastore(&catalog, "store").await;
    let job = run(&catalog, backup(lab.id, store)).await;
    catalog.interrupt_of("local", at(2), &recover_always).await.unwrap();
    let (one, two) = (point("a", &lab, store, job.id, 5), point("b", &lab, store, job.id, 6));
    for points in [vec![one.clone()], vec![one.clone(), two.clone()]] {
        let recovery = claim_any(&catalog, 3).await.unwrap();
        assert_eq!(recovery.root, job.id);
        let report = good(JobResult::Recovered { undone: Vec::new(), points });
        catalog
            .finish(recovery.id, recovery.fence, &report, at(4), &|_| {
                vec![new_job(xenkeep_api::JobSpec::Recover {
                    interrupted: job.id,
                    client: None,
                    datastore: Some(store),
                })]
            })
            .await
            .unwrap();
    }
    assert_eq!(catalog.points(&PointQuery::default(), 10).await.unwrap(), [two, one]);
    assert_eq!(catalog.job(job.id).await.unwrap().state, JobState::Interrupted);
}
