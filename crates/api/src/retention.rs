//! Retention: which restore points a policy keeps, and why.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DatastoreId, Job, Point};

/// How many restore points of a VM, of which kind, are kept. A point that any of the rules keeps is kept.
///
/// Each rule looks at the points from the newest to the oldest and keeps the newest one of each hour, day, week (ISO,
/// from Monday), month or year that has points, until it has kept so many. While a rule has kept fewer than it may, it
/// also keeps the oldest point of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionPolicy {
    /// The newest points.
    pub keep_last: u32,
    /// The newest point of so many hours.
    pub keep_hourly: u32,
    /// The newest point of so many days.
    pub keep_daily: u32,
    /// The newest point of so many weeks.
    pub keep_weekly: u32,
    /// The newest point of so many months.
    pub keep_monthly: u32,
    /// The newest point of so many years.
    pub keep_yearly: u32,
    /// All points that are no older than this, seen from the newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "14d")]
    pub keep_within: Option<KeepWithin>,
}

impl RetentionPolicy {
    /// It keeps something. One that keeps nothing is a mistake, and refused.
    #[must_use]
    pub fn keeps_something(&self) -> bool {
        let counts =
            [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly];
        counts.iter().any(|count| *count > 0) || self.keep_within.is_some_and(|within| !within.is_zero())
    }
}

/// A time of the calendar, as restic writes it: `1y6m`, `2w`, `14d`, `36h`. Months are `m`; there are no minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepWithin {
    /// Years.
    pub years: u16,
    /// Months.
    pub months: u16,
    /// Days; a week is seven.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

/// Text that is no [`KeepWithin`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no time: 14d, 2w, 36h or 1y6m is meant (y years, m months, w weeks, d days, h hours)")]
pub struct NotATime(String);

impl KeepWithin {
    /// No time at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, number: &str, unit: char) -> Option<()> {
        fn sum<T: FromStr>(old: T, number: &str, add: impl FnOnce(T, T) -> Option<T>) -> Option<T> {
            add(old, number.parse().ok()?)
        }
        match unit {
            'y' => self.years = sum(self.years, number, u16::checked_add).filter(|years| *years < 10_000)?,
            'm' => self.months = sum(self.months, number, u16::checked_add)?,
            'w' => {
                let weeks: u32 = number.parse().ok()?;
                self.days = weeks.checked_mul(7)?.checked_add(self.days)?;
            }
            'd' => self.days = sum(self.days, number, u32::checked_add)?,
            'h' => self.hours = sum(self.hours, number, u32::checked_add)?,
            _ => return None,
        }
        // What jiff can subtract, and nobody means.
        (self.days < 4_000_000 && self.hours < 100_000_000).then_some(())
    }
}

impl FromStr for KeepWithin {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let bad = || NotATime(text.chars().filter(|c| !c.is_control()).take(40).collect());
        let (mut time, mut rest) = (Self::default(), text.trim());
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let unit = rest[end..].chars().next().ok_or_else(bad)?;
            time.add(&rest[..end], unit).ok_or_else(bad)?;
            rest = &rest[end + unit.len_utf8()..];
        }
        if time.is_zero() { Err(bad()) } else { Ok(time) }
    }
}

impl fmt::Display for KeepWithin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(u32::from(self.years), 'y'), (u32::from(self.months), 'm'), (self.days, 'd'), (self.hours, 'h')];
        for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
            write!(f, "{number}{unit}")?;
        }
        if self.is_zero() { f.write_str("0h") } else { Ok(()) }
    }
}

