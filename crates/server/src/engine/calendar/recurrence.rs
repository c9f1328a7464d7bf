//! Rules of recurrence (RFC 5545, 3.3.10), as far as days are concerned: FREQ, INTERVAL, COUNT, UNTIL, BYMONTH,
//! BYMONTHDAY, BYDAY, WKST. Anything else is refused.

use std::collections::BTreeMap;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Most years that are looked at from the first occurrence on.
const MAX_YEARS: i64 = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// A rule that says on which days something recurs.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    frequency: Frequency,
    interval: i64,
    count: Option<usize>,
    until: Option<DateTime>,
    months: Vec<i8>,
    month_days: Vec<i8>,
    /// A day of the week; of a month the n-th one, from its end if negative.
    weekdays: Vec<(Option<i8>, Weekday)>,
    week_start: Weekday,
}

impl Rule {
    /// Reads a rule whose first occurrence is at `first` in `zone`; else says why not.
    pub(super) fn parse(text: &str, first: DateTime, zone: &TimeZone) -> Result<Self, String> {
        let mut parts = BTreeMap::new();
        for part in text.trim().split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(|| bad_part(part))?;
            parts.insert(name.to_ascii_uppercase(), value.to_ascii_uppercase());
        }
        let mut take = |name: &str| parts.remove(name);
        let frequency = match take("FREQ").as_deref() {
            Some("DAILY") => Frequency::Daily,
            Some("WEEKLY") => Frequency::Weekly,
            Some("MONTHLY") => Frequency::Monthly,
            Some("YEARLY") => Frequency::Yearly,
            other => return Err(bad_part(&format!("FREQ={}", other.unwrap_or_default()))),
        };
        let mut rule = Self {
            frequency,
            interval: take("INTERVAL")
                .map_or(Some(1), |n| n.parse().ok().filter(|n| (1..=1000).contains(n)))
                .ok_or("has an interval that is none")?,
            count: take("COUNT").map(|n| n.parse().map_err(|_| "has a count that is none")).transpose()?,
            until: take("UNTIL").map(|text| end(&text, zone).ok_or("has an end that is none")).transpose()?,
            months: numbers(take("BYMONTH"), 1..=12)?,
            month_days: numbers(take("BYMONTHDAY"), -31..=31)?,
            weekdays: take("BYDAY")
                .map_or(Ok(Vec::new()), |days| days.split(',').map(weekday).collect::<Result<_, _>>())?,
            week_start: take("WKST").map_or(Ok(Weekday::Monday), |day| weekday(&day).map(|(_, day)| day))?,
        };
        if let Some((name, value)) = parts.into_iter().next() {
            return Err(bad_part(&format!("{name}={value}")));
        }
        rule.complete(first.date())?;
        Ok(rule)
    }

    /// What a rule leaves out is as on its first day.
    fn complete(&mut self, first: Date) -> Result<(), String> {
        let nth = self.weekdays.iter().any(|(nth, _)| nth.is_some());
        if nth && matches!(self.frequency, Frequency::Daily | Frequency::Weekly) {
            return Err(bad_part("BYDAY with a number"));
        }
        let free = self.month_days.is_empty() && self.weekdays.is_empty();
        match self.frequency {
            Frequency::Weekly if !self.month_days.is_empty() => return Err(bad_part("BYMONTHDAY with FREQ=WEEKLY")),
            Frequency::Weekly if self.weekdays.is_empty() => self.weekdays = vec![(None, first.weekday())],
            Frequency::Monthly if free => self.month_days = vec![first.day()],
            Frequency::Yearly if free => {
                self.month_days = vec![first.day()];
                if self.months.is_empty() {
                    self.months = vec![first.month()];
                }
            }
            Frequency::Yearly if self.months.is_empty() && !self.weekdays.is_empty() => {
                return Err(bad_part("BYDAY of a year without BYMONTH"));
            }
            _ => {}
        }
        Ok(())
    }

    /// The days on which it occurs, from the first occurrence to a day; an error if there are more than `limit`.
    pub(super) fn days(&self, first: DateTime, until: Date, limit: usize) -> Result<Vec<Date>, String> {
        let far = first.date().checked_add(MAX_YEARS.years()).unwrap_or(Date::MAX);
        let mut days = vec![first.date()];
        let mut day = first.date();
        while let Ok(next) = day.tomorrow() {
            day = next;
            let over = self.until.is_some_and(|until| day.to_datetime(first.time()) > until);
            if day > until || day > far || over || self.count.is_some_and(|count| days.len() >= count) {
                break;
            }
            if self.fits(first.date(), day) {
                days.push(day);
            }
            if days.len() > limit {
                return Err(format!("recurs more than {limit} times"));
            }
        }
        Ok(days)
    }

    fn fits(&self, first: Date, day: Date) -> bool {
        let in_month = |(nth, weekday): &(Option<i8>, Weekday)| {
            *weekday == day.weekday()
                && nth.is_none_or(|nth| {
                    nth == (day.day() - 1) / 7 + 1 || nth == -((day.days_in_month() - day.day()) / 7 + 1)
                })
        };
        let month_day = |wanted: &i8| *wanted == day.day() || *wanted == day.day() - day.days_in_month() - 1;
        self.periods(first, day) % self.interval == 0
            && (self.months.is_empty() || self.months.contains(&day.month()))
            && (self.month_days.is_empty() || self.month_days.iter().any(month_day))
            && (self.weekdays.is_empty() || self.weekdays.iter().any(in_month))
    }

    /// Days, weeks, months or years from the first occurrence to a day.
    fn periods(&self, first: Date, day: Date) -> i64 {
        let number = |date: Date| i64::from(date.duration_since(Date::constant(1970, 1, 1)).as_hours() as i32 / 24);
        match self.frequency {
            Frequency::Daily => number(day) - number(first),
            Frequency::Weekly => {
                // 1 January 1970 was a Thursday.
                let week = |date| (number(date) + 3 - i64::from(self.week_start.to_monday_zero_offset())).div_euclid(7);
                week(day) - week(first)
            }
            Frequency::Monthly => {
                let month = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
                month(day) - month(first)
            }
            Frequency::Yearly => i64::from(day.year()) - i64::from(first.year()),
        }
    }
}

