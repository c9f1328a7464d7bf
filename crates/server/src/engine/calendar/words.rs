//! Plain words, English or German, read into cron text.
//!
//! Every word must be understood: half of a sentence would be another schedule. What cron text can't say (every second
//! week, every 90 minutes) is refused with the reason.

use std::collections::{BTreeMap, BTreeSet};

use xenkeep_api::Problem;

/// What can be said.
pub(super) const EXAMPLES: &str = "such as: daily at 22:00 · every weekday at 21:30 · weekly on saturday at 03:00 · \
    first sunday of the month at 02:00 · last day of the month at 23:00 · every 4 hours · werktags um 22 Uhr · 0 22 * * 1-5";

/// The words for filling; they change nothing.
const FILLERS: &[&str] = &[
    "every", "each", "on", "the", "of", "at", "in", "and", "a", "from", "o'clock", "um", "am", "im", "an", "des",
    "der", "den", "dem", "die", "das", "und", "jeden", "jede", "jeder", "jedes", "jeweils", "alle", "uhr", "ein",
    "eines", "von",
];

/// A day of the week as cron counts it, in its spellings.
const WEEKDAYS: [&[&str]; 7] = [
    &["sunday", "sundays", "sun", "sonntag", "sonntags", "so"],
    &["monday", "mondays", "mon", "montag", "montags", "mo"],
    &["tuesday", "tuesdays", "tue", "dienstag", "dienstags", "di"],
    &["wednesday", "wednesdays", "wed", "mittwoch", "mittwochs", "mi"],
    &["thursday", "thursdays", "thu", "donnerstag", "donnerstags", "do"],
    &["friday", "fridays", "fri", "freitag", "freitags", "fr"],
    &["saturday", "saturdays", "sat", "samstag", "samstags", "sonnabend", "sonnabends", "sa"],
];

const ORDINALS: [&[&str]; 5] = [
    &["first", "erste", "ersten", "erster", "erstes"],
    &["second", "zweite", "zweiten", "zweiter", "zweites"],
    &["third", "dritte", "dritten", "dritter", "drittes"],
    &["fourth", "vierte", "vierten", "vierter", "viertes"],
    &["last", "letzte", "letzten", "letzter", "letztes"],
];

/// Which one of its kind in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nth {
    /// Written as a word: `first`.
    Word(u8),
    /// Written as a number: `1st`, `15.`.
    Number(u8),
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Minutes,
    Hours,
    Days,
    Weeks,
    Months,
}

/// What the words have said so far.
#[derive(Debug, Default)]
struct Said {
    times: BTreeSet<(u8, u8)>,
    daily: bool,
    weekly: bool,
    monthly: bool,
    interval: Option<(u32, Unit)>,
    weekdays: BTreeSet<u8>,
    nth_weekdays: BTreeSet<(u8, Nth)>,
    month_days: BTreeSet<u8>,
    last_day: bool,
    /// Ordinals whose noun has not come yet.
    pending: Vec<Nth>,
}

/// The cron texts that say the same as the words.
pub(super) fn patterns(text: &str) -> Result<Vec<String>, Problem> {
    let plain = plain(text);
    let words: Vec<&str> = plain.split_whitespace().collect();
    let mut said = Said::default();
    let mut rest = words.as_slice();
    while let [word, following @ ..] = rest {
        let taken = said.hear(word, following)?;
        rest = &following[taken..];
    }
    said.settle()?;
    said.cron()
}

/// In lower case and ASCII, with spaces where words end.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    let mut plain = String::with_capacity(lower.len());
    for c in lower.chars() {
        match c {
            'ä' => plain.push_str("ae"),
            'ö' => plain.push_str("oe"),
            'ü' => plain.push_str("ue"),
            'ß' => plain.push_str("ss"),
            ',' | ';' => plain.push(' '),
            '–' | '—' => plain.push('-'),
            c => plain.push(c),
        }
    }
    plain
}

