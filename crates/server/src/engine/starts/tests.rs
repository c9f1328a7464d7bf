use jiff::Timestamp;
use jiff::tz::TimeZone;
use xenkeep_api::*;
use xenkeep_catalog::{Ended, Kept};

use super::{next_of_task, summed_up};

fn job(spec: JobSpec, state: JobState, result: Option<JobResult>) -> Job {
    Job {
        id: JobId::random(),
        spec,
        subject: "all".to_owned(),
        state,
        cancel_requested: false,
        created_at: Timestamp::UNIX_EPOCH,
        started_at: None,
        finished_at: None,
        progress: Progress::default(),
        problem: None,
        warnings: Vec::new(),
        result,
        origin: Origin { task: Some(TaskId::random()), run: Some(RunId::random()), ..Origin::default() },
        priority: 7,
        drive: None,
        mover: None,
        waiting: None,
        not_before: None,
        attempt: 0,
        retry_of: None,
        time_limit_seconds: None,
    }
}

fn ended(job: Job, kept: Vec<Kept>) -> Ended {
    Ended { job, vm_key: None, attempt: 0, retry: RetryPolicy::default(), open_journal: false, kept }
}

fn follows(ended: &Ended) -> Vec<xenkeep_catalog::NewJob> {
    next_of_task(ended, &TimeZone::UTC, "2026-11-25T12:00:00Z".parse().unwrap())
}

#[test]
fn each_vm_of_a_selection_becomes_a_backup_of_the_same_run() {
    let order = BackupOrder {
        datastore: DatastoreId::random(),
        drive: Some(13),
        backup_type: BackupType::Full,
        options: BackupOptions::default(),
        retry: RetryPolicy { retries: 2, wait_seconds: 5 },
        time_limit_minutes: Some(2),
    };
    let vm = |uuid: &str, name: &str| SelectedVm {
        uuid: uuid.to_owned(),
        name: name.to_owned(),
        power_state: PowerState::Running,
        tags: Vec::new(),
    };
    let uuid = "1b0e1a6c-9f0b-4c6c-8c53-2c1a63f1a000";
    let selected = Selected { vms: vec![vm(uuid, "web1"), vm("2", "web2")], hosts: Vec::new() };
    let result = Some(JobResult::Selected { selected });
    let source = Source::Selection(Selection { all: true, ..Selection::default() });
    let spec = JobSpec::ExpandSelection { client: ClientId::random(), source, order: Some(order.clone()) };
    let expansion = job(spec.clone(), JobState::Success, result.clone());
    let jobs = follows(&ended(expansion.clone(), Vec::new()));
    assert_eq!(jobs.iter().map(|job| job.subject.as_str()).collect::<Vec<_>>(), ["web1", "web2"]);
    let first = &jobs[0];
    assert_eq!((first.drive, first.priority, &first.origin), (Some(13), 7, &expansion.origin));
    assert_eq!((first.retry, first.time_limit.unwrap().as_secs()), (order.retry, 120));
    assert_eq!(first.vm_key.as_deref(), Some(format!("uuid:{uuid}").as_str()));
    let JobSpec::Backup { vm, backup_type, datastore, .. } = &first.spec else { panic!("{first:?}") };
    assert_eq!((vm.as_str(), *backup_type, *datastore), (uuid, BackupType::Full, order.datastore));
    // One that failed, or was only a question, starts nothing.
    assert!(follows(&ended(job(spec.clone(), JobState::Failed, result.clone()), Vec::new())).is_empty());
    let JobSpec::ExpandSelection { client, source, .. } = spec else { unreachable!() };
    let question = JobSpec::ExpandSelection { client, source, order: None };
    assert!(follows(&ended(job(question, JobState::Success, result), Vec::new())).is_empty());
}

fn point(id: &str, taken_at: &str) -> Point {
    Point {
        id: id.to_owned(),
        datastore: DatastoreId(uuid::Uuid::nil()),
        client: ClientId(uuid::Uuid::nil()),
        client_name: "lab".to_owned(),
        job: JobId::random(),
        kind: PointKind::Vm,
        source_uuid: "u".to_owned(),
        source_name: "web1".to_owned(),
        taken_at: taken_at.parse().unwrap(),
        size_bytes: 1,
        new_bytes: 1,
        stored_bytes: 1,
        disks: Vec::new(),
        protection: None,
        damage: None,
        summary: None,
        backup_type: None,
        consistency: None,
        left_out: Vec::new(),
    }
}

#[test]
fn a_good_backup_removes_what_its_policy_keeps_no_longer() {
    let datastore = DatastoreId(uuid::Uuid::nil());
    let spec = JobSpec::Backup {
        client: ClientId::random(),
        vm: "u".to_owned(),
        datastore,
        transport: None,
        backup_type: BackupType::Incremental,
        options: BackupOptions::default(),
    };
    let days = ["2026-11-25T01:00:00Z", "2026-11-24T01:00:00Z", "2026-11-23T01:00:00Z", "2026-11-22T01:00:00Z"];
    let points: Vec<Point> = ["a", "b", "c", "d"].into_iter().zip(days).map(|(id, day)| point(id, day)).collect();
    let kept = Kept {
        policy: RetentionPolicy { keep_last: 2, ..RetentionPolicy::default() },
        datastore_name: "store".to_owned(),
        points: points.clone(),
        in_use: std::iter::once("d".to_owned()).collect(),
    };
    let backup = job(spec, JobState::Success, Some(JobResult::Point { point: points[0].clone() }));
    let jobs = follows(&ended(backup.clone(), vec![kept.clone()]));
    let [removal] = jobs.as_slice() else { panic!("{jobs:?}") };
    assert_eq!(removal.spec, JobSpec::ForgetPoints { datastore, points: vec!["c".to_owned()] });
    assert_eq!((removal.subject.as_str(), &removal.origin), ("store", &backup.origin));
    let enough = Kept { policy: RetentionPolicy { keep_last: 9, ..RetentionPolicy::default() }, ..kept };
    assert!(follows(&ended(backup, vec![enough])).is_empty());
}

#[test]
fn a_run_is_as_bad_as_its_worst_job_that_nothing_tried_again() {
    let run = RunId::random();
    let spec = JobSpec::BrowseClient { client: ClientId::random() };
    let with = |state| job(spec.clone(), state, None);
    let state = |jobs: Vec<Job>| summed_up(run, jobs).state;
    assert_eq!(state(vec![with(JobState::Success), with(JobState::Warning)]), Some(JobState::Warning));
    assert_eq!(state(vec![with(JobState::Cancelled), with(JobState::Interrupted)]), Some(JobState::Failed));
    assert_eq!(state(vec![with(JobState::Success), with(JobState::Queued)]), None);
    let failed = with(JobState::Failed);
    let again = Job { retry_of: Some(failed.id), ..with(JobState::Success) };
    let summed = summed_up(run, vec![failed, again]);
    assert_eq!((summed.state, summed.counts.tried_again, summed.counts.failed), (Some(JobState::Success), 1, 0));
}
