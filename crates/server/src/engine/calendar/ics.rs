//! Blackouts out of a calendar file (RFC 5545): all-day and timed events, once or recurring.
//!
//! What can't be honoured exactly is refused with the name of the event, and nothing is taken from the file then: a
//! calendar that is half understood would let backups start on days that somebody wanted free of them. The file is read
//! line by line, without recursion, and bounded in size and in what it may unfold to.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, ToSpan as _};
use xenkeep_api::{Blackout, DayOrTime, Problem};

use super::recurrence::Rule;

/// Largest file.
const MAX_BYTES: usize = 1 << 20;
/// Most events of a file, and most blackouts that they may unfold to.
const MAX_EVENTS: usize = 2000;
/// Recurring events are unfolded for so many years from today.
const YEARS: i64 = 5;

/// The blackouts of a calendar file that are not over on `today`. Times are turned into wall clock times of `zone`.
pub(crate) fn read_blackouts(text: &str, zone: &TimeZone, today: Date) -> Result<Vec<Blackout>, Problem> {
    if text.len() > MAX_BYTES {
        return Err(bad(format!("the calendar has {} bytes; {MAX_BYTES} are read at most", text.len())));
    }
    let until = today.checked_add(YEARS.years()).unwrap_or(Date::MAX);
    let mut blackouts = Vec::new();
    for event in events(text)? {
        for blackout in event.blackouts(zone, until)? {
            if blackout.to.end() > today.to_datetime(Time::midnight()) {
                blackouts.push(blackout);
            }
            if blackouts.len() > MAX_EVENTS {
                return Err(bad(format!("the calendar unfolds to more than {MAX_EVENTS} blackouts")));
            }
        }
    }
    blackouts.sort_by_key(|blackout| (blackout.from.begin(), blackout.to.end()));
    blackouts.dedup();
    Ok(blackouts)
}

/// A property: its parameters and its value. Of several of one name all are kept.
#[derive(Debug, Clone)]
struct Property {
    parameters: BTreeMap<String, String>,
    value: String,
}

#[derive(Debug, Default)]
struct Event(BTreeMap<String, Vec<Property>>);

/// The events of a calendar, in their order.
fn events(text: &str) -> Result<Vec<Event>, Problem> {
    let (mut events, mut open, mut nested): (Vec<Event>, Option<Event>, Vec<String>) = (Vec::new(), None, Vec::new());
    let mut lines = unfold(text).into_iter().filter(|line| !line.is_empty());
    if !lines.next().is_some_and(|line| line.trim_start_matches('\u{feff}').eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        return Err(bad("that is no calendar: it does not begin with BEGIN:VCALENDAR"));
    }
    for line in lines {
        let (name, property) = property(&line)?;
        match (name.as_str(), &mut open) {
            ("BEGIN", None) if property.value.eq_ignore_ascii_case("VEVENT") => open = Some(Event::default()),
            // Alarms within an event; time zones and tasks beside it.
            ("BEGIN", _) => nested.push(property.value),
            ("END", _) if nested.pop().is_some() => {}
            ("END", event @ Some(_)) => events.extend(event.take()),
            (_, Some(event)) if nested.is_empty() => event.0.entry(name).or_default().push(property),
            _ => {}
        }
        if events.len() > MAX_EVENTS || nested.len() > 8 {
            return Err(bad(format!("the calendar has more than {MAX_EVENTS} events, or is nested too deeply")));
        }
    }
    if open.is_some() {
        return Err(bad("the calendar ends in the middle of an event"));
    }
    Ok(events)
}

/// Lines as they were before they were folded.
fn unfold(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some(last)) => last.push_str(rest),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// `NAME;PARAMETER=VALUE;…:value`, with parameters that may be quoted.
fn property(line: &str) -> Result<(String, Property), Problem> {
    let mut quoted = false;
    let colon = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == ':' && !quoted
    });
    let Some((colon, _)) = colon else { return Err(bad(format!("\"{}\" is no line of a calendar", shown(line)))) };
    let mut parts = line[..colon].split(';');
    let name = parts.next().unwrap_or_default().to_ascii_uppercase();
    let parameters = parts
        .filter_map(|part| part.split_once('='))
        .map(|(name, value)| (name.to_ascii_uppercase(), value.trim_matches('"').to_owned()))
        .collect();
    Ok((name, Property { parameters, value: line[colon + 1..].to_owned() }))
}

