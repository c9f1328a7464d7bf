use jiff::civil::{Date, DateTime, date};
use jiff::tz;
use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The starts between two instants, as wall clock times with their offsets.
fn starts(when: &str, zone_name: &str, from: &str, to: &str) -> Vec<String> {
    let calendar = Calendar { when: When::parse(when).unwrap(), zone: zone(zone_name), blackouts: Vec::new() };
    let planned = calendar.planned(at(from), at(to), 1000);
    planned.iter().map(|start| start.at.to_zoned(calendar.zone.clone()).strftime("%d %H:%M %:z").to_string()).collect()
}

#[test]
fn words_say_the_same_as_cron() {
    for (words, cron) in [
        ("daily at 22:00", &["0 22 * * *"][..]),
        ("every day at 12:00 and 18:30", &["0 12 * * *", "30 18 * * *"]),
        ("every day at 8:15, 12:15 and 18:15", &["15 8,12,18 * * *"]),
        ("every weekday at 21:30", &["30 21 * * 1,2,3,4,5"]),
        ("weekly on saturday at 03:00", &["0 3 * * 6"]),
        ("Mon, Wed and Fri at 10pm", &["0 22 * * 1,3,5"]),
        ("monday to thursday at 10:30 pm", &["30 22 * * 1,2,3,4"]),
        ("fri-mon at midnight", &["0 0 * * 0,1,5,6"]),
        ("first sunday of the month at 02:00", &["0 2 * * 0#1"]),
        ("every first and third sunday of the month at 2 am", &["0 2 * * 0#1,0#3"]),
        ("on the 2nd tuesday at 04:00", &["0 4 * * 2#2"]),
        ("last friday of the month at 23:00", &["0 23 * * 5#L"]),
        ("last day of the month at 23:00", &["0 23 L * *"]),
        ("monthly on the 1st and 15th at 04:05", &["5 4 1,15 * *"]),
        ("first day of every month at noon", &["0 12 1 * *"]),
        ("hourly", &["0 * * * *"]),
        ("every hour", &["0 * * * *"]),
        ("every 4 hours", &["0 */4 * * *"]),
        ("every 15 minutes on weekdays", &["*/15 * * * 1,2,3,4,5"]),
        ("täglich um 22:00 Uhr", &["0 22 * * *"]),
        ("jeden Tag um 22 Uhr", &["0 22 * * *"]),
        ("werktags um 21.30 Uhr", &["30 21 * * 1,2,3,4,5"]),
        ("wöchentlich am Samstag um 03:00", &["0 3 * * 6"]),
        ("sonntags um 4 Uhr und 16 Uhr", &["0 4,16 * * 0"]),
        ("Montag bis Freitag um 20:00", &["0 20 * * 1,2,3,4,5"]),
        ("am ersten Sonntag des Monats um 02:00", &["0 2 * * 0#1"]),
        ("jeden letzten Freitag im Monat um 23:00", &["0 23 * * 5#L"]),
        ("am letzten Tag des Monats um 23:00", &["0 23 L * *"]),
        ("am 15. des Monats um 4 Uhr", &["0 4 15 * *"]),
        ("alle 4 Stunden", &["0 */4 * * *"]),
        ("alle 15 Minuten", &["*/15 * * * *"]),
        ("stündlich", &["0 * * * *"]),
        ("0 22 * * 1-5", &["0 22 * * 1-5"]),
        (" 30  2 1,15 * * ", &["30 2 1,15 * *"]),
        ("*/5 * * * MON-FRI", &["*/5 * * * MON-FRI"]),
        ("@daily", &["0 0 * * *"]),
    ] {
        assert_eq!(
            When::parse(words).unwrap_or_else(|problem| panic!("{words}: {problem}")).cron_texts(),
            cron,
            "{words}"
        );
    }
}

