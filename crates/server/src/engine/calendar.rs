//! When something starts: pure reckoning with dates, times of day and zones. It knows no clock and no database.
//!
//! [`When`] is what a person has said (cron text or plain words), read into one or more cron patterns. They are matched
//! against the *wall clock* of a zone; what a change to or from daylight saving time does to that is decided here, by one
//! rule for schedules that name hours and one for those that run in every hour:
//!
//! | | the wall clock leaves an hour out | the wall clock goes through an hour twice |
//! |---|---|---|
//! | names hours (`30 2 * * *`) | starts that fell into the gap run once, right after it | starts run in the first pass only |
//! | every hour (`*/15 * * * *`) | goes on by elapsed time: nothing to make up for | goes on by elapsed time: runs in both passes |
//!
//! The timeline of a zone is a row of [`Stretch`]es of constant offset; within one, wall clock and elapsed time differ by
//! a constant, so a search of the wall clock is exact. The property tests compare this with a walk over every minute.

mod ics;
mod recurrence;
mod words;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use xenkeep_api::{Blackout, Problem};

pub(crate) use self::ics::read_blackouts;

/// Longest text that says when.
const MAX_TEXT: usize = 200;
/// A start that is further away than this is none: a 29th of February is at most eight years away.
const HORIZON: SignedDuration = SignedDuration::from_hours(24 * 366 * 9);

/// When something starts, as somebody has said it.
#[derive(Debug, Clone)]
pub(crate) struct When(Vec<Pattern>);

/// One cron pattern.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    cron: Cron,
    /// It runs in every hour of its days, so that it goes by elapsed time where the wall clock jumps.
    every_hour: bool,
}

/// A start to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Timestamp,
    /// Why it is left out, if it is.
    pub(crate) left_out: Option<String>,
}

/// The starts of one schedule: when, in which zone, except on which days.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    pub(crate) when: When,
    pub(crate) zone: TimeZone,
    pub(crate) blackouts: Vec<Blackout>,
}

impl When {
    /// Reads cron text (`0 22 * * 1-5`, `@daily`) or plain words (`every weekday at 22:00`, `werktags um 22 Uhr`).
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if text.is_empty() || text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
            let message = format!("what says when must be 1 to {MAX_TEXT} characters of plain text");
            return Err(Problem::new("schedule.bad_when", message).hint(words::EXAMPLES));
        }
        let texts = match nickname(text) {
            Some(pattern) => vec![pattern?.to_owned()],
            None if text.starts_with(|c: char| c == '*' || c.is_ascii_digit()) && is_cron(text) => {
                vec![text.split_whitespace().collect::<Vec<_>>().join(" ")]
            }
            None => words::patterns(text)?,
        };
        texts
            .into_iter()
            .map(|text| Pattern::parse(text).map_err(|reason| bad_cron(&reason)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The same as cron text; plain words may need several.
    pub(crate) fn cron_texts(&self) -> Vec<String> {
        self.0.iter().map(|pattern| pattern.text.clone()).collect()
    }

    /// The first start after an instant; none if there is none in the next nine years.
    pub(crate) fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        self.0.iter().filter_map(|pattern| pattern.next_after(zone, after)).min()
    }
}

impl Pattern {
    fn parse(text: String) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&text).map_err(|error| format!("\"{text}\" is no cron text: {error}"))?;
        let hour = text.split_whitespace().nth(1).unwrap_or_default();
        let every_hour = matches!(hour, "*" | "*/1" | "0-23");
        Ok(Self { text, cron, every_hour })
    }

    fn next_after(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let horizon = after.saturating_add(HORIZON).ok()?;
        let mut stretch = Stretch::around(zone, after);
        loop {
            match self.first_in(&stretch, after)? {
                Found::At(at) => return Some(at),
                Found::Later => {
                    stretch = stretch.following(zone).filter(|next| next.begin.is_some_and(|begin| begin < horizon))?
                }
            }
        }
    }

    /// The first start in a stretch that is later than `after`; none if no wall clock will ever match.
    fn first_in(&self, stretch: &Stretch, after: Timestamp) -> Option<Found> {
        let (mut from, mut inclusive) = (stretch.offset.to_datetime(after), false);
        if let Some(begin) = stretch.begin.filter(|begin| *begin > after) {
            from = stretch.offset.to_datetime(begin);
            inclusive = true;
        }
        if let (Some(begin), Some(before), false) = (stretch.begin, stretch.before, self.every_hour) {
            let (old, new) = (before.to_datetime(begin), stretch.offset.to_datetime(begin));
            // What the wall clock has left out is made up for once, at the first instant after it.
            if old < new && begin > after && self.search(old, true)? < new {
                return Some(Found::At(begin));
            }
            // What it goes through a second time has been seen to.
            if from < old && new < old {
                (from, inclusive) = (old, true);
            }
        }
        let at = stretch.offset.to_timestamp(self.search(from, inclusive)?).ok()?;
        Some(if stretch.end.is_none_or(|end| at < end) { Found::At(at) } else { Found::Later })
    }

    /// The next wall clock time that matches.
    fn search(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        // Within the second of `from` nothing else can match: patterns know whole minutes.
        let whole = from.with().subsec_nanosecond(0).build().ok()?;
        self.cron.find_next_occurrence(&whole, inclusive && whole == from).ok()
    }
}

