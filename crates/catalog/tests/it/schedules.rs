use jiff::SignedDuration;
use xenkeep_api::{
    DatastoreId, DeliveryState, FollowUpState, JobSpec, JobState, Problem, PruneRequest, Report, ReportKind, RunId,
    Schedule, ScheduleId, ScheduleSettings, ScheduleStart, StartOutcome,
};
use xenkeep_catalog::{Catalog, DestinationKind, DueSchedule, Error, NewJob, NewReport, NewStart};

use super::fixture::{at, catalog};

fn settings() -> ScheduleSettings {
    let settings = serde_json::json!({"when": "0 22 * * *", "targets": [{"kind": "prune", "datastore": "store"}]});
    serde_json::from_value(settings).unwrap()
}

async fn add(catalog: &Catalog, name: &str) -> ScheduleId {
    let id = ScheduleId::random();
    let (settings, next_start) = (settings(), Some(at(100)));
    let name = name.to_owned();
    let schedule = Schedule { id, name, settings, cron: Vec::new(), created_at: at(0), next_start, last_start: None };
    catalog.insert_schedule(&schedule, at(0)).await.unwrap();
    id
}

fn prune() -> NewJob {
    let spec = JobSpec::PruneDatastore { datastore: DatastoreId::random(), request: PruneRequest::default() };
    NewJob::new(spec, "store")
}

fn started(nominal: i64, follow_up: Option<FollowUpState>) -> NewStart {
    let start = ScheduleStart {
        at: at(nominal),
        decided_at: at(nominal),
        outcome: StartOutcome::Started,
        run: Some(RunId::random()),
        problem: None,
        follow_up,
        follow_up_run: None,
    };
    NewStart { start, jobs: vec![prune()], reports: Vec::new() }
}

fn report() -> Report {
    Report {
        kind: ReportKind::Start,
        subject: "nightly".to_owned(),
        outcome: JobState::Failed,
        at: at(1),
        run: None,
        jobs: Vec::new(),
        more_jobs: 0,
        problem: Some(Problem::new("schedule.missed", "missed")),
        summary: None,
    }
}

#[tokio::test]
async fn of_two_who_decide_one_comes_late() {
    let (catalog, _dir) = catalog().await;
    add(&catalog, "nightly").await;
    assert!(catalog.due_schedules(at(99)).await.unwrap().is_empty());
    let due: DueSchedule = catalog.due_schedules(at(100)).await.unwrap().remove(0);
    let (next, now) = (Some(at(200)), at(100));
    let (one, two) = (started(100, None), started(100, None));
    let decided = tokio::join!(
        catalog.record_starts(&due, now, next, std::slice::from_ref(&one), now),
        catalog.record_starts(&due, now, next, std::slice::from_ref(&two), now),
    );
    assert!(decided.0.unwrap() ^ decided.1.unwrap());
    assert_eq!(catalog.jobs(&xenkeep_catalog::JobFilter::default(), 9).await.unwrap().len(), 1);
    assert!(catalog.due_schedules(at(199)).await.unwrap().is_empty());
    // Not even somebody who has forgotten what was decided starts it again.
    let forgetful = DueSchedule { decided_until: at(100), ..due };
    assert!(catalog.record_starts(&forgetful, at(150), next, &[started(100, None)], at(150)).await.unwrap());
    assert_eq!(catalog.jobs(&xenkeep_catalog::JobFilter::default(), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_pending_is_settled_once() {
    let (catalog, _dir) = catalog().await;
    let id = add(&catalog, "nightly").await;
    let due = catalog.due_schedules(at(100)).await.unwrap().remove(0);
    let first = started(100, Some(FollowUpState::Waiting));
    catalog.record_starts(&due, at(100), None, std::slice::from_ref(&first), at(100)).await.unwrap();
    let pending = catalog.pending_starts().await.unwrap().remove(0);
    assert_eq!((pending.schedule.id, pending.start.clone()), (id, first.start));
    let settled = ScheduleStart {
        follow_up: Some(FollowUpState::Started),
        follow_up_run: Some(RunId::random()),
        ..pending.start.clone()
    };
    let new = NewStart { start: settled.clone(), jobs: vec![prune()], reports: Vec::new() };
    assert!(catalog.settle_start(id, &pending.start, &new, at(120)).await.unwrap());
    let again = NewStart { jobs: vec![prune()], ..new };
    assert!(!catalog.settle_start(id, &pending.start, &again, at(121)).await.unwrap());
    assert!(catalog.pending_starts().await.unwrap().is_empty());
    assert_eq!(catalog.schedule_starts(id, 9).await.unwrap(), [settled]);
    assert_eq!(catalog.jobs(&xenkeep_catalog::JobFilter::default(), 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn names_are_unique_and_starts_go_with_their_schedule() {
    let (catalog, _dir) = catalog().await;
    let id = add(&catalog, "nightly").await;
    let schedule = catalog.schedule("nightly").await.unwrap();
    let twin = Schedule { id: ScheduleId::random(), ..schedule };
    assert!(matches!(catalog.insert_schedule(&twin, at(1)).await, Err(Error::Exists(_))));
    let due = catalog.due_schedules(at(100)).await.unwrap().remove(0);
    catalog.record_starts(&due, at(100), None, &[started(100, Some(FollowUpState::Waiting))], at(100)).await.unwrap();
    catalog.remove_schedule(id).await.unwrap();
    assert!(catalog.pending_starts().await.unwrap().is_empty());
    assert!(matches!(catalog.schedule("nightly").await, Err(Error::NotFound(_))));
    assert_eq!(catalog.jobs(&xenkeep_catalog::JobFilter::default(), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_report_is_written_once_and_taken_by_one() {
    let (catalog, _dir) = catalog().await;
    let new = NewReport { about: "run:1".to_owned(), destination: DestinationKind::Mail, report: report() };
    let hook = NewReport { destination: DestinationKind::Webhook("chat".to_owned()), ..new.clone() };
    catalog.report_jobs(&[], &[new.clone(), new, hook], at(1)).await.unwrap();
    let (now, until) = (at(2), at(2) + SignedDuration::from_mins(5));
    let first = catalog.take_delivery(now, until).await.unwrap().unwrap();
    let second = catalog.take_delivery(now, until).await.unwrap().unwrap();
    assert_ne!(first.destination, second.destination);
    assert!(catalog.take_delivery(now, until).await.unwrap().is_none(), "both are taken");
    catalog.end_delivery(first.id, None, None, at(3)).await.unwrap();
    let problem = Problem::new("mail.failed", "no answer");
    catalog.end_delivery(second.id, Some(&problem), Some(at(60)), at(3)).await.unwrap();
    assert!(catalog.take_delivery(at(59), until).await.unwrap().is_none());
    let again = catalog.take_delivery(at(60), until).await.unwrap().unwrap();
    assert_eq!((again.id, again.attempts), (second.id, 2));
    catalog.end_delivery(again.id, Some(&problem), None, at(61)).await.unwrap();
    let states: Vec<_> = catalog.deliveries(9).await.unwrap().into_iter().map(|one| one.state).collect();
    assert!(states.contains(&DeliveryState::Sent) && states.contains(&DeliveryState::GivenUp), "{states:?}");
    catalog.forget_deliveries(at(9)).await.unwrap();
    assert!(catalog.deliveries(9).await.unwrap().is_empty());
}