/// A point of a calendar: a day, or a time of day in a zone.
#[derive(Debug, Clone, Copy)]
enum Edge {
    Day(Date),
    Time(DateTime),
}

impl Edge {
    fn begin(self) -> DateTime {
        match self {
            Self::Day(day) => day.to_datetime(Time::midnight()),
            Self::Time(time) => time,
        }
    }
}

impl Event {
    fn one(&self, name: &str) -> Option<&Property> {
        self.0.get(name).and_then(|properties| properties.first())
    }

    fn name(&self) -> String {
        let summary = self.one("SUMMARY").map(|property| unescape(&property.value)).unwrap_or_default();
        let summary = shown(summary.trim());
        if summary.is_empty() { "event without a name".to_owned() } else { summary }
    }

    fn refusal(&self, why: &str) -> Problem {
        bad(format!("the event \"{}\" of the calendar {why}", self.name()))
    }

    /// The days or times that it takes, until a day.
    fn blackouts(&self, zone: &TimeZone, until: Date) -> Result<Vec<Blackout>, Problem> {
        let said = |name: &str, value: &str| self.one(name).is_some_and(|p| p.value.eq_ignore_ascii_case(value));
        if said("STATUS", "CANCELLED") {
            return Ok(Vec::new());
        }
        for (name, why) in [
            ("RECURRENCE-ID", "changes one occurrence of a recurring event, which is not understood"),
            ("RDATE", "has extra dates (RDATE), which are not understood"),
            ("EXRULE", "has an exception rule (EXRULE), which is not understood"),
        ] {
            if self.one(name).is_some() {
                return Err(self.refusal(why));
            }
        }
        let start = self.one("DTSTART").ok_or_else(|| self.refusal("has no start"))?;
        // A recurring event recurs by the wall clock of its own zone.
        let own_zone = self.zone(start, zone)?;
        let first = self.edge(start, &own_zone)?;
        let length = self.length(first, &own_zone)?;
        let mut starts = vec![first];
        if let Some(rule) = self.0.get("RRULE") {
            let [rule] = rule.as_slice() else { return Err(self.refusal("has several rules of recurrence")) };
            let days = Rule::parse(&rule.value, first.begin(), &own_zone)
                .and_then(|rule| rule.days(first.begin(), until, MAX_EVENTS));
            let days = days.map_err(|why| self.refusal(&why))?;
            let time = first.begin().time();
            starts = days
                .into_iter()
                .map(
                    |day| {
                        if matches!(first, Edge::Day(_)) { Edge::Day(day) } else { Edge::Time(day.to_datetime(time)) }
                    },
                )
                .collect();
        }
        let excluded = self.excluded(&own_zone)?;
        starts.retain(|start| !excluded.contains(&start.begin()));
        starts.into_iter().map(|start| self.blackout(start, length, &own_zone, zone)).collect()
    }

    /// Occurrences that do not take place.
    fn excluded(&self, own_zone: &TimeZone) -> Result<Vec<DateTime>, Problem> {
        let mut excluded = Vec::new();
        for property in self.0.get("EXDATE").into_iter().flatten() {
            let zone = self.zone(property, own_zone)?;
            for value in property.value.split(',') {
                let edge = self.edge(&Property { value: value.to_owned(), ..property.clone() }, &zone)?;
                excluded.push(match edge {
                    Edge::Day(_) => edge.begin(),
                    Edge::Time(time) => {
                        convert(time, &zone, own_zone).ok_or_else(|| self.refusal("excludes a time out of range"))?
                    }
                });
            }
        }
        Ok(excluded)
    }

