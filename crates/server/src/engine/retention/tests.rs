use jiff::civil::date;
use proptest::prelude::*;
use xenkeep_api::KeepReason::{
    Daily, Future, Hourly, Last, LastGood, Monthly, Oldest, Protected, Weekly, Within, Yearly,
};

use super::*;

/// Central Europe as a rule, so that no table of zones is needed: +2 from the last Sunday of March, 2:00, to the last
/// of October, 3:00.
fn central_europe() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn point(text: &str) -> Candidate {
    Candidate { taken_at: at(text), protected: false, damaged: false }
}

fn policy(change: impl FnOnce(&mut RetentionPolicy)) -> RetentionPolicy {
    let mut policy = RetentionPolicy::default();
    change(&mut policy);
    policy
}

/// Why each of the points is kept, in central Europe, long after.
fn kept(policy: &RetentionPolicy, points: &[Candidate]) -> Vec<Vec<KeepReason>> {
    let kept = retain(policy, points, &central_europe(), at("2030-01-01T00:00:00Z"));
    kept.into_iter().map(|reasons| reasons.into_iter().collect()).collect()
}

fn points(times: &[&str]) -> Vec<Candidate> {
    times.iter().map(|time| point(time)).collect()
}

#[test]
fn the_newest_of_each_day_counts() {
    let points = points(&[
        "2026-03-03T20:00:00Z",
        "2026-03-03T08:00:00Z",
        "2026-03-02T20:00:00Z",
        "2026-03-02T08:00:00Z",
        "2026-02-27T20:00:00Z",
        "2026-02-27T08:00:00Z",
    ]);
    let two = kept(&policy(|policy| policy.keep_daily = 2), &points);
    assert_eq!(two, [vec![Daily], vec![], vec![Daily], vec![], vec![], vec![]]);
    // Days without points don't count; and while the rule has room, the oldest stays.
    let four = kept(&policy(|policy| policy.keep_daily = 4), &points);
    assert_eq!(four, [vec![Daily], vec![], vec![Daily], vec![], vec![Daily], vec![Oldest]]);
    let mixed =
        kept(&policy(|policy| (policy.keep_last, policy.keep_monthly, policy.keep_yearly) = (2, 2, 1)), &points);
    assert_eq!(mixed, [vec![Last, Monthly, Yearly], vec![Last], vec![], vec![], vec![Monthly], vec![]]);
}

#[test]
fn a_day_is_one_of_the_time_zone() {
    // 23:30 and 00:30 in Vienna are one day in UTC.
    let times = points(&["2026-07-01T22:30:00Z", "2026-07-01T21:30:00Z"]);
    let daily = policy(|policy| policy.keep_daily = 2);
    assert_eq!(kept(&daily, &times), [vec![Daily], vec![Daily]]);
    let utc = retain(&daily, &times, &TimeZone::UTC, at("2030-01-01T00:00:00Z"));
    assert_eq!(utc, [BTreeSet::from([Daily]), BTreeSet::from([Oldest])]);
}

#[test]
fn hours_when_the_clocks_change() {
    // Spring: 01:30 is followed by 03:30. Nothing is lost, nothing counts twice.
    let spring = points(&["2026-03-29T01:45:00Z", "2026-03-29T01:30:00Z", "2026-03-29T00:30:00Z"]);
    let hourly = policy(|policy| policy.keep_hourly = 2);
    assert_eq!(kept(&hourly, &spring), [vec![Hourly], vec![], vec![Hourly]]);
    // Autumn: 02:30 comes twice, an hour apart.
    let autumn =
        points(&["2026-10-25T01:30:00Z", "2026-10-25T01:10:00Z", "2026-10-25T00:30:00Z", "2026-10-25T00:10:00Z"]);
    assert_eq!(kept(&hourly, &autumn), [vec![Hourly], vec![], vec![Hourly], vec![]]);
    // The days of both have 23 and 25 hours, and are one day each.
    for (first, last, before) in [
        ("2026-03-28T23:00:00Z", "2026-03-29T21:59:59Z", "2026-03-28T22:59:59Z"),
        ("2026-10-24T22:00:00Z", "2026-10-25T22:59:59Z", "2026-10-24T21:59:59Z"),
    ] {
        let daily = policy(|policy| policy.keep_daily = 2);
        assert_eq!(kept(&daily, &points(&[last, first, before])), [vec![Daily], vec![], vec![Daily]], "{first}");
    }
}