impl Said {
    /// Takes a word, and tells how many of the following belong to it.
    fn hear(&mut self, word: &str, following: &[&str]) -> Result<usize, Problem> {
        let next = following.first().copied().unwrap_or_default();
        if let Some(day) = weekday(word) {
            return self.hear_weekday(day, following);
        }
        if let Some((from, to)) = word.split_once('-').and_then(|(from, to)| Some((weekday(from)?, weekday(to)?))) {
            self.weekdays.extend(span(from, to));
            return Ok(0);
        }
        if let Some(number) = number(word) {
            if let Some(unit) = unit(next) {
                self.every(number, unit)?;
                return Ok(1);
            }
            return match clock(number, next) {
                Some(time) => self.at(time).map(|()| 1),
                None => Err(misunderstood(word)),
            };
        }
        if let Some(time) = time(word, next) {
            let (time, taken) = time;
            return self.at(time).map(|()| taken);
        }
        if let Some(nth) = ordinal(word) {
            self.pending.push(nth);
            return Ok(0);
        }
        match word {
            "daily" | "day" | "days" | "taeglich" | "tag" | "tage" | "nightly" | "night" => self.hear_day(),
            "weekday" | "weekdays" | "werktag" | "werktags" | "werktage" | "wochentags" | "workday" | "workdays" => {
                self.weekdays.extend(1..=5);
            }
            "weekend" | "weekends" | "wochenende" | "wochenenden" => self.weekdays.extend([0, 6]),
            "weekly" | "week" | "woechentlich" | "woche" => self.weekly = true,
            "monthly" | "month" | "monatlich" | "monat" | "monats" => self.monthly = true,
            "hourly" | "hour" | "stuendlich" | "stunde" => self.every(1, Unit::Hours)?,
            "minute" => self.every(1, Unit::Minutes)?,
            _ if FILLERS.contains(&word) => {}
            _ => return Err(misunderstood(word)),
        }
        Ok(0)
    }

    fn hear_weekday(&mut self, day: u8, following: &[&str]) -> Result<usize, Problem> {
        if let ["to" | "bis" | "-" | "until" | "through", to, ..] = following
            && let Some(to) = weekday(to)
            && self.pending.is_empty()
        {
            self.weekdays.extend(span(day, to));
            return Ok(2);
        }
        if self.pending.is_empty() {
            self.weekdays.insert(day);
        }
        for nth in self.pending.drain(..) {
            if matches!(nth, Nth::Number(6..)) {
                return Err(bad("no month has so many weeks"));
            }
            self.nth_weekdays.insert((day, nth));
        }
        Ok(0)
    }

    /// `day`: of the month after an ordinal, else any.
    fn hear_day(&mut self) {
        if self.pending.is_empty() {
            self.daily = true;
        }
        for nth in std::mem::take(&mut self.pending) {
            self.month_day(nth);
        }
    }

    fn month_day(&mut self, nth: Nth) {
        match nth {
            Nth::Word(day) | Nth::Number(day) => drop(self.month_days.insert(day)),
            Nth::Last => self.last_day = true,
        }
        self.monthly = true;
    }

    fn at(&mut self, time: (u8, u8)) -> Result<(), Problem> {
        if time.0 > 23 || time.1 > 59 {
            return Err(bad(format!("{:02}:{:02} is no time of day", time.0, time.1)));
        }
        self.times.insert(time);
        Ok(())
    }

    fn every(&mut self, number: u32, unit: Unit) -> Result<(), Problem> {
        match (number, unit) {
            (1, Unit::Days) => self.daily = true,
            (1, Unit::Weeks) => self.weekly = true,
            (1, Unit::Months) => self.monthly = true,
            (_, Unit::Minutes | Unit::Hours) if self.interval.is_none() => self.interval = Some((number, unit)),
            (_, Unit::Minutes | Unit::Hours) => return Err(bad("that names two intervals")),
            (number, _) => {
                let problem = bad(format!("every {number} days, weeks or months can't be said in cron text"));
                return Err(problem.hint("name the days of the week or of the month instead"));
            }
        }
        Ok(())
    }

