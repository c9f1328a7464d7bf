use super::*;

#[test]
fn a_certificate_speaks_up_before_it_ends() {
    let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
    let judge = |until: &str| expiry("xs1", "ab", "as it was pinned", until.parse().unwrap(), now);
    assert_eq!(judge("2027-01-01T00:00:00Z").outcome, CheckOutcome::Ok);
    let soon = judge("2026-03-11T00:00:00Z");
    assert_eq!(soon.outcome, CheckOutcome::Warning);
    assert!(soon.result.contains("in 10 day(s)"), "{}", soon.result);
    let past = judge("2026-02-01T00:00:00Z");
    assert_eq!(past.outcome, CheckOutcome::Warning);
    assert!(past.result.contains("expired on 2026-02-01") && past.cure.is_some());
}

#[test]
fn without_a_login_every_check_is_still_named() {
    let all = |problem: Problem| -> Vec<(String, CheckOutcome)> {
        refused(&problem).into_iter().map(|check| (check.id, check.outcome)).collect()
    };
    let wrong = all(Problem::new("pool.wrong_password", "no"));
    assert_eq!(wrong.len(), 2 + AFTER_LOGIN.len());
    assert!(wrong.contains(&("login".to_owned(), CheckOutcome::Failed)));
    assert!(wrong[2..].iter().all(|(_, outcome)| *outcome == CheckOutcome::Skipped));
    let changed = all(Problem::new("pool.certificate_changed", "no"));
    assert!(changed.contains(&("certificate".to_owned(), CheckOutcome::Failed)));
    assert!(changed.contains(&("login".to_owned(), CheckOutcome::Skipped)));
}
