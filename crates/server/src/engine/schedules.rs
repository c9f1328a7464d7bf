//! Schedules: made, shown, changed. What starts them is in `starter`, what they start in `targets`.

mod starter;
mod targets;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use xenkeep_api::{
    Blackout, BlackoutRequest, NewSchedule, PlannedStart, Problem, Schedule, ScheduleId, ScheduleSettings,
    ScheduleStart,
};

use super::calendar::{self, Calendar, When};
use super::{Engine, names};
use crate::Error;

/// Longest start window: a week.
const MAX_WINDOW_MINUTES: u32 = 7 * 24 * 60;
/// Most blackouts of a schedule, and most things that it starts.
const MAX_BLACKOUTS: usize = 2000;
const MAX_TARGETS: usize = 100;
/// Starts that one answer shows, and days that it looks ahead, at most.
const PLANNED: usize = 1000;
const MAX_DAYS: u32 = 400;
/// Starts of the past that one answer shows.
const STARTS: u32 = 100;

impl Engine {
    /// All schedules, by name.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, Error> {
        Ok(self.0.catalog.schedules().await?.into_iter().map(with_cron).collect())
    }

    /// The schedule of a name or an id.
    pub async fn schedule(&self, name_or_id: &str) -> Result<Schedule, Error> {
        Ok(with_cron(self.0.catalog.schedule(name_or_id).await?))
    }

    /// Makes a schedule. Its first start is the next one from now.
    pub async fn create_schedule(&self, new: NewSchedule) -> Result<Schedule, Error> {
        names::check_name("schedule", &new.name)?;
        let (settings, calendar) = self.checked(new.settings).await?;
        let now = self.0.clock.now();
        let next_start = if settings.enabled { calendar.next_after(now) } else { None };
        let (id, cron) = (ScheduleId::random(), Vec::new());
        let schedule = Schedule { id, name: new.name, settings, cron, created_at: now, next_start, last_start: None };
        self.0.catalog.insert_schedule(&schedule, now).await?;
        Ok(with_cron(schedule))
    }

    /// Changes a schedule. What was due before now and has not started is forgotten.
    pub async fn set_schedule(&self, name_or_id: &str, settings: ScheduleSettings) -> Result<Schedule, Error> {
        let schedule = self.schedule(name_or_id).await?;
        let (settings, calendar) = self.checked(settings).await?;
        let now = self.0.clock.now();
        let next = if settings.enabled { calendar.next_after(now) } else { None };
        self.0.catalog.set_schedule(schedule.id, &settings, next, now).await?;
        self.schedule(&schedule.id.to_string()).await
    }

    /// Removes a schedule; the jobs that it has started stay.
    pub async fn remove_schedule(&self, name_or_id: &str) -> Result<(), Error> {
        let schedule = self.schedule(name_or_id).await?;
        Ok(self.0.catalog.remove_schedule(schedule.id).await?)
    }

    /// The last starts of a schedule, the newest first.
    pub async fn schedule_starts(&self, name_or_id: &str) -> Result<Vec<ScheduleStart>, Error> {
        let schedule = self.schedule(name_or_id).await?;
        Ok(self.0.catalog.schedule_starts(schedule.id, STARTS).await?)
    }

    /// The starts of the next days, of one schedule or of all that are enabled, the next first.
    pub async fn planned_starts(&self, schedule: Option<&str>, days: u32) -> Result<Vec<PlannedStart>, Error> {
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(invalid(format!("starts can be shown for 1 to {MAX_DAYS} days")));
        }
        let schedules = match schedule {
            Some(name) => vec![self.schedule(name).await?],
            None => self.schedules().await?.into_iter().filter(|one| one.settings.enabled).collect(),
        };
        let now = self.0.clock.now();
        let until = now.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(now);
        let mut planned = Vec::new();
        for schedule in schedules {
            let calendar = self.calendar(&schedule.settings)?;
            planned.extend(calendar.planned(now, until, PLANNED).into_iter().map(|start| PlannedStart {
                schedule: schedule.name.clone(),
                at: start.at,
                local: start.at.to_zoned(calendar.zone.clone()).strftime("%Y-%m-%d %H:%M %:z").to_string(),
                left_out: start.left_out,
            }));
        }
        planned.sort_by(|a, b| (a.at, &a.schedule).cmp(&(b.at, &b.schedule)));
        planned.truncate(PLANNED);
        Ok(planned)
    }

    /// Adds blackouts to a schedule, one by one or out of a calendar file.
    pub async fn add_blackouts(&self, name_or_id: &str, request: BlackoutRequest) -> Result<Schedule, Error> {
        let schedule = self.schedule(name_or_id).await?;
        let mut settings = schedule.settings;
        let mut new = request.blackouts;
        if let Some(text) = &request.calendar {
            let zone = self.schedule_zone(&settings)?;
            let today = zone.to_datetime(self.0.clock.now()).date();
            new.extend(calendar::read_blackouts(text, &zone, today).map_err(Error::Invalid)?);
        }
        new.retain(|blackout| !settings.blackouts.contains(blackout));
        settings.blackouts.extend(new);
        settings.blackouts.sort_by_key(|blackout| blackout.from.begin());
        self.set_schedule(&schedule.id.to_string(), settings).await
    }

    /// Settings that make sense, with the names that they mention known.
    async fn checked(&self, mut settings: ScheduleSettings) -> Result<(ScheduleSettings, Calendar), Error> {
        settings.when = settings.when.trim().to_owned();
        let zone = self.schedule_zone(&settings)?;
        settings.time_zone = Some(zone.iana_name().unwrap_or("UTC").to_owned());
        if !(1..=MAX_WINDOW_MINUTES).contains(&settings.start_window_minutes) {
            return Err(invalid(format!("a start window has 1 to {MAX_WINDOW_MINUTES} minutes")));
        }
        if settings.blackouts.len() > MAX_BLACKOUTS {
            return Err(invalid(format!("a schedule has at most {MAX_BLACKOUTS} blackouts")));
        }
        settings.blackouts.iter().try_for_each(check_blackout)?;
        if settings.targets.is_empty() || settings.targets.len() + settings.follow_up.len() > MAX_TARGETS {
            let problem = Problem::new("schedule.no_target", format!("a schedule starts 1 to {MAX_TARGETS} things"));
            return Err(Error::Invalid(problem.hint("name a task, a group, or a datastore to prune or verify")));
        }
        let calendar = self.calendar(&settings)?;
        if calendar.when.next_after(&calendar.zone, self.0.clock.now()).is_none() {
            let problem = Problem::new("schedule.never", format!("\"{}\" never comes", settings.when));
            return Err(Error::Invalid(problem.hint("look at the day of the month and the month")));
        }
        // What can't be started now would fail each time. One that is switched off may wait for better days.
        if settings.enabled {
            self.start_jobs(&settings, &settings.targets, "", None).await?;
            self.start_jobs(&settings, &settings.follow_up, "", None).await?;
        }
        Ok((settings, calendar))
    }

    fn calendar(&self, settings: &ScheduleSettings) -> Result<Calendar, Error> {
        let when = When::parse(&settings.when).map_err(Error::Invalid)?;
        Ok(Calendar { when, zone: self.schedule_zone(settings)?, blackouts: settings.blackouts.clone() })
    }

    fn schedule_zone(&self, settings: &ScheduleSettings) -> Result<TimeZone, Error> {
        self.zone(settings.time_zone.as_deref().filter(|name| !name.is_empty()))
    }
}

fn with_cron(schedule: Schedule) -> Schedule {
    let cron = When::parse(&schedule.settings.when).map(|when| when.cron_texts()).unwrap_or_default();
    Schedule { cron, ..schedule }
}

fn check_blackout(blackout: &Blackout) -> Result<(), Error> {
    names::check_label("the reason of a blackout", &blackout.reason)?;
    if blackout.from.begin() >= blackout.to.end() {
        return Err(invalid(format!("the blackout from {} to {} has no length", blackout.from, blackout.to)));
    }
    Ok(())
}

fn invalid(message: String) -> Error {
    Error::Invalid(Problem::new("request.invalid", message))
}

/// An instant as a person at the schedule's place would say it.
fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}