#[test]
fn what_is_not_understood_is_refused_with_the_reason() {
    for (words, reason) in [
        ("", "1 to 200 characters"),
        ("daily\nat 22:00", "1 to 200 characters"),
        ("daily", "at what time"),
        ("at 22:00", "on which days"),
        ("weekly at 22:00", "on which days"),
        ("monthly on sunday at 22:00", "which of these days"),
        ("first at 22:00", "which day is meant"),
        ("daily at 24:00", "24:00 is no time of day"),
        ("daily at 22:60", "22:60 is no time of day"),
        ("on the 32nd of the month at 1:00", "no month has a day 32"),
        ("the 7th sunday at 1:00", "no month has so many weeks"),
        ("every 5 hours", "every 5 hours would not fall on the same times each day"),
        ("every 90 minutes", "each hour"),
        ("every 0 minutes", "each hour"),
        ("every 2 weeks on saturday at 03:00", "can't be said in cron text"),
        ("every 4 hours at 22:00", "don't go together"),
        ("every day on monday at 1:00", "both every day and certain days"),
        ("on monday and the 15th at 1:00", "don't go together"),
        ("daily at 22:00 unless it rains", "\"unless\" is not understood"),
        ("0 22 * * * *", "no cron text"),
        ("61 22 * * *", "no cron text"),
        ("0 22 * *", "\"0\" is not understood"),
        ("@reboot", "nickname is not known"),
    ] {
        let problem = When::parse(words).unwrap_err();
        assert_eq!(problem.code, "schedule.bad_when", "{words}");
        assert!(problem.message.contains(reason), "{words}: {problem}");
        assert!(problem.hint.is_some(), "{words}");
    }
}

#[test]
fn a_start_in_the_gap_runs_once_right_after_it() {
    // Berlin: on 29 March 2026 the clock goes from 02:00 to 03:00.
    let berlin = |when| starts(when, "Europe/Berlin", "2026-03-27T23:00:00Z", "2026-03-30T12:00:00Z");
    assert_eq!(berlin("30 2 * * *"), ["28 02:30 +01:00", "29 03:00 +02:00", "30 02:30 +02:00"]);
    assert_eq!(berlin("0,20,40 2 * * *").iter().filter(|start| start.starts_with("29")).count(), 1);
    assert_eq!(berlin("0 2,3 * * 0"), ["29 03:00 +02:00"]);
    assert_eq!(berlin("daily at 03:00"), ["28 03:00 +01:00", "29 03:00 +02:00", "30 03:00 +02:00"]);
    // A whole day that never was: Apia had no 30 December 2011.
    assert_eq!(
        starts("0 22 * * *", "Pacific/Apia", "2011-12-29T10:00:00Z", "2012-01-01T00:00:00Z"),
        ["29 22:00 -10:00", "31 00:00 +14:00", "31 22:00 +14:00"]
    );
}

#[test]
fn a_start_in_the_overlap_runs_once() {
    // Berlin: on 25 October 2026 the clock goes from 03:00 back to 02:00.
    let berlin = |when| starts(when, "Europe/Berlin", "2026-10-23T23:00:00Z", "2026-10-26T12:00:00Z");
    assert_eq!(berlin("30 2 * * *"), ["24 02:30 +02:00", "25 02:30 +02:00", "26 02:30 +01:00"]);
    assert_eq!(berlin("0 3 * * *"), ["24 03:00 +02:00", "25 03:00 +01:00", "26 03:00 +01:00"]);
    assert_eq!(berlin("0 */2 * * 0")[..3], ["25 00:00 +02:00", "25 02:00 +02:00", "25 04:00 +01:00"]);
}

#[test]
fn what_runs_in_every_hour_goes_by_elapsed_time() {
    let hours = |from, to| starts("every hour", "Europe/Berlin", from, to);
    assert_eq!(
        hours("2026-10-24T23:30:00Z", "2026-10-25T02:30:00Z"),
        ["25 02:00 +02:00", "25 02:00 +01:00", "25 03:00 +01:00"]
    );
    assert_eq!(
        hours("2026-03-28T23:30:00Z", "2026-03-29T02:30:00Z"),
        ["29 01:00 +01:00", "29 03:00 +02:00", "29 04:00 +02:00"]
    );
}