/// The last moment: a day, a wall clock time, or an instant in UTC.
fn end(text: &str, zone: &TimeZone) -> Option<DateTime> {
    match text.strip_suffix('Z') {
        Some(utc) => {
            let instant: Timestamp = TimeZone::UTC.to_timestamp(DateTime::strptime("%Y%m%dT%H%M%S", utc).ok()?).ok()?;
            Some(zone.to_datetime(instant))
        }
        None if text.contains('T') => DateTime::strptime("%Y%m%dT%H%M%S", text).ok(),
        None => Some(Date::strptime("%Y%m%d", text).ok()?.at(23, 59, 59, 0)),
    }
}

fn numbers(text: Option<String>, range: std::ops::RangeInclusive<i8>) -> Result<Vec<i8>, String> {
    let Some(text) = text else { return Ok(Vec::new()) };
    let number = |part: &str| part.parse().ok().filter(|n| range.contains(n) && *n != 0).ok_or_else(|| bad_part(part));
    text.split(',').map(number).collect()
}

/// `MO`, `1SU`, `-1FR`.
fn weekday(text: &str) -> Result<(Option<i8>, Weekday), String> {
    let at = text.len().checked_sub(2).filter(|at| text.is_char_boundary(*at)).ok_or_else(|| bad_part(text))?;
    let (nth, day) = text.split_at(at);
    let day = match day {
        "MO" => Weekday::Monday,
        "TU" => Weekday::Tuesday,
        "WE" => Weekday::Wednesday,
        "TH" => Weekday::Thursday,
        "FR" => Weekday::Friday,
        "SA" => Weekday::Saturday,
        "SU" => Weekday::Sunday,
        _ => return Err(bad_part(text)),
    };
    if nth.is_empty() {
        return Ok((None, day));
    }
    let nth = nth.parse().ok().filter(|nth| (-5..=5).contains(nth) && *nth != 0).ok_or_else(|| bad_part(text))?;
    Ok((Some(nth), day))
}

fn bad_part(part: &str) -> String {
    let part: String = part.chars().filter(|c| !c.is_control()).take(60).collect();
    format!("has a rule of recurrence that is not understood: {part}")
}
