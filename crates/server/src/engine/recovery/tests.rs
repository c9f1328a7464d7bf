use xenkeep_api::{ClientId, DatastoreId, Job, JobId, Origin, Progress, RetryPolicy};

use super::*;

pub(in crate::engine) fn ended(spec: JobSpec, state: JobState, open_journal: bool) -> Ended {
    let at = Timestamp::UNIX_EPOCH;
    let job = Job {
        id: JobId::random(),
        spec,
        subject: "web".to_owned(),
        state,
        cancel_requested: false,
        created_at: at,
        started_at: Some(at),
        finished_at: Some(at),
        progress: Progress::default(),
        problem: None,
        warnings: Vec::new(),
        result: None,
        origin: Origin::default(),
        priority: 0,
        drive: None,
        mover: None,
        waiting: None,
        not_before: None,
        attempt: 0,
        retry_of: None,
        time_limit_seconds: None,
    };
    Ended {
        job,
        vm_key: Some("name:web".to_owned()),
        attempt: 0,
        retry: RetryPolicy::default(),
        open_journal,
        kept: Vec::new(),
    }
}

fn backup() -> JobSpec {
    let (client, datastore) = (ClientId::random(), DatastoreId::random());
    JobSpec::Backup {
        client,
        vm: "web".to_owned(),
        datastore,
        transport: None,
        backup_type: Default::default(),
        options: Default::default(),
    }
}

fn recover() -> JobSpec {
    JobSpec::Recover { interrupted: JobId::random(), client: Some(ClientId::random()), datastore: None }
}

fn next(ended: &Ended) -> Option<NewJob> {
    next_recovery(ended, now(), &Limits::default())
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn seconds_from_now(job: &NewJob) -> i64 {
    job.not_before.map_or(0, |at| at.as_second() - now().as_second())
}

#[test]
fn an_interrupted_backup_is_recovered_at_once() {
    let ended = ended(backup(), JobState::Interrupted, false);
    let job = next(&ended).unwrap();
    let JobSpec::Recover { interrupted, client, datastore } = job.spec else { panic!("{job:?}") };
    assert_eq!((interrupted, client, datastore), (ended.job.id, ended.job.spec.client(), ended.job.spec.datastore()));
    assert_eq!((job.not_before, job.attempt, job.vm_key), (None, 0, ended.vm_key));
}

#[test]
fn what_an_ended_job_left_is_recovered_a_little_later() {
    for state in [JobState::Success, JobState::Warning, JobState::Failed, JobState::Cancelled] {
        assert!(next(&ended(backup(), state, false)).is_none(), "{state:?}");
        let job = next(&ended(backup(), state, true)).unwrap();
        assert_eq!(seconds_from_now(&job), 60, "{state:?}");
    }
}

#[test]
fn who_only_looked_leaves_nothing() {
    let spec = JobSpec::BrowseClient { client: ClientId::random() };
    assert!(next(&ended(spec, JobState::Interrupted, false)).is_none());
}

#[test]
fn a_failed_recovery_is_tried_again_ever_later_but_not_for_ever() {
    let mut last = ended(recover(), JobState::Failed, true);
    let mut waits = Vec::new();
    while let Some(job) = next(&last) {
        assert_eq!(job.spec, last.job.spec, "it stays the recovery of the first job");
        waits.push(seconds_from_now(&job));
        last.attempt = job.attempt;
    }
    assert_eq!(waits[..4], [60, 120, 240, 480]);
    assert_eq!(waits.len(), 11);
    assert_eq!(*waits.last().unwrap(), 3600);
}

#[test]
fn an_interrupted_recovery_starts_again_at_once_but_not_for_ever() {
    let at = |attempt| next(&Ended { attempt, ..ended(recover(), JobState::Interrupted, true) });
    assert_eq!(seconds_from_now(&at(0).unwrap()), 0);
    assert_eq!(seconds_from_now(&at(1).unwrap()), 0);
    assert!(seconds_from_now(&at(2).unwrap()) > 0);
    assert!(at(11).is_none());
}

#[test]
fn a_recovery_ends_with_success_or_by_the_administrators_word() {
    assert!(next(&ended(recover(), JobState::Success, false)).is_none());
    assert!(next(&ended(recover(), JobState::Cancelled, true)).is_none());
    assert!(next(&ended(recover(), JobState::Warning, true)).is_some());
}

#[test]
fn what_only_has_to_go_on_is_queued_again_but_not_for_ever() {
    let (datastore, target) = (DatastoreId::random(), DatastoreId::random());
    let points = vec!["aa".to_owned()];
    for spec in [
        JobSpec::ForgetPoints { datastore, points: points.clone() },
        JobSpec::CopyPoints { datastore, target, points },
        JobSpec::ProtectPoint { datastore, point: "aa".to_owned(), reason: None },
    ] {
        let mut ended = ended(spec.clone(), JobState::Interrupted, false);
        for attempt in 1..=MAX_RESUMED {
            let job = next(&ended).unwrap();
            assert_eq!((&job.spec, job.attempt, job.not_before), (&spec, attempt, None));
            ended.attempt = job.attempt;
        }
        assert!(next(&ended).is_none(), "{spec:?}");
        for state in [JobState::Failed, JobState::Cancelled, JobState::Success] {
            ended.attempt = 0;
            ended.job.state = state;
            assert!(next(&ended).is_none(), "{spec:?} {state:?}");
        }
    }
    for spec in [
        JobSpec::PruneDatastore { datastore, request: xenkeep_api::PruneRequest::default() },
        JobSpec::VerifyDatastore { datastore, request: xenkeep_api::VerifyRequest::default() },
    ] {
        assert!(next(&ended(spec, JobState::Interrupted, false)).is_none());
    }
}