impl Serialize for KeepWithin {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeepWithin {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a point is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeepReason {
    /// One of the newest.
    Last,
    /// The newest of its hour.
    Hourly,
    /// The newest of its day.
    Daily,
    /// The newest of its week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// Young enough.
    Within,
    /// The oldest of all, while a rule has not kept as many as it may.
    Oldest,
    /// The newest good point of its VM, which no policy removes.
    LastGood,
    /// Protected.
    Protected,
    /// More than a day ahead of the server's clock: one of the two clocks is wrong, so its age says nothing.
    Future,
    /// A job reads it, or is about to.
    InUse,
}

/// Apply a policy to the points of each VM in each datastore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    /// Only VMs of this client: name or id.
    #[serde(default)]
    pub client: Option<String>,
    /// Only this VM: name-label or uuid. All of its points are looked at, also those that it bore another name in.
    #[serde(default)]
    pub vm: Option<String>,
    /// Only points in this datastore: name or id.
    #[serde(default)]
    pub datastore: Option<String>,
    /// What to keep.
    pub policy: RetentionPolicy,
    /// Time zone in which days begin and end, such as `Europe/Vienna`; the server's own if absent.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Remove only these of the points that the policy removes: those that somebody has seen and agreed to.
    #[serde(default)]
    pub agreed: Option<Vec<String>>,
}

/// What a policy keeps and removes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetentionPlan {
    /// The policy.
    pub policy: RetentionPolicy,
    /// The time zone in which days begin and end.
    pub time_zone: String,
    /// The VMs, by client, name and datastore.
    pub groups: Vec<RetentionGroup>,
}

impl RetentionPlan {
    /// The points that it removes.
    pub fn removed(&self) -> impl Iterator<Item = &Point> {
        self.groups
            .iter()
            .flat_map(|group| &group.points)
            .filter(|planned| planned.removed())
            .map(|planned| &planned.point)
    }
}

/// The points of one VM, pool or host in one datastore.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetentionGroup {
    /// Name of the client.
    pub client_name: String,
    /// uuid of the VM, the pool or the host.
    pub source_uuid: String,
    /// Its name-label in its newest point.
    pub source_name: String,
    /// The datastore.
    pub datastore: DatastoreId,
    /// Its points, newest first.
    pub points: Vec<PlannedPoint>,
}

/// A point, and why it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedPoint {
    /// The point.
    pub point: Point,
    /// Why it is kept; without any reason it is removed.
    pub kept: Vec<KeepReason>,
}

impl PlannedPoint {
    /// Nothing keeps it.
    #[must_use]
    pub fn removed(&self) -> bool {
        self.kept.is_empty()
    }
}

/// A policy that is being applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RetentionStarted {
    /// What it keeps and removes.
    pub plan: RetentionPlan,
    /// The jobs that remove: one a datastore, none if there is nothing to remove.
    pub jobs: Vec<Job>,
}

/// Remove restore points for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// Ids of the points, or unique prefixes.
    pub points: Vec<String>,
}

/// Keep a restore point from being removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProtectRequest {
    /// Why, for whoever wants to remove it.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_restic_writes_them() {
        let time = |years, months, days, hours| KeepWithin { years, months, days, hours };
        for (text, expected, shown) in [
            ("14d", time(0, 0, 14, 0), "14d"),
            ("2w", time(0, 0, 14, 0), "14d"),
            ("1y6m3d36h", time(1, 6, 3, 36), "1y6m3d36h"),
            (" 1d1d ", time(0, 0, 2, 0), "2d"),
        ] {
            let parsed: KeepWithin = text.parse().unwrap();
            assert_eq!((parsed, parsed.to_string().as_str()), (expected, shown), "{text}");
            assert_eq!(parsed.to_string().parse::<KeepWithin>().unwrap(), parsed);
        }
        let huge = "9".repeat(400);
        for bad in ["", "0d", "14", "d", "-1d", "1.5d", "3 days", "4s", "99999999d", "10000y", &huge, "1é"] {
            assert!(bad.parse::<KeepWithin>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_policy_is_short_json() {
        let policy: RetentionPolicy = serde_json::from_str(r#"{"keep_last": 3, "keep_within": "14d"}"#).unwrap();
        assert_eq!((policy.keep_last, policy.keep_within), (3, "14d".parse().ok()));
        assert!(policy.keeps_something());
        assert!(!RetentionPolicy::default().keeps_something());
        assert!(serde_json::from_str::<RetentionPolicy>(r#"{"keep_lats": 3}"#).is_err());
        assert!(serde_json::from_str::<RetentionPolicy>(r#"{"keep_last": -1}"#).is_err());
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<RetentionPolicy>(&json).unwrap(), policy);
    }
}