    /// Ordinals that stand alone are days of the month if they are numbers.
    fn settle(&mut self) -> Result<(), Problem> {
        for nth in std::mem::take(&mut self.pending) {
            match nth {
                Nth::Number(_) => self.month_day(nth),
                _ => return Err(bad("it is not said which day is meant: the first sunday, the last day?")),
            }
        }
        Ok(())
    }

    fn cron(&self) -> Result<Vec<String>, Problem> {
        let days = self.days()?;
        let Some((number, unit)) = self.interval else {
            if self.times.is_empty() {
                return Err(bad("it is not said at what time"));
            }
            // A pattern for each minute of the hour: 12:00 and 18:30 are two.
            let mut hours: BTreeMap<u8, Vec<String>> = BTreeMap::new();
            for (hour, minute) in &self.times {
                hours.entry(*minute).or_default().push(hour.to_string());
            }
            return Ok(hours.iter().map(|(minute, hours)| format!("{minute} {} {days}", hours.join(","))).collect());
        };
        if !self.times.is_empty() {
            return Err(bad("an interval and a time of day don't go together"));
        }
        let whole = if unit == Unit::Hours { 24 } else { 60 };
        if number == 0 || number > whole || !whole.is_multiple_of(number) {
            let what = if unit == Unit::Hours { "hours" } else { "minutes" };
            let fits: Vec<_> = (1..=whole).filter(|n| whole.is_multiple_of(*n)).map(|n| n.to_string()).collect();
            let problem = bad(format!(
                "every {number} {what} would not fall on the same times each {}",
                if whole == 24 { "day" } else { "hour" }
            ));
            return Err(problem.hint(format!("these do: {}", fits.join(", "))));
        }
        Ok(vec![match (number, unit) {
            (1, Unit::Minutes) => format!("* * {days}"),
            (60, Unit::Minutes) | (1, Unit::Hours) => format!("0 * {days}"),
            (24, Unit::Hours) => format!("0 0 {days}"),
            (_, Unit::Minutes) => format!("*/{number} * {days}"),
            (_, _) => format!("0 */{number} {days}"),
        }])
    }

    /// Day of the month, month and day of the week.
    fn days(&self) -> Result<String, Problem> {
        let of_month = !self.month_days.is_empty() || self.last_day;
        let ways = [of_month, !self.nth_weekdays.is_empty(), !self.weekdays.is_empty()];
        if ways.iter().filter(|way| **way).count() > 1 {
            return Err(bad("days of the month and of the week don't go together"));
        }
        if self.daily && ways.contains(&true) {
            return Err(bad("it says both every day and certain days"));
        }
        if let Some(day) = self.month_days.iter().find(|day| !(1..=31).contains(*day)) {
            return Err(bad(format!("no month has a day {day}")));
        }
        let joined = |parts: Vec<String>| parts.join(",");
        if of_month {
            let mut days: Vec<_> = self.month_days.iter().map(u8::to_string).collect();
            days.extend(self.last_day.then(|| "L".to_owned()));
            return Ok(format!("{} * *", joined(days)));
        }
        if !self.nth_weekdays.is_empty() {
            let nth = |(day, nth): &(u8, Nth)| match nth {
                Nth::Word(nth) | Nth::Number(nth) => format!("{day}#{nth}"),
                Nth::Last => format!("{day}#L"),
            };
            return Ok(format!("* * {}", joined(self.nth_weekdays.iter().map(nth).collect())));
        }
        if !self.weekdays.is_empty() {
            if self.monthly {
                return Err(bad("it is not said which of these days of the month: the first, the last?"));
            }
            return Ok(format!("* * {}", joined(self.weekdays.iter().map(u8::to_string).collect())));
        }
        match (self.daily || self.interval.is_some(), self.weekly || self.monthly) {
            (true, false) => Ok("* * *".to_owned()),
            _ => Err(bad("it is not said on which days")),
        }
    }
}