#[test]
fn within_counts_calendar_days_from_the_newest() {
    // Two days before 12:00 is 12:00, though one of them had 23 hours.
    let times =
        points(&["2026-03-30T10:00:00Z", "2026-03-28T11:00:01Z", "2026-03-28T11:00:00Z", "2026-01-01T00:00:00Z"]);
    let two_days = policy(|policy| policy.keep_within = "2d".parse().ok());
    assert_eq!(kept(&two_days, &times), [vec![Within], vec![Within], vec![], vec![]]);
    let hours = policy(|policy| policy.keep_within = "47h".parse().ok());
    assert_eq!(kept(&hours, &times), [vec![Within], vec![Within], vec![], vec![]]);
    let all = policy(|policy| policy.keep_within = "9999y".parse().ok());
    assert!(kept(&all, &times).iter().all(|reasons| reasons == &[Within]));
}

#[test]
fn weeks_over_the_end_of_a_year() {
    // 2026-12-28 (Monday) to 2027-01-03 (Sunday) is week 53 of 2026; 2024-12-30 begins week 1 of 2025.
    let times =
        points(&["2027-01-04T12:00:00Z", "2027-01-03T12:00:00Z", "2026-12-28T12:00:00Z", "2026-12-27T12:00:00Z"]);
    let weekly = policy(|policy| policy.keep_weekly = 3);
    assert_eq!(kept(&weekly, &times), [vec![Weekly], vec![Weekly], vec![], vec![Weekly]]);
    let times =
        points(&["2025-01-05T12:00:00Z", "2024-12-30T12:00:00Z", "2024-12-29T12:00:00Z", "2024-01-01T12:00:00Z"]);
    assert_eq!(kept(&weekly, &times), [vec![Weekly], vec![], vec![Weekly], vec![Weekly]]);
    // A week of another year with the same number is another week.
    let times = points(&["2026-05-04T12:00:00Z", "2025-05-05T12:00:00Z"]);
    assert_eq!(date(2026, 5, 4).iso_week_date().week(), date(2025, 5, 5).iso_week_date().week());
    assert_eq!(kept(&weekly, &times), [vec![Weekly], vec![Weekly]]);
}

#[test]
fn protected_points_stay_and_take_no_place() {
    let mut times = points(&["2026-03-03T20:00:00Z", "2026-03-03T08:00:00Z", "2026-03-02T20:00:00Z"]);
    times[0].protected = true;
    assert_eq!(kept(&policy(|policy| policy.keep_last = 1), &times), [vec![Protected], vec![Last], vec![]]);
    times[1].protected = true;
    times[2].protected = true;
    let kept = kept(&policy(|policy| policy.keep_last = 1), &times);
    assert!(kept.iter().all(|reasons| reasons == &[Protected]));
}

#[test]
fn a_damaged_point_takes_no_good_ones_place() {
    let mut times = points(&["2026-03-03T20:00:00Z", "2026-03-03T08:00:00Z", "2026-03-02T20:00:00Z"]);
    times[0].damaged = true;
    assert_eq!(kept(&policy(|policy| policy.keep_last = 1), &times), [vec![Last], vec![Last], vec![]]);
    // Not even all together.
    times[1].damaged = true;
    assert_eq!(kept(&policy(|policy| policy.keep_daily = 1), &times), [vec![Daily], vec![], vec![Daily]]);
    assert_eq!(kept(&RetentionPolicy::default(), &times), [vec![], vec![], vec![LastGood]]);
}

#[test]
fn a_point_from_the_future_stays_and_takes_no_place() {
    let zone = central_europe();
    let times = points(&["2027-01-01T00:00:00Z", "2026-03-03T09:00:00Z", "2026-03-02T20:00:00Z"]);
    let last = policy(|policy| (policy.keep_last, policy.keep_within) = (1, "1h".parse().ok()));
    let kept = retain(&last, &times, &zone, at("2026-03-03T08:00:00Z"));
    assert_eq!(kept, [BTreeSet::from([Future]), BTreeSet::from([Last, Within]), BTreeSet::new()]);
}

#[test]
fn without_points_or_rules_nothing_happens_to_the_last() {
    assert!(kept(&RetentionPolicy::default(), &[]).is_empty());
    let times = points(&["2026-03-02T20:00:00Z", "2026-03-03T20:00:00Z"]);
    assert_eq!(kept(&RetentionPolicy::default(), &times), [vec![], vec![LastGood]]);
    // The order in which they come does not matter.
    assert_eq!(kept(&policy(|policy| policy.keep_last = 1), &times), [vec![], vec![Last]]);
}