#[test]
fn rare_and_impossible_starts() {
    let next = |when: &str, after| When::parse(when).unwrap().next_after(&zone("Europe/Berlin"), at(after));
    assert_eq!(next("0 12 29 2 *", "2096-03-01T00:00:00Z"), Some(at("2104-02-29T11:00:00Z")));
    assert_eq!(next("0 12 30 2 *", "2026-03-01T00:00:00Z"), None);
    // The very instant is not after itself.
    assert_eq!(next("0 12 * * *", "2026-06-01T10:00:00Z"), Some(at("2026-06-02T10:00:00Z")));
    assert_eq!(next("0 12 * * *", "2026-06-01T09:59:59.999999999Z"), Some(at("2026-06-01T10:00:00Z")));
}

fn blackout(from: &str, to: &str) -> Blackout {
    Blackout { from: from.parse().unwrap(), to: to.parse().unwrap(), reason: "holidays".to_owned() }
}

#[test]
fn starts_in_a_blackout_are_left_out() {
    let calendar = Calendar {
        when: When::parse("daily at 22:00").unwrap(),
        zone: zone("Europe/Berlin"),
        blackouts: vec![blackout("2026-12-24", "2026-12-26"), blackout("2026-12-28T21:00", "2026-12-28T22:00")],
    };
    let from = at("2026-12-23T12:00:00Z");
    let days: Vec<_> =
        calendar.planned(from, at("2026-12-29T12:00:00Z"), 9).iter().map(|start| start.left_out.is_some()).collect();
    assert_eq!(days, [false, true, true, true, false, false]);
    assert_eq!(calendar.next_after(from), Some(at("2026-12-23T21:00:00Z")));
    assert_eq!(calendar.next_after(at("2026-12-23T21:00:00Z")), Some(at("2026-12-27T21:00:00Z")));
    // One that takes all that is left ends the search.
    let ever = Calendar { blackouts: vec![blackout("2026-01-01", "2200-01-01")], ..calendar };
    assert_eq!(ever.next_after(from), None);
}

/// A cron pattern that is known by its parts, so that it can be matched without a library.
#[derive(Debug, Clone)]
struct Parts {
    minutes: Vec<i8>,
    hours: Option<Vec<i8>>,
    days: Option<Vec<i8>>,
    weekdays: Option<Vec<i8>>,
}

impl Parts {
    fn text(&self) -> String {
        let list = |numbers: &[i8]| numbers.iter().map(i8::to_string).collect::<Vec<_>>().join(",");
        let field = |numbers: &Option<Vec<i8>>| numbers.as_ref().map_or("*".to_owned(), |numbers| list(numbers));
        format!("{} {} {} * {}", list(&self.minutes), field(&self.hours), field(&self.days), field(&self.weekdays))
    }

    fn matches(&self, at: DateTime) -> bool {
        let weekday = at.weekday().to_sunday_zero_offset();
        let day = match (&self.days, &self.weekdays) {
            // As cron has always had it: either will do if both are said.
            (Some(days), Some(weekdays)) => days.contains(&at.day()) || weekdays.contains(&weekday),
            (Some(days), None) => days.contains(&at.day()),
            (None, Some(weekdays)) => weekdays.contains(&weekday),
            (None, None) => true,
        };
        day && self.minutes.contains(&at.minute()) && self.hours.as_ref().is_none_or(|hours| hours.contains(&at.hour()))
    }

    /// Every minute between two instants, looked at one after the other.
    fn walk(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let minute = SignedDuration::from_mins(1);
        let (mut found, mut at, mut latest) = (Vec::new(), from, zone.to_datetime(from));
        while at < to {
            at += minute;
            let local = zone.to_datetime(at);
            let starts = match &self.hours {
                None => self.matches(local),
                // Every wall clock minute that has not been seen yet: one, several after a gap, none in an overlap.
                Some(_) => std::iter::successors(Some(latest + minute), |next| Some(*next + minute))
                    .take_while(|missed| *missed <= local)
                    .any(|missed| self.matches(missed)),
            };
            latest = latest.max(local);
            if starts {
                found.push(at);
            }
        }
        found
    }
}

