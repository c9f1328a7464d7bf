//! `xenkeep schedule`: when something starts.

use clap::{Args, Subcommand, ValueEnum};
use xenkeep_api::{
    BackupType, FollowUpOn, NewSchedule, Overlap, PlannedStart, Schedule, ScheduleSettings, ScheduleStart, Target,
};

mod blackouts;

use self::blackouts::Blackouts;
use super::Context;
use crate::{
    Exit, confirm,
    output::{Column, details, table},
    progress::word,
    units,
};

/// Schedules: when tasks, groups and the upkeep of datastores start.
#[derive(Debug, Subcommand)]
pub(crate) enum Schedules {
    Create(Create),
    List(List),
    Show(Show),
    Set(Set),
    Remove(Remove),
    Enable(Enable),
    Disable(Disable),
    Next(Next),
    #[command(subcommand)]
    Blackout(Blackouts),
}

const WHEN_NOTES: &str = "\
When, in plain words (English or German) or as cron text:
  daily at 22:00                         täglich um 22 Uhr
  every weekday at 21:30                 werktags um 21:30 (Monday to Friday)
  weekly on saturday at 03:00            samstags um 3 Uhr
  first sunday of the month at 02:00     am ersten Sonntag des Monats um 02:00
  last day of the month at 23:00         am letzten Tag des Monats um 23 Uhr
  every 4 hours, every 15 minutes        alle 4 Stunden
  30 21 * * 1-5                          minute, hour, day, month, day of the week

What starts: task:NAME, group:NAME, prune:DATASTORE, verify:DATASTORE, verify-full:DATASTORE, verify-full:DATASTORE:10%.

Where the clock is put forward, a start in the hour that is left out is made once, right after it; where it is put back, a \
start in the hour that comes twice is made once, the first time. What starts in every hour goes by elapsed time.

Examples:
  xenkeep schedule create nightly --when 'every weekday at 22:00' --start group:vms --drive 13 --time-zone Europe/Vienna
  xenkeep schedule create check --when 'first sunday of the month at 04:00' --start verify-full:store:10%";

/// Create a schedule.
#[derive(Debug, Args)]
#[command(after_help = WHEN_NOTES)]
pub(crate) struct Create {
    /// Your name for it.
    name: String,
    /// When it starts: plain words or cron text.
    #[arg(long, value_name = "WHEN")]
    when: String,
    /// What it starts; may be given several times.
    #[arg(long = "start", value_name = "TARGET", required = true)]
    targets: Vec<Target>,
    #[command(flatten)]
    more: More,
    /// Make it, but let it start nothing yet.
    #[arg(long)]
    disabled: bool,
}

/// What can be said at the making and later.
#[derive(Debug, Args)]
struct More {
    /// Time zone by its IANA name, such as Europe/Vienna; without it the server's.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// A start that can't be made in time is made so many minutes late at most (60).
    #[arg(long, value_name = "MINUTES")]
    start_window: Option<u32>,
    /// What happens to a start while the jobs of the last one have not ended.
    #[arg(long, value_name = "WHAT")]
    overlap: Option<OnOverlap>,
    /// Who goes first when jobs wait: higher before lower.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Number of the drive to write through, instead of the tasks' own.
    #[arg(long, value_name = "NUMBER")]
    drive: Option<u32>,
    /// How sources are read (copy, full, incremental), instead of the tasks' own way.
    #[arg(long = "type", value_name = "TYPE")]
    backup_type: Option<BackupType>,
    /// What starts when all jobs of a start have ended; may be given several times.
    #[arg(long, value_name = "TARGET")]
    follow_up: Vec<Target>,
    /// After which ends the follow-up starts.
    #[arg(long, value_name = "WHICH")]
    follow_up_on: Option<OnEnd>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnOverlap {
    Skip,
    Queue,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OnEnd {
    Always,
    Success,
}

/// List the schedules.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Show a schedule and what became of its last starts.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name or id of the schedule.
    name: String,
}

/// Change a schedule: what is not given stays.
#[derive(Debug, Args)]
#[command(after_help = WHEN_NOTES)]
pub(crate) struct Set {
    /// Name or id of the schedule.
    name: String,
    /// When it starts: plain words or cron text.
    #[arg(long, value_name = "WHEN")]
    when: Option<String>,
    /// What it starts, instead of what it has started so far; may be given several times.
    #[arg(long = "start", value_name = "TARGET")]
    targets: Vec<Target>,
    #[command(flatten)]
    more: More,
    /// Start nothing afterwards any more.
    #[arg(long, conflicts_with = "follow_up")]
    no_follow_up: bool,
    /// Write through the tasks' own drives again.
    #[arg(long, conflicts_with = "drive")]
    no_drive: bool,
    /// Read sources in the tasks' own way again.
    #[arg(long, conflicts_with = "backup_type")]
    no_type: bool,
    /// Go by the tasks' own priorities again.
    #[arg(long, conflicts_with = "priority")]
    no_priority: bool,
}

/// Remove a schedule; the jobs that it has started stay.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id of the schedule.
    name: String,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// Let a schedule start things again, from its next start on.
#[derive(Debug, Args)]
pub(crate) struct Enable {
    /// Name or id of the schedule.
    name: String,
}

/// Let a schedule start nothing.
#[derive(Debug, Args)]
pub(crate) struct Disable {
    /// Name or id of the schedule.
    name: String,
}

/// Show the next starts.
#[derive(Debug, Args)]
pub(crate) struct Next {
    /// Name or id of a schedule; without it all that are enabled.
    name: Option<String>,
    /// For so many days from now on.
    #[arg(long, value_name = "DAYS", default_value_t = 31)]
    days: u32,
}

impl Schedules {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List(List {}) => list(context).await,
            Self::Show(Show { name }) => show(context, &name).await,
            Self::Set(set) => set.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
            Self::Enable(Enable { name }) => change(context, &name, |settings| settings.enabled = true).await,
            Self::Disable(Disable { name }) => change(context, &name, |settings| settings.enabled = false).await,
            Self::Next(next) => next.run(context).await,
            Self::Blackout(blackouts) => blackouts.run(context).await,
        }
    }
}