fn any_policy() -> impl Strategy<Value = RetentionPolicy> {
    let within = prop_oneof![
        2 => Just(None),
        3 => (0u16..2, 0u16..4, 0u32..40, 0u32..60)
            .prop_map(|(years, months, days, hours)| Some(KeepWithin { years, months, days, hours })),
    ];
    (0u32..6, 0u32..6, 0u32..6, 0u32..6, 0u32..6, 0u32..4, within).prop_map(
        |(keep_last, keep_hourly, keep_daily, keep_weekly, keep_monthly, keep_yearly, keep_within)| RetentionPolicy {
            keep_last,
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            keep_within,
        },
    )
}

/// Points of some years, most of them close together; now and then one from the future.
fn any_points() -> impl Strategy<Value = Vec<Candidate>> {
    let gap = prop_oneof![5 => 0i64..7200, 4 => 0i64..90_000, 2 => 0i64..3_000_000, 1 => 0i64..40_000_000];
    let one = (gap, prop::bool::weighted(0.1), prop::bool::weighted(0.15));
    (1_740_000_000i64..1_780_000_000, prop::collection::vec(one, 0..60)).prop_map(|(mut time, gaps)| {
        let point = |(gap, protected, damaged)| {
            time -= gap;
            Candidate { taken_at: Timestamp::from_second(time).unwrap(), protected, damaged }
        };
        gaps.into_iter().map(point).collect()
    })
}

const NOW: &str = "2026-03-01T12:00:00Z";

fn staying(policy: &RetentionPolicy, points: &[Candidate]) -> Vec<Candidate> {
    let kept = retain(policy, points, &central_europe(), at(NOW));
    points.iter().zip(kept).filter(|(_, reasons)| !reasons.is_empty()).map(|(point, _)| *point).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn applying_twice_removes_nothing_more(policy in any_policy(), points in any_points()) {
        let once = staying(&policy, &points);
        prop_assert_eq!(staying(&policy, &once), once);
    }

    #[test]
    fn who_keeps_more_removes_no_more(policy in any_policy(), more in any_policy(), points in any_points()) {
        let sum = RetentionPolicy {
            keep_last: policy.keep_last + more.keep_last,
            keep_hourly: policy.keep_hourly + more.keep_hourly,
            keep_daily: policy.keep_daily + more.keep_daily,
            keep_weekly: policy.keep_weekly + more.keep_weekly,
            keep_monthly: policy.keep_monthly + more.keep_monthly,
            keep_yearly: policy.keep_yearly + more.keep_yearly,
            keep_within: policy.keep_within.or(more.keep_within),
        };
        let (few, many) = (staying(&policy, &points), staying(&sum, &points));
        prop_assert!(few.iter().all(|point| many.contains(point)));
    }

    #[test]
    fn the_last_good_one_and_the_protected_ones_stay(policy in any_policy(), points in any_points()) {
        let stays = staying(&policy, &points);
        prop_assert!(points.iter().filter(|point| point.protected).all(|point| stays.contains(point)));
        prop_assert!(points.is_empty() || !stays.is_empty());
        let believed = at(NOW) + AHEAD;
        let last_good = points.iter().filter(|point| !point.damaged && point.taken_at <= believed).max_by_key(|point| point.taken_at);
        prop_assert!(last_good.is_none_or(|last| stays.contains(last)));
    }

    #[test]
    fn a_rule_keeps_as_many_as_it_says(number in 1u32..8, points in any_points()) {
        let policy = policy(|policy| policy.keep_daily = number);
        let plain: Vec<Candidate> =
            points.into_iter().map(|point| Candidate { protected: false, damaged: false, ..point }).collect();
        let kept = retain(&policy, &plain, &central_europe(), Timestamp::MAX);
        let days: HashSet<_> =
            plain.iter().map(|point| point.taken_at.to_zoned(central_europe()).date()).collect();
        let daily = kept.iter().filter(|reasons| reasons.contains(&Daily)).count();
        prop_assert_eq!(daily, days.len().min(number as usize));
    }

    #[test]
    fn the_order_does_not_matter(policy in any_policy(), points in any_points()) {
        let mut reversed = points.clone();
        reversed.reverse();
        let mut back = staying(&policy, &reversed);
        back.sort_by_key(|point| point.taken_at);
        let mut there = staying(&policy, &points);
        there.sort_by_key(|point| point.taken_at);
        let times = |points: &[Candidate]| points.iter().map(|point| point.taken_at).collect::<Vec<_>>();
        prop_assert_eq!(times(&back), times(&there));
    }
}
