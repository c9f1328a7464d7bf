//! Schedules: when tasks, groups and the upkeep of datastores start.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{BackupType, Problem, RunId, ScheduleId, VerifyDepth, VerifyRequest};

/// When something starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Schedule {
    /// Our id of it.
    pub id: ScheduleId,
    /// The administrator's name for it; unique.
    pub name: String,
    /// What starts, and when.
    pub settings: ScheduleSettings,
    /// `when` as cron text; plain words may need several.
    pub cron: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Its next start that is not left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_start: Option<Timestamp>,
    /// What became of its last start.
    pub last_start: Option<ScheduleStart>,
}

/// What starts, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSettings {
    /// Cron text (`0 22 * * 1-5`) or plain words (`every weekday at 22:00`, `werktags um 22 Uhr`).
    pub when: String,
    /// Time zone by its IANA name, such as `Europe/Vienna`; without it the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// A start that can't be made in time is made so many minutes late at most; after that it is missed.
    #[serde(default = "start_window")]
    pub start_window_minutes: u32,
    /// What happens to a start while the jobs of the last one have not all ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// Who goes first when jobs wait; without it as the tasks say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// When nothing starts.
    #[serde(default)]
    pub blackouts: Vec<Blackout>,
    /// What starts.
    pub targets: Vec<Target>,
    /// Number of the drive to write through; without it as the tasks say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drive: Option<u32>,
    /// How sources are read; without it as the tasks say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<BackupType>,
    /// What starts when all jobs of a start have ended.
    #[serde(default)]
    pub follow_up: Vec<Target>,
    /// After which ends.
    #[serde(default)]
    pub follow_up_on: FollowUpOn,
    /// It starts something at all.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn start_window() -> u32 {
    60
}

fn yes() -> bool {
    true
}

/// What the administrator says to make a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSchedule {
    /// The administrator's name for it.
    pub name: String,
    /// What starts, and when.
    pub settings: ScheduleSettings,
}

/// What happens to a start while the jobs of the last one have not all ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It waits for them, within its window; of several only one.
    Queue,
}

/// After which ends a follow-up starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FollowUpOn {
    /// After every one.
    #[default]
    Always,
    /// Only if all jobs ended well.
    Success,
}

/// Something that a schedule starts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Target {
    /// A task.
    Task {
        /// Its name.
        name: String,
    },
    /// A group.
    Group {
        /// Its name.
        name: String,
    },
    /// A prune.
    Prune {
        /// Name of the datastore.
        datastore: String,
    },
    /// A verification.
    Verify {
        /// Name of the datastore.
        datastore: String,
        /// What of it, and how thoroughly.
        #[serde(default)]
        request: VerifyRequest,
    },
}

/// Text that is no [`Target`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is nothing to start: task:NAME, group:NAME, prune:DATASTORE, verify:DATASTORE, verify-full:DATASTORE or verify-full:DATASTORE:10% is meant"
)]
pub struct NotATarget(String);

impl FromStr for Target {
    type Err = NotATarget;

    fn from_str(text: &str) -> Result<Self, NotATarget> {
        let bad = || NotATarget(text.chars().filter(|c| !c.is_control()).take(80).collect());
        let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(bad)?;
        let name = name.to_owned();
        Ok(match kind {
            "task" => Self::Task { name },
            "group" => Self::Group { name },
            "prune" => Self::Prune { datastore: name },
            "verify" => Self::Verify { datastore: name, request: VerifyRequest::default() },
            "verify-full" => {
                let full = VerifyRequest { depth: VerifyDepth::Full, ..VerifyRequest::default() };
                match name.split_once(':') {
                    None => Self::Verify { datastore: name, request: full },
                    Some((datastore, share)) => {
                        let share = share.trim_end_matches('%').parse().map_err(|_| bad())?;
                        let request = VerifyRequest { share_percent: Some(share), ..full };
                        Self::Verify { datastore: datastore.to_owned(), request }
                    }
                }
            }
            _ => return Err(bad()),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { name } => write!(f, "task:{name}"),
            Self::Group { name } => write!(f, "group:{name}"),
            Self::Prune { datastore } => write!(f, "prune:{datastore}"),
            Self::Verify { datastore, request } => match (request.depth, request.share_percent) {
                (VerifyDepth::Quick, _) => write!(f, "verify:{datastore}"),
                (VerifyDepth::Full, None) => write!(f, "verify-full:{datastore}"),
                (VerifyDepth::Full, Some(share)) => write!(f, "verify-full:{datastore}:{share}%"),
            },
        }
    }
}

/// What became of one start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleStart {
    /// When it was to happen.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// When that was decided.
    #[schema(value_type = String, format = DateTime)]
    pub decided_at: Timestamp,
    /// What became of it.
    pub outcome: StartOutcome,
    /// All its jobs bear this id.
    pub run: Option<RunId>,
    /// Why it has started nothing.
    pub problem: Option<Problem>,
    /// What became of its follow-up; none if there is none.
    pub follow_up: Option<FollowUpState>,
    /// All jobs of the follow-up bear this id.
    pub follow_up_run: Option<RunId>,
}