impl More {
    fn apply(self, settings: &mut ScheduleSettings) {
        let Self { time_zone, start_window, overlap, priority, drive, backup_type, follow_up, follow_up_on } = self;
        settings.time_zone = time_zone.or(settings.time_zone.take());
        settings.start_window_minutes = start_window.unwrap_or(settings.start_window_minutes);
        settings.overlap = match overlap {
            Some(OnOverlap::Skip) => Overlap::Skip,
            Some(OnOverlap::Queue) => Overlap::Queue,
            None => settings.overlap,
        };
        settings.priority = priority.or(settings.priority);
        settings.drive = drive.or(settings.drive);
        settings.backup_type = backup_type.or(settings.backup_type);
        if !follow_up.is_empty() {
            settings.follow_up = follow_up;
        }
        settings.follow_up_on = match follow_up_on {
            Some(OnEnd::Always) => FollowUpOn::Always,
            Some(OnEnd::Success) => FollowUpOn::Success,
            None => settings.follow_up_on,
        };
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let mut settings = ScheduleSettings {
            when: self.when,
            time_zone: None,
            start_window_minutes: 60,
            overlap: Overlap::default(),
            priority: None,
            blackouts: Vec::new(),
            targets: self.targets,
            drive: None,
            backup_type: None,
            follow_up: Vec::new(),
            follow_up_on: FollowUpOn::default(),
            enabled: !self.disabled,
        };
        self.more.apply(&mut settings);
        let schedule = context.api()?.create_schedule(&NewSchedule { name: self.name, settings }).await?;
        context.console.result(&schedule, || told("created", &schedule))?;
        Ok(Exit::Success)
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self { name, when, targets, more, no_follow_up, no_drive, no_type, no_priority } = self;
        change(context, &name, |settings| {
            settings.when = when.unwrap_or(std::mem::take(&mut settings.when));
            if !targets.is_empty() {
                settings.targets = targets;
            }
            if no_follow_up {
                settings.follow_up.clear();
            }
            settings.drive = settings.drive.take().filter(|_| !no_drive);
            settings.backup_type = settings.backup_type.take().filter(|_| !no_type);
            settings.priority = settings.priority.take().filter(|_| !no_priority);
            more.apply(settings);
        })
        .await
    }
}

async fn change(context: &Context, name: &str, with: impl FnOnce(&mut ScheduleSettings)) -> anyhow::Result<Exit> {
    let api = context.api()?;
    let mut settings = api.schedule(name).await?.settings;
    with(&mut settings);
    let schedule = api.set_schedule(name, &settings).await?;
    context.console.result(&schedule, || told("changed", &schedule))?;
    Ok(Exit::Success)
}

fn told(done: &str, schedule: &Schedule) -> String {
    let next = match (schedule.next_start, schedule.settings.enabled) {
        (Some(next), _) => format!("next start {}", units::time(next)),
        (None, true) => "it has no next start".to_owned(),
        (None, false) => "it is switched off".to_owned(),
    };
    format!("{done} schedule {} ({}): {next}", schedule.name, schedule.cron.join("; "))
}

async fn list(context: &Context) -> anyhow::Result<Exit> {
    let schedules = context.api()?.schedules().await?;
    context.console.result(&schedules, || listing(&schedules))?;
    Ok(Exit::Success)
}