fn weekday(word: &str) -> Option<u8> {
    let position = WEEKDAYS.iter().position(|names| names.contains(&word))?;
    u8::try_from(position).ok()
}

/// The days from one to another, over the end of the week if need be.
fn span(from: u8, to: u8) -> impl Iterator<Item = u8> {
    let days = (to + 7 - from) % 7;
    (0..=days).map(move |day| (from + day) % 7)
}

fn unit(word: &str) -> Option<Unit> {
    Some(match word {
        "minutes" | "minute" | "minuten" | "min" => Unit::Minutes,
        "hours" | "hour" | "stunden" | "stunde" | "h" => Unit::Hours,
        "days" | "day" | "tage" | "tag" | "tagen" => Unit::Days,
        "weeks" | "week" | "wochen" | "woche" => Unit::Weeks,
        "months" | "month" | "monate" | "monat" | "monaten" => Unit::Months,
        _ => return None,
    })
}

fn number(word: &str) -> Option<u32> {
    (word.len() <= 4 && word.bytes().all(|byte| byte.is_ascii_digit())).then(|| word.parse().ok())?
}

fn ordinal(word: &str) -> Option<Nth> {
    if let Some(position) = ORDINALS.iter().position(|names| names.contains(&word)) {
        return Some(if position == 4 { Nth::Last } else { Nth::Word(u8::try_from(position).ok()? + 1) });
    }
    let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u8 = digits.parse().ok().filter(|_| digits.len() <= 2)?;
    matches!(&word[digits.len()..], "st" | "nd" | "rd" | "th" | "." | "ter" | "ten").then_some(Nth::Number(number))
}

/// A bare number with what follows it: `22 uhr`, `10 pm`.
fn clock(number: u32, next: &str) -> Option<(u8, u8)> {
    let hour = u8::try_from(number).ok()?;
    match next {
        "uhr" | "o'clock" => Some((hour, 0)),
        "am" | "pm" => Some((half_day(hour, next)?, 0)),
        _ => None,
    }
}

/// `22:00`, `22.30 uhr`, `10pm`, `10:30 pm`, `midnight`; with how many of the following words belong to it.
fn time(word: &str, next: &str) -> Option<((u8, u8), usize)> {
    match word {
        "midnight" | "mitternacht" => return Some(((0, 0), 0)),
        "noon" | "mittag" | "mittags" => return Some(((12, 0), 0)),
        _ => {}
    }
    let (digits, suffix) = match word.strip_suffix("am").or_else(|| word.strip_suffix("pm")) {
        Some(digits) => (digits, &word[digits.len()..]),
        None => (word, ""),
    };
    let separated = digits.split_once(':').or_else(|| digits.split_once('.').filter(|_| next == "uhr"));
    let (hour, minute) = match separated {
        Some((hour, minute)) if minute.len() == 2 => (hour, minute),
        None if !suffix.is_empty() => (digits, "00"),
        _ => return None,
    };
    let (hour, minute) = (u8::try_from(number(hour)?).ok()?, u8::try_from(number(minute)?).ok()?);
    match (suffix, next) {
        ("", "am" | "pm") if hour <= 12 => Some(((half_day(hour, next)?, minute), 1)),
        ("", _) => Some(((hour, minute), 0)),
        (suffix, _) => Some(((half_day(hour, suffix)?, minute), 0)),
    }
}

fn half_day(hour: u8, half: &str) -> Option<u8> {
    let hour = (1..=12).contains(&hour).then_some(hour % 12)?;
    Some(if half == "pm" { hour + 12 } else { hour })
}

fn misunderstood(word: &str) -> Problem {
    let word: String = word.chars().take(40).collect();
    bad(format!("\"{word}\" is not understood here"))
}

fn bad(message: impl Into<String>) -> Problem {
    Problem::new("schedule.bad_when", message).hint(EXAMPLES)
}