    /// From its start to its end, by its own wall clock.
    fn length(&self, first: Edge, own_zone: &TimeZone) -> Result<Span, Problem> {
        let too_long = || self.refusal("ends before it starts, or is longer than a year");
        let end = match (self.one("DTEND"), self.one("DURATION")) {
            (Some(end), _) => {
                let zone = self.zone(end, own_zone)?;
                match (first, self.edge(end, &zone)?) {
                    (Edge::Day(_), Edge::Day(day)) => day.to_datetime(Time::midnight()),
                    (Edge::Time(_), Edge::Time(time)) => convert(time, &zone, own_zone).ok_or_else(too_long)?,
                    _ => return Err(self.refusal("starts with a day and ends with a time, or the other way round")),
                }
            }
            (None, Some(duration)) => {
                let span: Span = duration.value.parse().map_err(|_| self.refusal("has a duration that is none"))?;
                first.begin().checked_add(span).map_err(|_| too_long())?
            }
            (None, None) if matches!(first, Edge::Day(_)) => {
                first.begin().checked_add(1.day()).map_err(|_| too_long())?
            }
            (None, None) => first.begin(),
        };
        let span = first.begin().until(end).map_err(|_| too_long())?;
        let days = span.total((jiff::Unit::Day, SpanRelativeTo::days_are_24_hours())).map_err(|_| too_long())?;
        if (0.0..=366.0).contains(&days) { Ok(span) } else { Err(too_long()) }
    }

    fn blackout(&self, start: Edge, length: Span, own_zone: &TimeZone, zone: &TimeZone) -> Result<Blackout, Problem> {
        let out_of_range = |_| self.refusal("lies out of range");
        let end = start.begin().checked_add(length).map_err(out_of_range)?;
        let (from, to) = match start {
            // The end of a day's event is the day after its last one.
            Edge::Day(day) => {
                let last = end.date().yesterday().map_err(out_of_range)?;
                (DayOrTime::Day(day), DayOrTime::Day(last.max(day)))
            }
            Edge::Time(time) => {
                let here = |time| convert(time, own_zone, zone).ok_or_else(|| self.refusal("lies out of range"));
                (DayOrTime::Time(here(time)?), DayOrTime::Time(here(end)?))
            }
        };
        Ok(Blackout { from, to, reason: self.name() })
    }

    /// The zone in which a property is meant; `otherwise` if it says none.
    fn zone(&self, property: &Property, otherwise: &TimeZone) -> Result<TimeZone, Problem> {
        match property.parameters.get("TZID") {
            _ if property.value.ends_with(['Z', 'z']) => Ok(TimeZone::UTC),
            None => Ok(otherwise.clone()),
            Some(name) => TimeZone::get(name).map_err(|_| {
                self.refusal(&format!("is in the time zone \"{}\", which is not known here by that name", shown(name)))
            }),
        }
    }

    fn edge(&self, property: &Property, _zone: &TimeZone) -> Result<Edge, Problem> {
        let value = property.value.trim().trim_end_matches(['Z', 'z']);
        let day = |text: &str| Date::strptime("%Y%m%d", text).ok();
        let parsed = match value.split_once(['T', 't']) {
            None if value.len() == 8 => day(value).map(Edge::Day),
            Some((date, time)) if date.len() == 8 && time.len() == 6 => {
                day(date).zip(Time::strptime("%H%M%S", time).ok()).map(|(day, time)| Edge::Time(day.to_datetime(time)))
            }
            _ => None,
        };
        parsed.ok_or_else(|| self.refusal(&format!("has a date that is none: {}", shown(&property.value))))
    }
}

/// The same instant by the wall clock of another zone.
fn convert(time: DateTime, from: &TimeZone, to: &TimeZone) -> Option<DateTime> {
    Some(to.to_datetime(from.to_timestamp(time).ok()?))
}

fn unescape(text: &str) -> String {
    text.replace("\\n", " ").replace("\\N", " ").replace("\\,", ",").replace("\\;", ";").replace("\\\\", "\\")
}

/// A text from outside in a sentence: no control characters, not endless.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

fn bad(message: impl Into<String>) -> Problem {
    Problem::new("schedule.bad_calendar", message).hint(
        "nothing was taken from the calendar; remove that event from the file, or give the days with --from and --to",
    )
}
