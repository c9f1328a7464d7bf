//! Schedules: started once and in time, by a clock that the test moves.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xenkeep_api::{
    FollowUpState, Job, JobKind, JobState, PlannedStart, Problem, Schedule, ScheduleStart, StartOutcome,
};
use xenkeep_server::{Clock as _, ServerConfig};

use crate::fixture::{Rig, answer, refused};
use crate::mover;

/// The engine's own loop stays out of the way: these tests ring themselves.
fn silent(config: &mut ServerConfig) {
    config.limits.tick = Duration::from_secs(3600);
    config.limits.lease_wait = Duration::from_millis(20);
}

async fn furnished() -> Rig {
    let rig = Rig::start_with(silent).await;
    rig.furnish().await;
    rig
}

fn settings(when: &str) -> Value {
    json!({"when": when, "time_zone": "Europe/Berlin", "targets": [{"kind": "verify", "datastore": "store"}]})
}

impl Rig {
    /// Moves the clock to an instant, and a little beyond.
    fn go_to(&self, at: &str) {
        let at: Timestamp = at.parse().unwrap();
        let left = at.duration_since(self.clock.now());
        self.clock.advance(Duration::try_from(left).expect("the clock goes forward only") + Duration::from_millis(50));
    }

    async fn ring(&self) {
        self.engine().start_due().await.unwrap();
    }

    async fn schedule(&self, name: &str, settings: Value) -> Schedule {
        answer(self.post("/schedules", json!({"name": name, "settings": settings})).await, StatusCode::CREATED).await
    }

    async fn starts(&self, name: &str) -> Vec<ScheduleStart> {
        self.get(&format!("/schedules/{name}/starts")).await
    }

    /// When each start was to happen, and what became of it; the oldest first.
    async fn outcomes(&self, name: &str) -> Vec<(String, StartOutcome)> {
        let starts = self.starts(name).await;
        starts.iter().rev().map(|start| (start.at.to_string(), start.outcome)).collect()
    }

    async fn upkeep(&self, kind: &str) -> Vec<Job> {
        self.get(&format!("/jobs?kind={kind}")).await
    }

