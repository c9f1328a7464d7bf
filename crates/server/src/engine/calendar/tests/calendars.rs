//! Calendar files.

use super::*;

fn calendar(events: &[&str]) -> String {
    let events: Vec<_> = events.iter().map(|event| format!("BEGIN:VEVENT\r\n{event}\r\nEND:VEVENT\r\n")).collect();
    let text = format!("BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//x//y//EN\n{}END:VCALENDAR\n", events.concat());
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

fn read(events: &[&str]) -> Result<Vec<Blackout>, Problem> {
    read_blackouts(&calendar(events), &zone("Europe/Berlin"), date(2026, 11, 25))
}

fn spans(events: &[&str]) -> Vec<String> {
    read(events).unwrap().iter().map(|one| format!("{}/{} {}", one.from, one.to, one.reason)).collect()
}

#[test]
fn events_that_take_place_once() {
    let christmas = "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227\nSUMMARY:Christmas\\, all of it";
    let one_day = "DTSTART;VALUE=DATE:20270106\nSUMMARY:Epiphany";
    let past = "DTSTART;VALUE=DATE:20251224\nSUMMARY:long ago";
    // Folded in the middle of a word, with an alarm inside.
    let timed = "DTSTART;TZID=America/New_York:20261201T160000\nDTEND;TZID=America/New_York:20261201T180000\nSUMMARY:Main\n tenance\nBEGIN:VALARM\nTRIGGER:-PT15M\nSUMMARY:no\nEND:VALARM";
    let utc = "DTSTART:20261202T210000Z\nDURATION:PT90M\nSUMMARY:patches";
    let floating = "DTSTART:20261203T210000\nDTEND:20261203T220000\nSUMMARY:here";
    let off = "DTSTART;VALUE=DATE:20261205\nSTATUS:CANCELLED\nSUMMARY:called off";
    assert_eq!(
        spans(&[christmas, one_day, past, timed, utc, floating, off]),
        [
            "2026-12-01T22:00/2026-12-02T00:00 Maintenance",
            "2026-12-02T22:00/2026-12-02T23:30 patches",
            "2026-12-03T21:00/2026-12-03T22:00 here",
            "2026-12-24/2026-12-26 Christmas, all of it",
            "2027-01-06/2027-01-06 Epiphany",
        ]
    );
}

#[test]
fn events_that_recur() {
    let yearly = "DTSTART;VALUE=DATE:20201224\nRRULE:FREQ=YEARLY;UNTIL=20271231\nSUMMARY:Eve";
    assert_eq!(spans(&[yearly]), ["2026-12-24/2026-12-24 Eve", "2027-12-24/2027-12-24 Eve"]);
    let monthly = "DTSTART;VALUE=DATE:20261127\nRRULE:FREQ=MONTHLY;BYDAY=-1FR;COUNT=3\nSUMMARY:closing";
    assert_eq!(spans(&[monthly]), ["2026-11-27", "2026-12-25", "2027-01-29"].map(|day| format!("{day}/{day} closing")));
    let weekly = "DTSTART;TZID=Europe/Berlin:20261123T220000\nDTEND;TZID=Europe/Berlin:20261124T010000\n\
        RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE;UNTIL=20261209T210000Z\nEXDATE;TZID=Europe/Berlin:20261207T220000\nSUMMARY:w";
    assert_eq!(spans(&[weekly]), ["2026-11-25T22:00/2026-11-26T01:00 w", "2026-12-09T22:00/2026-12-10T01:00 w"]);
    let thanksgiving = "DTSTART;VALUE=DATE:20251127\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=3\nSUMMARY:t";
    assert_eq!(spans(&[thanksgiving]), ["2026-11-26/2026-11-26 t", "2027-11-25/2027-11-25 t"]);
    // For five years from today, no further.
    let ever = "DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=MONTHLY;BYMONTHDAY=-1\nSUMMARY:last day";
    assert_eq!(read(&[ever]).unwrap().len(), 60);
    // By the wall clock of its own zone: an hour later here while only one of the two has changed its clocks.
    let calls = "DTSTART;TZID=America/New_York:20270301T120000\nDTEND;TZID=America/New_York:20270301T130000\n\
        RRULE:FREQ=WEEKLY;COUNT=3\nSUMMARY:call";
    assert_eq!(
        spans(&[calls]).iter().map(|text| text[..16].to_owned()).collect::<Vec<_>>(),
        ["2027-03-01T18:00", "2027-03-08T18:00", "2027-03-15T17:00"]
    );
}

#[test]
fn what_is_not_understood_refuses_the_whole_file() {
    let good = "DTSTART;VALUE=DATE:20261224\nSUMMARY:good";
    for (event, reason) in [
        ("SUMMARY:x", "\"x\" of the calendar has no start"),
        ("DTSTART:soon\nSUMMARY:x", "a date that is none: soon"),
        ("DTSTART;VALUE=DATE:20261301\nSUMMARY:x", "a date that is none"),
        ("DTSTART;TZID=Middle-earth:20261201T100000\nSUMMARY:x", "time zone \"Middle-earth\""),
        ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261220\nSUMMARY:x", "ends before it starts"),
        ("DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20291220\nSUMMARY:x", "longer than a year"),
        ("DTSTART;VALUE=DATE:20261224\nDTEND:20261224T120000\nSUMMARY:x", "starts with a day and ends with a time"),
        ("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=YEARLY;BYWEEKNO=20\nSUMMARY:x", "BYWEEKNO=20"),
        ("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1\nSUMMARY:x", "BYSETPOS=-1"),
        ("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=HOURLY\nSUMMARY:x", "FREQ=HOURLY"),
        ("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=DAILY\nRRULE:FREQ=DAILY\nSUMMARY:x", "several rules"),
        ("DTSTART;VALUE=DATE:20261224\nRRULE:FREQ=DAILY;INTERVAL=0\nSUMMARY:x", "interval that is none"),
        ("DTSTART;VALUE=DATE:20261224\nRDATE;VALUE=DATE:20261226\nSUMMARY:x", "RDATE"),
        ("DTSTART;VALUE=DATE:20261224\nRECURRENCE-ID;VALUE=DATE:20261224\nSUMMARY:x", "one occurrence"),
        ("DTSTART;VALUE=DATE:20261224\nno line\nSUMMARY:x", "no line of a calendar"),
        ("DTSTART;VALUE=DATE:20100101\nRRULE:FREQ=DAILY\nSUMMARY:x", "recurs more than 2000 times"),
    ] {
        let problem = read(&[good, event]).unwrap_err();
        assert_eq!(problem.code, "schedule.bad_calendar");
        assert!(problem.message.contains(reason), "{event}: {problem}");
    }
    for text in
        ["", "hello", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224", &"BEGIN:VCALENDAR\n".repeat(100)]
    {
        assert!(read_blackouts(text, &TimeZone::UTC, date(2026, 1, 1)).is_err(), "{text}");
    }
    assert!(read_blackouts(&" ".repeat(2 << 20), &TimeZone::UTC, date(2026, 1, 1)).is_err());
}

proptest! {
    #[test]
    fn no_file_breaks_the_reader(lines in prop::collection::vec(prop::sample::select(vec![
        "BEGIN:VCALENDAR", "END:VCALENDAR", "BEGIN:VEVENT", "END:VEVENT", "BEGIN:X", "END:X", "DTSTART:20261224T100000Z",
        "DTSTART;VALUE=DATE:99991231", "DTEND;VALUE=DATE:20261224", "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY;BYDAY=ÄÄ",
        "DURATION:P9999999D", "DURATION:-PT1H", ";:", "\u{e4};\"", " folded", "EXDATE:,,", "SUMMARY:\u{1b}[31m"]), 0..12)) {
        let _ = read_blackouts(&format!("BEGIN:VCALENDAR\n{}", lines.join("\n")), &TimeZone::UTC, date(2026, 1, 1));
    }
}