fn some_of(range: std::ops::Range<i8>, most: usize) -> impl Strategy<Value = Vec<i8>> {
    prop::collection::btree_set(range, 1..=most).prop_map(|set| set.into_iter().collect())
}

fn parts() -> impl Strategy<Value = Parts> {
    let hours = prop::option::weighted(0.8, prop_oneof![some_of(0..5, 3), some_of(0..24, 6)]);
    let days = prop::option::weighted(0.3, some_of(1..32, 12));
    let weekdays = prop::option::weighted(0.3, some_of(0..7, 4));
    (some_of(0..60, 3), hours, days, weekdays).prop_map(|(minutes, hours, days, weekdays)| Parts {
        minutes,
        hours,
        days,
        weekdays,
    })
}

/// Zones with their peculiarities: a gap of an hour, of half an hour, of two hours, of a day, at midnight; none at all.
const ZONES: [(&str, Date); 9] = [
    ("Europe/Berlin", date(2026, 1, 1)),
    ("America/New_York", date(2026, 1, 1)),
    ("Australia/Lord_Howe", date(2026, 1, 1)),
    ("Antarctica/Troll", date(2026, 1, 1)),
    ("Pacific/Apia", date(2011, 11, 1)),
    ("America/Sao_Paulo", date(2018, 1, 1)),
    ("Africa/Casablanca", date(2026, 1, 1)),
    ("Asia/Kathmandu", date(2026, 1, 1)),
    ("UTC", date(2026, 1, 1)),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    #[test]
    fn agrees_with_a_walk_over_every_minute(parts in parts(), which in 0..ZONES.len(), change in 0..2_usize, shift in 0..1440_i64) {
        let (name, year) = ZONES[which];
        let zone = zone(name);
        let first = year.to_zoned(zone.clone()).unwrap().timestamp();
        // Around one of the year's changes, if it has any.
        let centre = zone.following(first).take(8).map(|t: tz::TimeZoneTransition<'_>| t.timestamp())
            .filter(|at| zone.to_offset(*at) != zone.to_offset(*at - SignedDuration::from_secs(1)))
            .take(change + 1).last().unwrap_or(first);
        let from = centre - SignedDuration::from_hours(36) - SignedDuration::from_mins(shift);
        let to = centre + SignedDuration::from_hours(50);
        let calendar = Calendar { when: When::parse(&parts.text()).unwrap(), zone: zone.clone(), blackouts: Vec::new() };
        let found: Vec<_> = calendar.planned(from, to, 10_000).into_iter().map(|start| start.at).collect();
        prop_assert_eq!(&found, &parts.walk(&zone, from, to), "{} in {}", parts.text(), name);
        // From wherever one looks, the next start is the same.
        let middle = centre + SignedDuration::from_mins(shift) - SignedDuration::from_hours(12);
        let next = found.iter().find(|at| **at > middle).copied();
        prop_assert_eq!(calendar.next_after(middle).filter(|at| *at <= to), next);
    }

    #[test]
    fn no_text_breaks_the_parser(text in "[ -~äöüß]{0,60}") {
        let _ = When::parse(&text);
    }

    #[test]
    fn no_sentence_breaks_the_parser(words in prop::collection::vec(
        prop::sample::select(vec!["daily", "22:00", "first", "sunday", "last", "day", "of", "month", "every", "4", "hours",
            "15.", "bis", "montag", "am", "pm", "uhr", "*", "0", "L", "#", "@daily", "1-5"]), 0..9)) {
        if let Ok(when) = When::parse(&words.join(" ")) {
            when.next_after(&zone("Europe/Berlin"), at("2026-03-29T00:00:00Z"));
        }
    }
}

mod calendars;
