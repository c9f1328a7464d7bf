//! Numbers as people read them.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// `512 B`, `4.0 GiB`, `120 MiB`: three digits at most, in powers of 1024.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would be shown as 1024 or 1000 of one unit is shown in the next one.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 99.95 { format!("{value:.1} {}", UNITS[unit]) } else { format!("{value:.0} {}", UNITS[unit]) }
}

/// `120 MiB/s`; nothing when no time has passed.
pub(crate) fn rate(bytes: u64, time: Duration) -> Option<String> {
    let seconds = time.as_secs_f64();
    (seconds > 0.0).then(|| format!("{}/s", size((bytes as f64 / seconds) as u64)))
}

/// `0.4 s`, `1 s`, `12 s`, `3 min 05 s`, `2 h 07 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 if time.subsec_millis() > 0 => format!("{:.1} s", time.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// How many times `stored` fits into `whole`: `4.4`; nothing when nothing was stored.
pub(crate) fn ratio(whole: u64, stored: u64) -> Option<String> {
    (stored > 0).then(|| format!("{:.1}", whole as f64 / stored as f64))
}

/// Date and time of this machine's zone.
pub(crate) fn time(at: Timestamp) -> String {
    // What the tests print must be the same on every machine.
    let zone = if cfg!(test) { TimeZone::UTC } else { TimeZone::system() };
    at.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Time from one instant to a later one; none if the clock went backwards.
pub(crate) fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests;
