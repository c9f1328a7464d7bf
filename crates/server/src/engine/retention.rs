//! Which points a policy keeps: a function of the points, the policy, a time zone and the present time, and nothing else.
//!
//! The rules are restic's (`restic forget --keep-…`), so that who knows those knows these; where the two differ, more is
//! kept here:
//!
//! | points that are … | here |
//! |---|---|
//! | protected | kept, and not counted by any rule: protecting a point removes no other |
//! | more than a day ahead of our clock | kept, not counted: or a pool whose clock once was wrong would hold the place of the newest point for ever |
//! | damaged | counted; but the rules are applied to the points without them as well, so that no good one goes because a damaged one is newer |
//! | in the hour that a change of daylight saving time repeats | two hours, not one |
//! | the newest good one | kept, whatever the policy |
//!
//! `keep_within` is seen from the newest point, not from now: a VM that is no longer backed up keeps what it had.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, Zoned};
use xenkeep_api::{KeepReason, KeepWithin, RetentionPolicy};

/// How far ahead of our clock a point's time may be and still be believed. Pools whose clock runs in local time are off
/// by up to 14 hours.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// What matters of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// When its disks were frozen.
    pub(crate) taken_at: Timestamp,
    /// It must not be removed.
    pub(crate) protected: bool,
    /// It can't be restored whole.
    pub(crate) damaged: bool,
}

/// For each of the points of one VM (in any order), why `policy` keeps it. A point without a reason goes.
pub(crate) fn retain(
    policy: &RetentionPolicy,
    points: &[Candidate],
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<BTreeSet<KeepReason>> {
    let mut kept = vec![BTreeSet::new(); points.len()];
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by_key(|&index| (Reverse(points[index].taken_at), points[index].damaged));
    let believed_until = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let (future, present): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|&index| points[index].taken_at > believed_until);
    for index in future {
        kept[index].insert(KeepReason::Future);
    }
    for &index in present.iter().filter(|&&index| points[index].protected) {
        kept[index].insert(KeepReason::Protected);
    }
    let good: Vec<usize> = present.iter().copied().filter(|&index| !points[index].damaged).collect();
    apply(policy, points, &present, zone, &mut kept);
    if good.len() < present.len() {
        apply(policy, points, &good, zone, &mut kept);
    }
    if let Some(&newest) = good.first().or(present.first())
        && kept[newest].is_empty()
    {
        kept[newest].insert(KeepReason::LastGood);
    }
    kept
}

/// Applies all rules to the points that `order` names, newest first.
fn apply(
    policy: &RetentionPolicy,
    points: &[Candidate],
    order: &[usize],
    zone: &TimeZone,
    kept: &mut [BTreeSet<KeepReason>],
) {
    let Some(&newest) = order.first() else { return };
    let counted: Vec<usize> = order.iter().copied().filter(|&index| !points[index].protected).collect();
    let rules = [
        (KeepReason::Last, policy.keep_last),
        (KeepReason::Hourly, policy.keep_hourly),
        (KeepReason::Daily, policy.keep_daily),
        (KeepReason::Weekly, policy.keep_weekly),
        (KeepReason::Monthly, policy.keep_monthly),
        (KeepReason::Yearly, policy.keep_yearly),
    ];
    for (rule, number) in rules {
        keep_newest_of_each(rule, number, points, &counted, zone, kept);
    }
    if let Some(within) = policy.keep_within.filter(|within| !within.is_zero()) {
        let limit = before(points[newest].taken_at, within, zone);
        for &index in counted.iter().filter(|&&index| points[index].taken_at > limit) {
            kept[index].insert(KeepReason::Within);
        }
    }
}

/// Keeps the newest point of each of the newest `number` periods that have points; and the oldest, if there are fewer.
fn keep_newest_of_each(
    rule: KeepReason,
    number: u32,
    points: &[Candidate],
    counted: &[usize],
    zone: &TimeZone,
    kept: &mut [BTreeSet<KeepReason>],
) {
    let number = number as usize;
    let mut seen = HashSet::new();
    for &index in counted {
        if seen.len() == number {
            return;
        }
        let local = points[index].taken_at.to_zoned(zone.clone());
        if seen.insert(period(rule, &local, index)) {
            kept[index].insert(rule);
        }
    }
    if let (Some(&oldest), true) = (counted.last(), seen.len() < number)
        && !kept[oldest].contains(&rule)
    {
        kept[oldest].insert(KeepReason::Oldest);
    }
}

/// What two points have in common if they lie in the same period.
fn period(rule: KeepReason, local: &Zoned, index: usize) -> (i64, i64) {
    let (year, month) = (i64::from(local.year()), i64::from(local.month()));
    match rule {
        // The offset tells the two hours apart that bear the same name when daylight saving time ends.
        KeepReason::Hourly => {
            let day = year * 10_000 + month * 100 + i64::from(local.day());
            (day * 100 + i64::from(local.hour()), i64::from(local.offset().seconds()))
        }
        KeepReason::Daily => (year * 100 + month, i64::from(local.day())),
        KeepReason::Weekly => {
            let week = local.date().iso_week_date();
            (i64::from(week.year()), i64::from(week.week()))
        }
        KeepReason::Monthly => (year, month),
        KeepReason::Yearly => (year, 0),
        _ => (index as i64, 0),
    }
}

/// So much earlier, by the calendar; the beginning of time if that is out of reach.
fn before(at: Timestamp, within: KeepWithin, zone: &TimeZone) -> Timestamp {
    let span = Span::new()
        .try_years(within.years)
        .and_then(|span| span.try_months(within.months))
        .and_then(|span| span.try_days(within.days))
        .and_then(|span| span.try_hours(within.hours));
    let earlier = span.and_then(|span| at.to_zoned(zone.clone()).checked_sub(span));
    earlier.map_or(Timestamp::MIN, |earlier| earlier.timestamp())
}

#[cfg(test)]
mod tests;