    /// Runs all waiting jobs to a good end.
    async fn work_off(&self, state: JobState) {
        while let Some(job) = self.engine().lease("local").await.unwrap() {
            let result = Some(mover::result(&job));
            let problem = (!state.is_good()).then(|| Problem::new("datastore.full", "no room"));
            self.engine().finish(job.id, job.fence, &mover::report(state, problem, result)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn starts_once_and_says_what_came_of_it() {
    let rig = furnished().await;
    let schedule = rig.schedule("nightly", settings("täglich um 22 Uhr")).await;
    assert_eq!(schedule.cron, ["0 22 * * *"]);
    rig.go_to("2027-01-10T12:00:00Z");
    let again: Schedule = answer(
        rig.request(Method::PUT, "/schedules/nightly").json(&settings("daily at 22:00")).send().await.unwrap(),
        StatusCode::OK,
    )
    .await;
    assert_eq!(again.next_start.unwrap().to_string(), "2027-01-10T21:00:00Z");
    rig.go_to("2027-01-10T20:59:59Z");
    rig.ring().await;
    assert!(rig.starts("nightly").await.is_empty());
    rig.go_to("2027-01-10T21:00:00Z");
    // However often, and by however many at once.
    let engine = rig.engine();
    let (a, b, c) = tokio::join!(engine.start_due(), engine.start_due(), engine.start_due());
    for rung in [a, b, c] {
        rung.unwrap();
    }
    rig.ring().await;
    assert_eq!(rig.outcomes("nightly").await, [("2027-01-10T21:00:00Z".to_owned(), StartOutcome::Started)]);
    let jobs = rig.upkeep("verify-datastore").await;
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].origin.schedule.as_deref(), Some("nightly"));
    assert_eq!(jobs[0].origin.run, rig.starts("nightly").await[0].run);
    let shown: Schedule = rig.get("/schedules/nightly").await;
    assert_eq!(shown.next_start.unwrap().to_string(), "2027-01-11T21:00:00Z");
    assert_eq!(shown.last_start.unwrap().outcome, StartOutcome::Started);
}

#[tokio::test]
async fn both_changes_of_the_clock() {
    let rig = furnished().await;
    rig.go_to("2027-03-27T12:00:00Z");
    rig.schedule("gap", settings("30 2 * * *")).await;
    for hour in ["2027-03-28T00:30:00Z", "2027-03-28T00:59:00Z"] {
        rig.go_to(hour);
        rig.ring().await;
        assert!(rig.starts("gap").await.is_empty(), "02:30 does not exist on that day");
    }
    rig.go_to("2027-03-28T01:00:00Z");
    rig.ring().await;
    rig.work_off(JobState::Success).await;
    rig.go_to("2027-03-28T01:30:00Z");
    rig.ring().await;
    assert_eq!(rig.outcomes("gap").await, [("2027-03-28T01:00:00Z".to_owned(), StartOutcome::Started)]);

    rig.go_to("2027-10-30T12:00:00Z");
    rig.send(Method::DELETE, "/schedules/gap").await;
    rig.schedule("overlap", settings("30 2 * * *")).await;
    for (hour, starts) in [("2027-10-31T00:29:00Z", 0), ("2027-10-31T00:30:00Z", 1), ("2027-10-31T01:30:00Z", 1)] {
        rig.go_to(hour);
        rig.ring().await;
        assert_eq!(rig.starts("overlap").await.len(), starts, "{hour}");
        rig.work_off(JobState::Success).await;
    }
    rig.go_to("2027-11-01T01:30:00Z");
    rig.ring().await;
    assert_eq!(rig.starts("overlap").await.len(), 2);
}

#[tokio::test]
async fn a_server_that_was_down_starts_late_within_the_window_or_says_so() {
    let mut rig = furnished().await;
    rig.go_to("2027-01-10T12:00:00Z");
    rig.schedule("nightly", settings("daily at 22:00")).await;
    rig = rig.restart_with(silent, |rig| rig.go_to("2027-01-10T21:59:00Z")).await;
    rig.ring().await;
    assert_eq!(rig.outcomes("nightly").await, [("2027-01-10T21:00:00Z".to_owned(), StartOutcome::Started)]);
    rig.work_off(JobState::Success).await;
    // Two days later, long after the window: both starts are missed, told of once, and none is made.
    rig = rig.restart_with(silent, |rig| rig.go_to("2027-01-12T23:00:00Z")).await;
    rig.ring().await;
    let starts = rig.starts("nightly").await;
    assert_eq!(starts[0].outcome, StartOutcome::Missed);
    let problem = starts[0].problem.clone().unwrap();
    assert_eq!(problem.code, "schedule.missed");
    assert!(problem.message.contains("2 starts from 2027-01-11 22:00 CET to 2027-01-12 22:00 CET"), "{problem}");
    assert_eq!((starts.len(), rig.upkeep("verify-datastore").await.len()), (2, 1));
    // The next one is made as ever.
    rig.go_to("2027-01-13T21:00:00Z");
    rig.ring().await;
    assert_eq!(rig.starts("nightly").await[0].outcome, StartOutcome::Started);
}

#[tokio::test]
async fn of_many_that_were_missed_the_latest_runs() {
    let rig = furnished().await;
    rig.go_to("2027-01-10T12:01:00Z");
    rig.schedule("often", settings("every 15 minutes")).await;
    rig.go_to("2027-01-10T15:05:00Z");
    rig.ring().await;
    let starts = rig.starts("often").await;
    assert_eq!(
        starts.iter().map(|start| start.outcome).collect::<Vec<_>>(),
        [StartOutcome::Started, StartOutcome::Missed]
    );
    assert_eq!(starts[0].at.to_string(), "2027-01-10T15:00:00Z");
    assert!(starts[1].problem.as_ref().unwrap().message.contains("missed 11 starts"), "{starts:?}");
    assert_eq!(rig.upkeep("verify-datastore").await.len(), 1);
}

#[tokio::test]
async fn a_schedule_that_overlaps_itself_skips_or_waits() {
    let rig = furnished().await;
    rig.go_to("2027-01-10T12:01:00Z");
    rig.schedule("skips", settings("every 30 minutes")).await;
    rig.go_to("2027-01-10T12:30:00Z");
    rig.ring().await;
    rig.go_to("2027-01-10T13:00:00Z");
    rig.ring().await;
    let starts = rig.starts("skips").await;
    assert_eq!(starts[0].outcome, StartOutcome::Skipped);
    assert_eq!(starts[0].problem.as_ref().unwrap().code, "schedule.overlap");
    rig.work_off(JobState::Success).await;
    rig.send(Method::DELETE, "/schedules/skips").await;

    let mut waiting = settings("every 30 minutes");
    waiting["overlap"] = json!("queue");
    rig.schedule("waits", waiting).await;
    for (at, outcome) in [
        ("2027-01-10T13:30:00Z", StartOutcome::Started),
        ("2027-01-10T14:00:00Z", StartOutcome::Waiting),
        // One waits, not two.
        ("2027-01-10T14:30:00Z", StartOutcome::Skipped),
    ] {
        rig.go_to(at);
        rig.ring().await;
        assert_eq!(rig.starts("waits").await[0].outcome, outcome, "{at}");
    }
    rig.work_off(JobState::Success).await;
    rig.ring().await;
    rig.ring().await;
    assert_eq!(rig.starts("waits").await[1].outcome, StartOutcome::Started);
    assert_eq!(rig.upkeep("verify-datastore").await.iter().filter(|job| job.state == JobState::Queued).count(), 1);
    // One that waits longer than its window is missed.
    rig.go_to("2027-01-10T15:00:00Z");
    rig.ring().await;
    rig.go_to("2027-01-10T16:01:00Z");
    rig.ring().await;
    let outcomes = rig.outcomes("waits").await;
    assert!(outcomes.contains(&("2027-01-10T15:00:00Z".to_owned(), StartOutcome::Missed)), "{outcomes:?}");
}

#[tokio::test]
async fn what_follows_starts_when_all_has_ended() {
    for (state, policy, followed) in [
        (JobState::Success, "success", FollowUpState::Started),
        (JobState::Failed, "success", FollowUpState::Skipped),
        (JobState::Failed, "always", FollowUpState::Started),
    ] {
        let rig = furnished().await;
        rig.go_to("2027-01-10T12:00:00Z");
        let mut with = settings("daily at 22:00");
        with["follow_up"] = json!([{"kind": "prune", "datastore": "store"}]);
        with["follow_up_on"] = json!(policy);
        rig.schedule("nightly", with).await;
        rig.go_to("2027-01-10T21:00:00Z");
        rig.ring().await;
        rig.ring().await;
        assert_eq!(rig.starts("nightly").await[0].follow_up, Some(FollowUpState::Waiting));
        assert!(rig.upkeep("prune-datastore").await.is_empty());
        rig.work_off(state).await;
        rig.ring().await;
        rig.ring().await;
        let start = rig.starts("nightly").await.remove(0);
        assert_eq!(start.follow_up, Some(followed), "{state:?} {policy}");
        let jobs = rig.upkeep("prune-datastore").await;
        assert_eq!(jobs.len(), usize::from(followed == FollowUpState::Started));
        assert_eq!(start.follow_up_run, jobs.first().and_then(|job| job.origin.run));
    }
}

#[tokio::test]
async fn what_can_not_be_started_is_said() {
    let rig = furnished().await;
    rig.go_to("2027-01-10T12:00:00Z");
    let mover = mover::obliging(rig.engine());
    let other = rig.post("/datastores", json!({"name": "gone", "path": "/srv/gone"})).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    mover.stop().await;
    let mut with = settings("daily at 22:00");
    with["targets"] = json!([{"kind": "verify", "datastore": "store"}, {"kind": "prune", "datastore": "gone"}]);
    rig.schedule("nightly", with).await;
    assert_eq!(rig.send(Method::DELETE, "/datastores/gone").await.status(), StatusCode::NO_CONTENT);
    rig.go_to("2027-01-10T21:00:00Z");
    rig.ring().await;
    let start = rig.starts("nightly").await.remove(0);
    assert_eq!((start.outcome, start.run), (StartOutcome::Failed, None));
    assert_eq!(start.problem.unwrap().code, "datastore.not_found");
    // All of it or nothing.
    assert!(rig.upkeep("verify-datastore").await.is_empty());
}

#[tokio::test]
async fn the_starts_of_a_month_with_blackouts() {
    let rig = furnished().await;
    rig.go_to("2027-12-20T12:00:00Z");
    rig.schedule("nightly", settings("every weekday at 22:00")).await;
    rig.schedule("off", {
        let mut off = settings("every hour");
        off["enabled"] = json!(false);
        off
    })
    .await;
    let calendar = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20271224\r\nDTEND;VALUE=DATE:20271227\r\nSUMMARY:Christmas\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let one = json!({"from": "2027-12-31T21:00", "to": "2027-12-31T23:00", "reason": "fireworks"});
    let changed = rig.post("/schedules/nightly/blackouts", json!({"blackouts": [one], "calendar": calendar})).await;
    let changed: Schedule = answer(changed, StatusCode::OK).await;
    assert_eq!(changed.settings.blackouts.len(), 2);
    let planned: Vec<PlannedStart> = rig.get("/planned-starts?days=12").await;
    let seen: Vec<_> = planned.iter().map(|start| (&start.local[..16], start.left_out.as_deref())).collect();
    assert_eq!(seen[3..5], [("2027-12-23 22:00", None), ("2027-12-24 22:00", Some("Christmas"))]);
    assert_eq!(seen.last().unwrap(), &("2027-12-31 22:00", Some("fireworks")));
    assert!(planned.iter().all(|start| start.schedule == "nightly"));
    let planned: Vec<PlannedStart> = rig.get("/planned-starts?schedule=off&days=31").await;
    assert_eq!(planned.len(), 31 * 24);
    // And nothing starts on those days.
    rig.go_to("2027-12-24T21:00:00Z");
    rig.ring().await;
    assert!(rig.outcomes("nightly").await.iter().all(|(at, _)| !at.starts_with("2027-12-24")));
    let refusal = rig.post("/schedules/nightly/blackouts", json!({"calendar": "BEGIN:VCALENDAR\nno"})).await;
    refused(refusal, StatusCode::UNPROCESSABLE_ENTITY, "schedule.bad_calendar").await;
}

#[tokio::test]
async fn a_schedule_that_makes_no_sense_is_refused() {
    let rig = furnished().await;
    let with = |key: &str, value: Value| {
        let mut settings = settings("daily at 22:00");
        settings[key] = value;
        json!({"name": "x", "settings": settings})
    };
    for (body, code) in [
        (with("when", json!("now and then")), "schedule.bad_when"),
        (with("when", json!("0 0 30 2 *")), "schedule.never"),
        (with("targets", json!([])), "schedule.no_target"),
        (with("start_window_minutes", json!(0)), "request.invalid"),
        (with("blackouts", json!([{"from": "2027-01-02", "to": "2027-01-01", "reason": "x"}])), "request.invalid"),
        (json!({"name": "a b", "settings": settings("daily at 22:00")}), "schedule.bad_name"),
    ] {
        refused(rig.post("/schedules", body).await, StatusCode::UNPROCESSABLE_ENTITY, code).await;
    }
    let unknown = with("targets", json!([{"kind": "prune", "datastore": "stare"}]));
    refused(rig.post("/schedules", unknown).await, StatusCode::NOT_FOUND, "datastore.not_found").await;
    rig.schedule("x", settings("daily at 22:00")).await;
    refused(rig.post("/schedules", with("enabled", json!(true))).await, StatusCode::CONFLICT, "schedule.exists").await;
    refused(rig.send(Method::GET, "/schedules/y").await, StatusCode::NOT_FOUND, "schedule.not_found").await;
    assert_eq!(rig.upkeep("verify-datastore").await.iter().filter(|job| job.spec.kind() == JobKind::Backup).count(), 0);
}

#[tokio::test]
async fn a_group_is_started_as_the_schedule_says() {
    let rig = furnished().await;
    let mover = mover::obliging(rig.engine());
    let drive = rig.post("/drives", json!({"number": 13, "datastore": "store", "channels": 2})).await;
    assert_eq!(drive.status(), StatusCode::CREATED, "{}", drive.text().await.unwrap());
    let task = rig.post("/tasks", json!({"name": "all", "client": "lab", "source": {"kind": "meta-data"}})).await;
    assert_eq!(task.status(), StatusCode::CREATED, "{}", task.text().await.unwrap());
    let group = rig.post("/groups", json!({"name": "vms", "tasks": ["all"]})).await;
    assert_eq!(group.status(), StatusCode::CREATED, "{}", group.text().await.unwrap());
    mover.stop().await;
    let mut with = settings("daily at 22:00");
    with["targets"] = json!([{"kind": "group", "name": "vms"}]);
    // Neither the task nor the schedule names a drive.
    let body = json!({"name": "nightly", "settings": with});
    let refusal = rig.post("/schedules", body).await;
    assert!(refusal.status().is_client_error(), "{}", refusal.text().await.unwrap());
    (with["drive"], with["priority"]) = (json!(13), json!(7));
    rig.go_to("2027-01-10T12:00:00Z");
    rig.schedule("nightly", with).await;
    rig.go_to("2027-01-10T21:00:00Z");
    rig.ring().await;
    let start = rig.starts("nightly").await.remove(0);
    let jobs: Vec<Job> = rig.get("/jobs").await;
    let job = jobs.iter().find(|job| job.origin.run.is_some()).unwrap();
    assert_eq!((job.origin.run, job.drive, job.priority), (start.run, Some(13), 7));
    assert_eq!((job.origin.schedule.as_deref(), job.origin.group.as_deref()), (Some("nightly"), Some("vms")));
}
