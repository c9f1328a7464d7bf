use xenkeep_api::{JobId, JobKind, OverdueVm, Problem};

use super::*;

fn report() -> Report {
    let job = |subject: &str, state, problem| ReportedJob {
        id: JobId::random(),
        kind: JobKind::Backup,
        subject: subject.to_owned(),
        state,
        started_at: Some(Timestamp::from_second(1_800_000_000).unwrap()),
        finished_at: Some(Timestamp::from_second(1_800_003_725).unwrap()),
        read_bytes: 5 << 30,
        stored_bytes: 3 << 20,
        problem,
        warnings: Vec::new(),
    };
    let problem = Problem::new("sr.full", "SR <fast> is full").hint("make room");
    Report {
        kind: ReportKind::Run,
        subject: "nightly".to_owned(),
        outcome: JobState::Failed,
        at: Timestamp::from_second(1_800_003_726).unwrap(),
        run: None,
        jobs: vec![job("db\r\n<b>", JobState::Failed, Some(problem)), job("web", JobState::Success, None)],
        more_jobs: 0,
        problem: None,
        summary: None,
    }
}

#[test]
fn a_run_in_two_languages() {
    let english = plain(&report(), Language::En);
    assert_eq!(
        english.lines().collect::<Vec<_>>(),
        [
            "nightly: failed",
            "2 jobs, 1 of them not done",
            "db  <b>: failed (backup), 2027-01-15 08:00 UTC – 01:02:05, 5.0 GiB read, 3.0 MiB stored",
            "  ! SR <fast> is full",
            "make room",
            "web: good (backup), 2027-01-15 08:00 UTC – 01:02:05, 5.0 GiB read, 3.0 MiB stored",
            "Written 2027-01-15 09:02 UTC",
        ]
    );
    let german = plain(&report(), Language::De);
    assert!(german.contains("2 Aufträge, davon 1 nicht ausgeführt") && german.contains("web: in Ordnung"), "{german}");
    assert_eq!(subject(&report(), Language::De), "[xenkeep] nightly: fehlgeschlagen");
}

#[test]
fn names_from_a_pool_stay_text() {
    let html = html(&report(), Language::En);
    assert!(html.contains("db  &lt;b&gt;: failed") && !html.contains("<b>") && !html.contains("<fast>"), "{html}");
    let hostile = Report { subject: "a\r\nBcc: x@y".to_owned(), ..report() };
    assert!(!subject(&hostile, Language::En).contains(['\r', '\n']));
}

#[test]
fn a_summary_in_two_languages() {
    let findings = SummaryFindings {
        max_age_hours: 26,
        without_point: vec![OverdueVm { client: "lab".to_owned(), vm: "db".to_owned(), last_point: None }],
        with_point: 3,
        never_run: vec!["new".to_owned()],
        not_started: vec!["schedule nightly has missed its start".to_owned()],
        good_jobs: 4,
        bad_jobs: 1,
    };
    let report = Report { kind: ReportKind::Summary, jobs: Vec::new(), summary: Some(findings), ..report() };
    let english = plain(&report, Language::En);
    for part in [
        "3 VMs have a good restore point of the last 26 hours, 1 have none.",
        "  ! lab/db: never one",
        "  ! new",
        "4 done, 1 not done",
    ] {
        assert!(english.contains(part), "{part} in {english}");
    }
    let german = plain(&report, Language::De);
    for part in ["Tagesbericht: fehlgeschlagen", "lab/db: noch nie einer", "Aufgaben, die noch nie gelaufen sind:"] {
        assert!(german.contains(part), "{part} in {german}");
    }
}
