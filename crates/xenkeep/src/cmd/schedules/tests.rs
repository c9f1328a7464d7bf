use super::*;
use crate::cmd::samples::at;

fn schedule() -> Schedule {
    let settings = serde_json::json!({
        "when": "werktags um 22 Uhr", "time_zone": "Europe/Vienna", "drive": 13, "backup_type": "full",
        "targets": [{"kind": "group", "name": "vms"}, {"kind": "prune", "datastore": "store"}],
        "follow_up": [{"kind": "verify", "datastore": "store"}], "follow_up_on": "success",
        "blackouts": [{"from": "2026-12-24", "to": "2026-12-26", "reason": "Christmas"}],
    });
    Schedule {
        id: "6f1b1f1c-7a0a-4a0e-9a55-0a4c6f6a7b11".parse().unwrap(),
        name: "nightly".into(),
        settings: serde_json::from_value(settings).unwrap(),
        cron: vec!["0 22 * * 1,2,3,4,5".into()],
        created_at: at(0),
        next_start: Some(at(86_400)),
        last_start: Some(missed()),
    }
}

fn missed() -> ScheduleStart {
    ScheduleStart {
        at: at(0),
        decided_at: at(9000),
        outcome: xenkeep_api::StartOutcome::Missed,
        run: None,
        problem: Some(xenkeep_api::Problem::new("schedule.missed", "no server was running then")),
        follow_up: None,
        follow_up_run: None,
    }
}

#[test]
fn schedules_are_shown() {
    insta::assert_snapshot!("schedules", listing(&[schedule()]));
    insta::assert_snapshot!("schedule", shown(&schedule(), &[missed()]));
    assert!(listing(&[]).contains("xenkeep schedule create"));
}

#[test]
fn starts_to_come_say_when_they_are_left_out() {
    let start = |local: &str, left_out: Option<&str>| PlannedStart {
        schedule: "nightly".into(),
        at: at(0),
        local: local.into(),
        left_out: left_out.map(Into::into),
    };
    let starts = [start("2026-12-23 22:00 +01:00", None), start("2026-12-24 22:00 +01:00", Some("Christmas"))];
    insta::assert_snapshot!("planned", planned(&starts, 31));
}

#[test]
fn targets_are_read_as_they_are_shown() {
    for text in ["task:web", "group:vms", "prune:store", "verify:store", "verify-full:store", "verify-full:store:10%"] {
        assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
    }
    for bad in ["", "web", "task:", "copy:store", "verify-full:store:much"] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}
