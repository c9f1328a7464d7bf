use xenkeep_api::{ClientId, DatastoreId, JobSpec, Origin, RetryPolicy, TaskId};

use super::*;
use crate::engine::recovery::tests::ended;

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

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

#[test]
fn a_failed_job_is_tried_again_as_its_policy_says() {
    let mut last = ended(backup(), JobState::Failed, false);
    last.retry = RetryPolicy { retries: 2, wait_seconds: 60 };
    last.job.drive = Some(13);
    last.job.priority = 7;
    last.job.origin.group = Some("vms".to_owned());
    last.job.time_limit_seconds = Some(3600);
    let mut tries = Vec::new();
    while let Some(next) = next_try(&last, now()) {
        assert_eq!((&next.spec, &next.vm_key, next.retry), (&last.job.spec, &last.vm_key, last.retry));
        assert_eq!((next.drive, next.priority, &next.origin), (Some(13), 7, &last.job.origin));
        assert_eq!((next.retry_of, next.time_limit), (Some(last.job.id), Some(Duration::from_secs(3600))));
        assert_eq!(next.not_before.map(|at| at.as_second()), Some(1_000_060));
        tries.push(next.attempt);
        (last.job.id, last.attempt) = (next.id, next.attempt);
    }
    assert_eq!(tries, [1, 2]);
}

#[test]
fn an_interrupted_backup_of_a_task_is_tried_again_once_whatever_its_policy() {
    let mut job = ended(backup(), JobState::Interrupted, false);
    assert!(next_try(&job, now()).is_none());
    job.job.origin = Origin { task: Some(TaskId::random()), ..Origin::default() };
    assert_eq!(next_try(&job, now()).unwrap().attempt, 1);
    job.attempt = 1;
    assert!(next_try(&job, now()).is_none());
    job.job.state = JobState::Failed;
    job.attempt = 0;
    assert!(next_try(&job, now()).is_none());
}

#[test]
fn a_good_end_and_a_persons_word_are_the_last() {
    let mut job = ended(backup(), JobState::Failed, false);
    job.retry.retries = 9;
    for state in [JobState::Success, JobState::Warning, JobState::Cancelled] {
        job.job.state = state;
        assert!(next_try(&job, now()).is_none(), "{state:?}");
    }
    job.job.state = JobState::Interrupted;
    job.job.cancel_requested = true;
    assert!(next_try(&job, now()).is_none());
}

#[test]
fn what_has_a_way_of_its_own_to_go_on_is_left_to_it() {
    let (interrupted, datastore) = (xenkeep_api::JobId::random(), DatastoreId::random());
    for spec in [
        JobSpec::Recover { interrupted, client: None, datastore: None },
        JobSpec::ForgetPoints { datastore, points: Vec::new() },
    ] {
        let mut job = ended(spec, JobState::Interrupted, false);
        job.retry.retries = 9;
        assert!(next_try(&job, now()).is_none());
    }
}
