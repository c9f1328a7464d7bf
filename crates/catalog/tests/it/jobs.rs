use jiff::Timestamp;
use xenkeep_api::{JobKind, JobSpec, JobState, LogLevel, LogLine, Progress};
use xenkeep_catalog::{Error, JobFilter};

use super::fixture::{NO_RECOVERY, any_backup, at, catalog, claim, claim_any, failed, new_job, run};

#[tokio::test]
async fn is_found_by_the_beginning_of_its_id() {
    let (catalog, _dir) = catalog().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let job = new_job(any_backup());
        catalog.insert_job(&job, at(0)).await.unwrap();
        ids.push(job.id);
    }
    let id = ids[7].to_string();
    assert_eq!(catalog.find_job(&id).await.unwrap().id, ids[7]);
    assert_eq!(catalog.find_job(&id[..14].to_uppercase()).await.unwrap().id, ids[7]);
    // Twenty ids have two that begin with the same of sixteen digits.
    let twice = (0..16u32)
        .map(|digit| format!("{digit:x}"))
        .find(|digit| ids.iter().filter(|id| id.to_string().starts_with(digit.as_str())).count() > 1)
        .unwrap();
    let Err(Error::Ambiguous(problem)) = catalog.find_job(&twice).await else { panic!() };
    assert_eq!(problem.code, "job.ambiguous");
    for unknown in ["", "zz", "%", "_", "ffffffff-ffff-ffff-ffff-ffffffffffff", "' OR 1=1 --", &"a".repeat(10_000)] {
        assert!(matches!(catalog.find_job(unknown).await, Err(Error::NotFound(_))), "{unknown:?}");
    }
}

#[tokio::test]
async fn lists_the_newest_first_by_state_and_kind() {
    let (catalog, _dir) = catalog().await;
    let backups = [new_job(any_backup()), new_job(any_backup()), new_job(any_backup())];
    for job in &backups {
        // All in one millisecond: order of arrival still counts.
        catalog.insert_job(job, at(0)).await.unwrap();
    }
    let list = new_job(JobSpec::BrowseClient { client: xenkeep_api::ClientId::random() });
    catalog.insert_job(&list, at(0)).await.unwrap();
    claim(&catalog, backups[0].id).await;

    let ids = async |filter: JobFilter, limit| -> Vec<_> {
        catalog.jobs(&filter, limit).await.unwrap().into_iter().map(|job| job.id).collect()
    };
    let (a, b, c, l) = (backups[0].id, backups[1].id, backups[2].id, list.id);
    assert_eq!(ids(JobFilter::default(), 100).await, [l, c, b, a]);
    assert_eq!(ids(JobFilter::default(), 2).await, [l, c]);
    let kind = Some(JobKind::Backup);
    assert_eq!(ids(JobFilter { kind, ..JobFilter::default() }, 100).await, [c, b, a]);
    assert_eq!(ids(JobFilter { kind, state: Some(JobState::Running) }, 100).await, [a]);
    assert!(ids(JobFilter { kind, state: Some(JobState::Failed) }, 100).await.is_empty());
}

#[tokio::test]
async fn comes_back_as_it_went_in() {
    let (catalog, _dir) = catalog().await;
    let new = new_job(any_backup());
    let now: Timestamp = "2026-11-24T17:00:00.123456789Z".parse().unwrap();
    catalog.insert_job(&new, now).await.unwrap();
    let job = catalog.job(new.id).await.unwrap();
    assert_eq!((job.id, job.spec, job.subject), (new.id, new.spec, new.subject));
    assert_eq!((job.state, job.cancel_requested), (JobState::Queued, false));
    assert_eq!(job.created_at, "2026-11-24T17:00:00.123Z".parse().unwrap());
    assert_eq!((job.started_at, job.finished_at, job.problem, job.result), (None, None, None, None));
}

#[tokio::test]
async fn a_queued_one_is_cancelled_at_once_a_running_one_is_told() {
    let (catalog, _dir) = catalog().await;
    let queued = new_job(any_backup());
    catalog.insert_job(&queued, at(0)).await.unwrap();
    catalog.cancel_job(queued.id, at(1)).await.unwrap();
    let job = catalog.job(queued.id).await.unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(at(1))));
    let Err(Error::InUse(problem)) = catalog.cancel_job(queued.id, at(2)).await else { panic!() };
    assert_eq!(problem.code, "job.ended");
    assert!(claim_any(&catalog, 2).await.is_none());

    let running = run(&catalog, any_backup()).await;
    let progress = Progress::default();
    let renew = || catalog.renew(running.id, running.fence, at(60), &progress, &[]);
    assert!(!renew().await.unwrap());
    catalog.cancel_job(running.id, at(2)).await.unwrap();
    let job = catalog.job(running.id).await.unwrap();
    assert_eq!((job.state, job.cancel_requested), (JobState::Running, true));
    assert!(renew().await.unwrap());
}

#[tokio::test]
async fn the_log_keeps_its_order_and_its_bounds() {
    let (catalog, _dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let line =
        |n: usize| LogLine { at: at(1), level: LogLevel::Info, step: "read".to_owned(), text: format!("line {n}") };
    let say = async |lines: &[LogLine]| {
        catalog.renew(job.id, job.fence, at(60), &Progress::default(), lines).await.unwrap();
    };
    say(&[line(0), line(1)]).await;
    say(&[line(2), LogLine { text: "ä".repeat(5000), ..line(3) }]).await;
    let log = catalog.job_log(job.id).await.unwrap();
    assert_eq!(log[..3], [line(0), line(1), line(2)]);
    assert_eq!(log[3].text, "ä".repeat(2048), "cut, between two characters");

    say(&(0..12_000).map(line).collect::<Vec<_>>()).await;
    let log = catalog.job_log(job.id).await.unwrap();
    assert_eq!(log.len(), 10_000);
    assert_eq!(log[9_999].level, LogLevel::Warning);
    say(&[line(5)]).await;
    assert_eq!(catalog.job_log(job.id).await.unwrap().len(), 10_000);
}

#[tokio::test]
async fn ended_ones_of_a_kind_are_forgotten_with_their_logs() {
    let (catalog, _dir) = catalog().await;
    let spec = || JobSpec::BrowseClient { client: xenkeep_api::ClientId::random() };
    let (old, kept) = (run(&catalog, spec()).await, run(&catalog, any_backup()).await);
    let line = LogLine { at: at(1), level: LogLevel::Info, step: String::new(), text: "x".to_owned() };
    for job in [&old, &kept] {
        catalog.renew(job.id, job.fence, at(60), &Progress::default(), std::slice::from_ref(&line)).await.unwrap();
        catalog.finish(job.id, job.fence, &failed(), at(5), NO_RECOVERY).await.unwrap();
    }
    let running = run(&catalog, spec()).await;
    assert_eq!(catalog.forget_jobs(JobKind::BrowseClient, at(5)).await.unwrap(), 0);
    assert_eq!(catalog.forget_jobs(JobKind::BrowseClient, at(6)).await.unwrap(), 1);
    assert!(matches!(catalog.job(old.id).await, Err(Error::NotFound(_))));
    assert!(catalog.job_log(old.id).await.unwrap().is_empty());
    assert_eq!(catalog.job_log(kept.id).await.unwrap(), [line]);
    catalog.job(running.id).await.unwrap();
}