fn listing(schedules: &[Schedule]) -> String {
    if schedules.is_empty() {
        return "no schedules yet: create one with `xenkeep schedule create`".to_owned();
    }
    let columns = ["NAME", "WHEN", "ZONE", "STARTS", "NEXT", "LAST", "OUTCOME"].map(Column::Text);
    let rows = schedules.iter().map(|schedule| {
        let settings = &schedule.settings;
        [
            schedule.name.clone(),
            settings.when.clone(),
            settings.time_zone.clone().unwrap_or_default(),
            targets(&settings.targets),
            if settings.enabled { schedule.next_start.map(units::time).unwrap_or_default() } else { "off".to_owned() },
            schedule.last_start.as_ref().map(|start| units::time(start.at)).unwrap_or_default(),
            schedule.last_start.as_ref().map(|start| word(&start.outcome)).unwrap_or_default(),
        ]
    });
    table(columns, rows)
}

fn targets(targets: &[Target]) -> String {
    targets.iter().map(Target::to_string).collect::<Vec<_>>().join(", ")
}

async fn show(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let api = context.api()?;
    let (schedule, starts) = (api.schedule(name).await?, api.schedule_starts(name).await?);
    let both = serde_json::json!({ "schedule": schedule, "starts": starts });
    context.console.result(&both, || shown(&schedule, &starts))?;
    Ok(Exit::Success)
}

fn shown(schedule: &Schedule, starts: &[ScheduleStart]) -> String {
    let settings = &schedule.settings;
    let follow_up = match settings.follow_up.is_empty() {
        true => String::new(),
        false => format!("{} ({})", targets(&settings.follow_up), word(&settings.follow_up_on)),
    };
    let mut text = details([
        ("name", schedule.name.clone()),
        ("id", schedule.id.to_string()),
        ("when", settings.when.clone()),
        ("cron", schedule.cron.join("; ")),
        ("time zone", settings.time_zone.clone().unwrap_or_default()),
        ("starts", targets(&settings.targets)),
        ("drive", settings.drive.map(|drive| drive.to_string()).unwrap_or_default()),
        ("type", settings.backup_type.map(|kind| kind.to_string()).unwrap_or_default()),
        ("priority", settings.priority.map(|priority| priority.to_string()).unwrap_or_default()),
        ("start window", format!("{} minutes", settings.start_window_minutes)),
        ("overlap", word(&settings.overlap)),
        ("afterwards", follow_up),
        ("enabled", if settings.enabled { "yes" } else { "no" }.to_owned()),
        ("next start", schedule.next_start.map(units::time).unwrap_or_default()),
    ]);
    if !settings.blackouts.is_empty() {
        let rows = settings.blackouts.iter().map(|one| [one.from.to_string(), one.to.to_string(), one.reason.clone()]);
        text += &format!("\n{}\n", table(["BLACKOUT FROM", "TO", "REASON"].map(Column::Text), rows));
    }
    if !starts.is_empty() {
        let rows = starts.iter().take(10).map(|start| {
            [
                units::time(start.at),
                word(&start.outcome),
                start.run.map(|run| run.to_string()).unwrap_or_default(),
                start.follow_up.as_ref().map(word).unwrap_or_default(),
                start.problem.as_ref().map(|problem| problem.message.clone()).unwrap_or_default(),
            ]
        });
        text += &format!("\n{}\n", table(["START", "OUTCOME", "RUN", "AFTERWARDS", "PROBLEM"].map(Column::Text), rows));
    }
    text
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let schedule = api.schedule(&self.name).await?;
        let name = &schedule.name;
        if !self.yes {
            let consequences = format!("schedule {name} starts {} no more", targets(&schedule.settings.targets));
            if !confirm::ask(context.console, &consequences, &format!("remove schedule {name}?"))? {
                return Ok(Exit::Failed);
            }
        }
        api.remove_schedule(name).await?;
        context.console.result(&serde_json::json!({ "removed": name }), || format!("removed schedule {name}"))?;
        Ok(Exit::Success)
    }
}

impl Next {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let starts = context.api()?.planned_starts(self.name.as_deref(), self.days).await?;
        context.console.result(&starts, || planned(&starts, self.days))?;
        Ok(Exit::Success)
    }
}

fn planned(starts: &[PlannedStart], days: u32) -> String {
    if starts.is_empty() {
        return format!("nothing starts in the next {days} days");
    }
    let rows = starts.iter().map(|start| {
        let left_out = start.left_out.as_ref().map(|reason| format!("left out: {reason}")).unwrap_or_default();
        [start.local.clone(), start.schedule.clone(), left_out]
    });
    table(["START", "SCHEDULE", ""].map(Column::Text), rows)
}

#[cfg(test)]
mod tests;