/// What became of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartOutcome {
    /// It waits for the jobs of the start before it.
    Waiting,
    /// Its jobs were queued.
    Started,
    /// It could not be made within its window.
    Missed,
    /// It was left out because the jobs of the start before it had not ended.
    Skipped,
    /// Nothing could be started.
    Failed,
}

/// What became of a follow-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FollowUpState {
    /// The jobs before it have not all ended.
    Waiting,
    /// Its jobs were queued.
    Started,
    /// The jobs before it have not all ended well.
    Skipped,
    /// Nothing could be started.
    Failed,
}

/// A start to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlannedStart {
    /// Of this schedule.
    pub schedule: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The same by the schedule's wall clock, with its offset.
    #[schema(example = "2026-12-24 22:00 +01:00")]
    pub local: String,
    /// The blackout for which it is left out.
    pub left_out: Option<String>,
}

/// Days to add to the blackouts of a schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BlackoutRequest {
    /// One by one.
    pub blackouts: Vec<Blackout>,
    /// Text of a calendar file (RFC 5545): all its events.
    pub calendar: Option<String>,
}

/// Days or hours on which a schedule starts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Blackout {
    /// First day, or first moment, by the wall clock of the schedule's time zone.
    #[schema(value_type = String, example = "2026-12-24")]
    pub from: DayOrTime,
    /// Last day, or first moment after it.
    #[schema(value_type = String, example = "2027-01-01")]
    pub to: DayOrTime,
    /// Why, for people.
    pub reason: String,
}

impl Blackout {
    /// Whether a moment by the schedule's wall clock lies in it.
    #[must_use]
    pub fn covers(&self, at: DateTime) -> bool {
        self.from.begin() <= at && at < self.to.end()
    }
}

/// A day (`2026-12-24`) or a moment of a day (`2026-12-24T18:00`), by some wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayOrTime {
    /// A whole day.
    Day(Date),
    /// A moment.
    Time(DateTime),
}

impl DayOrTime {
    /// Its first moment.
    #[must_use]
    pub fn begin(self) -> DateTime {
        match self {
            Self::Day(day) => day.to_datetime(Time::midnight()),
            Self::Time(time) => time,
        }
    }

    /// The first moment after it; a moment has no length.
    #[must_use]
    pub fn end(self) -> DateTime {
        match self {
            Self::Day(day) => day.tomorrow().map_or(DateTime::MAX, |next| next.to_datetime(Time::midnight())),
            Self::Time(time) => time,
        }
    }
}

/// Text that is no [`DayOrTime`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no day and no time: 2026-12-24 or 2026-12-24T18:00 is meant")]
pub struct NotADay(String);

impl FromStr for DayOrTime {
    type Err = NotADay;

    fn from_str(text: &str) -> Result<Self, NotADay> {
        let day = Date::strptime("%Y-%m-%d", text).map(Self::Day);
        let time = |format| DateTime::strptime(format, text).map(Self::Time);
        day.or_else(|_| time("%Y-%m-%dT%H:%M"))
            .or_else(|_| time("%Y-%m-%dT%H:%M:%S"))
            .map_err(|_| NotADay(text.chars().filter(|c| !c.is_control()).take(40).collect()))
    }
}

impl fmt::Display for DayOrTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(day) => write!(f, "{day}"),
            Self::Time(time) if time.second() == 0 => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M")),
            Self::Time(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S")),
        }
    }
}

impl Serialize for DayOrTime {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DayOrTime {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