enum Found {
    At(Timestamp),
    /// In a stretch that follows.
    Later,
}

/// A time during which the zone's offset stays the same.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Its first instant; none if it has been so for ever.
    begin: Option<Timestamp>,
    /// The first instant after it.
    end: Option<Timestamp>,
    offset: Offset,
    /// The offset before it.
    before: Option<Offset>,
}

impl Stretch {
    fn around(zone: &TimeZone, at: Timestamp) -> Self {
        // The transition at this very instant is its beginning.
        let next_instant = at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
        let begin = zone.preceding(next_instant).next().map(|transition| transition.timestamp());
        let before =
            begin.and_then(|begin| begin.checked_sub(SignedDuration::from_secs(1)).ok()).map(|at| zone.to_offset(at));
        let end = zone.following(at).next().map(|transition| transition.timestamp());
        Self { begin, end, offset: zone.to_offset(at), before }
    }

    fn following(&self, zone: &TimeZone) -> Option<Self> {
        self.end.map(|end| Self::around(zone, end))
    }
}

impl Calendar {
    /// The first start after an instant that is not left out.
    pub(crate) fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let mut at = after;
        let horizon = after.saturating_add(HORIZON).ok()?;
        loop {
            at = self.when.next_after(&self.zone, at).filter(|at| *at < horizon)?;
            match self.blackout(at) {
                None => return Some(at),
                // To the end of the days that are left out, however often it would start meanwhile.
                Some(blackout) => {
                    let end = blackout.to.end().to_zoned(self.zone.clone()).ok()?.timestamp();
                    at = at.max(end.checked_sub(SignedDuration::from_nanos(1)).ok()?);
                }
            }
        }
    }

    /// The starts after one instant and up to another, those that are left out too; no more than `limit`.
    pub(crate) fn planned(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Planned> {
        let next = |after: &Timestamp| self.when.next_after(&self.zone, *after).filter(|at| *at <= until);
        std::iter::successors(next(&after), next)
            .take(limit)
            .map(|at| Planned { at, left_out: self.blackout(at).map(|blackout| blackout.reason.clone()) })
            .collect()
    }

    /// The blackout that a start falls into.
    fn blackout(&self, at: Timestamp) -> Option<&Blackout> {
        let local = self.zone.to_datetime(at);
        self.blackouts.iter().find(|blackout| blackout.covers(local))
    }
}

/// Five fields, each made of what cron text is made of.
fn is_cron(text: &str) -> bool {
    let fields = text.split_whitespace().count();
    let cron_like = |c: char| c.is_ascii_alphanumeric() || "*/,-#?+".contains(c) || c.is_whitespace();
    // `22:00 daily` has fewer fields, or a colon.
    fields >= 5 && text.chars().all(cron_like)
}

/// What `@daily` and its like stand for.
fn nickname(text: &str) -> Option<Result<&'static str, Problem>> {
    let name = text.strip_prefix('@')?;
    Some(match name.to_ascii_lowercase().as_str() {
        "hourly" => Ok("0 * * * *"),
        "daily" | "midnight" => Ok("0 0 * * *"),
        "weekly" => Ok("0 0 * * 0"),
        "monthly" => Ok("0 0 1 * *"),
        "yearly" | "annually" => Ok("0 0 1 1 *"),
        _ => Err(bad_cron("that nickname is not known; there are @hourly, @daily, @weekly, @monthly and @yearly")),
    })
}

fn bad_cron(reason: &str) -> Problem {
    Problem::new("schedule.bad_when", reason)
        .hint("five fields are meant: minute, hour, day of the month, month, day of the week (0 is Sunday), such as 30 21 * * 1-5")
}

#[cfg(test)]
mod tests;
