//! What is due is started: once, in time, or not at all.
//!
//! Every second the schedules are asked whose next start has come. All starts since the moment up to which they have been
//! decided are decided together:
//!
//! | a start | becomes |
//! |---|---|
//! | the latest, within its window | started; or skipped, or waiting, while the jobs of the start before it have not ended |
//! | an earlier one, or one whose window is over | missed: one line for all of them, and a report |
//! | whose tasks can't be started | failed, with the reason, and a report |
//!
//! Decision and jobs are one transaction of the catalogue, which fails if somebody else has decided meanwhile. So it does
//! not matter whether this server was down, how late the clock rings, or whether another server looks at the same time.

use jiff::{SignedDuration, Timestamp};
use xenkeep_api::{FollowUpOn, FollowUpState, Job, Overlap, Problem, ReportKind, RunId, ScheduleStart, StartOutcome};
use xenkeep_catalog::{DueSchedule, NewStart, PendingStart};

use super::super::{Engine, reports};
use super::targets::{ids, minutes_after};
use super::{Calendar, local};
use crate::Error;

/// Missed starts that are counted one by one.
const COUNTED: usize = 1000;
/// A schedule that can't be understood any more is looked at again after this.
const AGAIN: SignedDuration = SignedDuration::from_mins(10);

impl Engine {
    /// Starts what is due now, and sees to what waits. The engine's own loop calls it each second.
    pub async fn start_due(&self) -> Result<(), Error> {
        let now = self.0.clock.now();
        for schedule in self.0.catalog.due_schedules(now).await? {
            if let Err(error) = self.decide(&schedule, now).await {
                tracing::error!(
                    schedule = schedule.name,
                    error = &error as &dyn std::error::Error,
                    "cannot decide a start"
                );
            }
        }
        for pending in self.0.catalog.pending_starts().await? {
            if let Err(error) = self.see_to(&pending, now).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(schedule = pending.schedule.name, error, "cannot see to a start");
            }
        }
        Ok(())
    }

    /// Decides all starts of a schedule that have come.
    async fn decide(&self, schedule: &DueSchedule, now: Timestamp) -> Result<(), Error> {
        let calendar = match self.calendar(&schedule.settings) {
            Ok(calendar) => calendar,
            Err(error) => {
                let again = now.saturating_add(AGAIN).ok();
                self.0.catalog.record_starts(schedule, schedule.decided_until, again, &[], now).await?;
                return Err(error);
            }
        };
        let window = SignedDuration::from_mins(i64::from(schedule.settings.start_window_minutes));
        let oldest = now.saturating_sub(window).unwrap_or(Timestamp::MIN);
        let (missed, latest) = come(&calendar, schedule.decided_until, oldest, now);
        let mut starts = Vec::new();
        if let Some(at) = latest {
            starts.push(self.start_or_wait(schedule, at, now).await?);
        }
        if let (Some(first), Some(last)) = (missed.first(), missed.last()) {
            let problem = missed_problem(schedule, &calendar, *first, *last, missed.len(), latest.is_some());
            starts.push(self.not_started(schedule, *last, now, StartOutcome::Missed, problem).await?);
        }
        let next = calendar.next_after(now);
        if self.0.catalog.record_starts(schedule, now, next, &starts, now).await? {
            self.tell_of(schedule, &starts);
        }
        Ok(())
    }

    /// The latest start, which is within its window.
    async fn start_or_wait(&self, schedule: &DueSchedule, at: Timestamp, now: Timestamp) -> Result<NewStart, Error> {
        let waits = self
            .0
            .catalog
            .pending_starts()
            .await?
            .iter()
            .any(|other| other.schedule.id == schedule.id && other.start.outcome == StartOutcome::Waiting);
        if !waits && !self.0.catalog.schedule_is_busy(schedule.id).await? {
            return self.begin_start(schedule, at, now).await;
        }
        if schedule.settings.overlap == Overlap::Queue && !waits {
            return Ok(quiet(ScheduleStart { outcome: StartOutcome::Waiting, ..blank(at, now) }));
        }
        let message =
            format!("schedule {} has not started: the jobs of its last start have not all ended", schedule.name);
        let problem = Problem::new("schedule.overlap", message)
            .hint("give it more time between its starts, or let it wait: xenkeep schedule set --overlap queue");
        self.not_started(schedule, at, now, StartOutcome::Skipped, problem.about(schedule.name.clone())).await
    }

    /// A start with its jobs; or failed, if there can be none.
    async fn begin_start(&self, schedule: &DueSchedule, at: Timestamp, now: Timestamp) -> Result<NewStart, Error> {
        let (run, settings) = (RunId::random(), &schedule.settings);
        match self.start_jobs(settings, &settings.targets, &schedule.name, Some(run)).await {
            Ok(jobs) => {
                let follow_up = (!settings.follow_up.is_empty()).then_some(FollowUpState::Waiting);
                let start =
                    ScheduleStart { outcome: StartOutcome::Started, run: Some(run), follow_up, ..blank(at, now) };
                Ok(NewStart { start, jobs, reports: Vec::new() })
            }
            Err(error) => self.not_started(schedule, at, now, StartOutcome::Failed, error.problem()).await,
        }
    }

    /// A start that has started nothing, with the report of it.
    async fn not_started(
        &self,
        schedule: &DueSchedule,
        at: Timestamp,
        now: Timestamp,
        outcome: StartOutcome,
        problem: Problem,
    ) -> Result<NewStart, Error> {
        let start = ScheduleStart { outcome, problem: Some(problem.clone()), ..blank(at, now) };
        let about = format!("start:{}:{}", schedule.id, at.as_millisecond());
        let report = reports::of_problem(ReportKind::Start, &schedule.name, problem, now);
        Ok(NewStart { start, jobs: Vec::new(), reports: self.addressed(&about, &report).await? })
    }

    /// A start that waits for the one before it, or whose follow-up waits for its jobs.
    async fn see_to(&self, pending: &PendingStart, now: Timestamp) -> Result<(), Error> {
        let (schedule, start) = (&pending.schedule, &pending.start);
        let new = match start.outcome {
            StartOutcome::Waiting if !schedule.settings.enabled => {
                let message = format!("schedule {} was switched off while this start waited", schedule.name);
                let problem = Some(Problem::new("schedule.disabled", message).about(schedule.name.clone()));
                // Whoever has switched it off knows.
                quiet(ScheduleStart { outcome: StartOutcome::Skipped, problem, ..blank(start.at, now) })
            }
            StartOutcome::Waiting if now > minutes_after(start.at, schedule.settings.start_window_minutes) => {
                let message = format!("schedule {} has waited in vain for the jobs of its last start", schedule.name);
                let problem = Problem::new("schedule.missed", message).hint("give it a longer start window");
                self.not_started(schedule, start.at, now, StartOutcome::Missed, problem).await?
            }
            StartOutcome::Waiting if self.0.catalog.schedule_is_busy(schedule.id).await? => return Ok(()),
            StartOutcome::Waiting => self.begin_start(schedule, start.at, now).await?,
            _ => match self.follow_up(pending, now).await? {
                Some(new) => new,
                None => return Ok(()),
            },
        };
        if self.0.catalog.settle_start(schedule.id, start, &new, now).await? {
            self.tell_of(schedule, std::slice::from_ref(&new));
        }
        Ok(())
    }

    /// What follows a start whose jobs have all ended; none while they have not.
    async fn follow_up(&self, pending: &PendingStart, now: Timestamp) -> Result<Option<NewStart>, Error> {
        let (schedule, start) = (&pending.schedule, &pending.start);
        let jobs = match start.run {
            Some(run) => self.0.catalog.jobs_of_run(run).await?,
            None => Vec::new(),
        };
        if jobs.iter().any(|job| !job.state.is_final()) {
            return Ok(None);
        }
        let settle = |state, run| ScheduleStart { follow_up: Some(state), follow_up_run: run, ..start.clone() };
        if schedule.settings.follow_up_on == FollowUpOn::Success && !ended_well(&jobs) {
            return Ok(Some(quiet(settle(FollowUpState::Skipped, None))));
        }
        let (run, settings) = (RunId::random(), &schedule.settings);
        Ok(Some(match self.start_jobs(settings, &settings.follow_up, &schedule.name, Some(run)).await {
            // It was taken out of the schedule meanwhile.
            Ok(jobs) if jobs.is_empty() => quiet(settle(FollowUpState::Skipped, None)),
            Ok(jobs) => NewStart { start: settle(FollowUpState::Started, Some(run)), jobs, reports: Vec::new() },
            Err(error) => {
                let problem = error.problem();
                let about = format!("follow-up:{}:{}", schedule.id, start.at.as_millisecond());
                let report = reports::of_problem(ReportKind::Start, &schedule.name, problem.clone(), now);
                let start = ScheduleStart { problem: Some(problem), ..settle(FollowUpState::Failed, None) };
                NewStart { start, jobs: Vec::new(), reports: self.addressed(&about, &report).await? }
            }
        }))
    }

    fn tell_of(&self, schedule: &DueSchedule, starts: &[NewStart]) {
        for new in starts {
            let (name, at, outcome) = (&schedule.name, new.start.at, new.start.outcome);
            match &new.start.problem {
                Some(problem) => tracing::warn!(schedule = name, %at, ?outcome, %problem, "not started"),
                None => tracing::info!(schedule = name, %at, ?outcome, jobs = new.jobs.len(), "decided"),
            }
            ids(&new.jobs).into_iter().for_each(|job| self.changed(job));
        }
        if !starts.is_empty() {
            self.0.post.notify_one();
        }
    }
}

/// The starts since the last decision: those that are missed, and the one that is not.
fn come(
    calendar: &Calendar,
    decided: Timestamp,
    oldest: Timestamp,
    now: Timestamp,
) -> (Vec<Timestamp>, Option<Timestamp>) {
    let until = |limit: Timestamp| move |at: &Timestamp| calendar.next_after(*at).filter(|at| *at <= limit);
    // One moment less, so that the beginning of the window belongs to it.
    let before_window = oldest.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(oldest);
    let missed = until(before_window);
    let mut missed: Vec<_> = std::iter::successors(missed(&decided), &missed).take(COUNTED).collect();
    let timely = until(now);
    let mut timely: Vec<_> = std::iter::successors(timely(&decided.max(before_window)), &timely).collect();
    let latest = timely.pop();
    missed.extend(timely);
    (missed, latest)
}

fn missed_problem(
    schedule: &DueSchedule,
    calendar: &Calendar,
    first: Timestamp,
    last: Timestamp,
    count: usize,
    started: bool,
) -> Problem {
    let (name, first, last) = (&schedule.name, local(first, &calendar.zone), local(last, &calendar.zone));
    let message = match count {
        1 => format!("schedule {name} has missed its start of {last}: no server was running then"),
        _ => format!("schedule {name} has missed {count} starts from {first} to {last}: no server was running then"),
    };
    let hint =
        if started { "the latest start has been made" } else { "start it by hand if it can't wait for its next start" };
    Problem::new("schedule.missed", message).hint(hint).about(name.clone())
}

/// A job that was tried again counts as its last try did.
fn ended_well(jobs: &[Job]) -> bool {
    let tried_again = |job: &Job| jobs.iter().any(|other| other.retry_of == Some(job.id));
    jobs.iter().all(|job| job.state.is_good() || tried_again(job))
}

fn blank(at: Timestamp, now: Timestamp) -> ScheduleStart {
    let outcome = StartOutcome::Failed;
    ScheduleStart { at, decided_at: now, outcome, run: None, problem: None, follow_up: None, follow_up_run: None }
}

fn quiet(start: ScheduleStart) -> NewStart {
    NewStart { start, jobs: Vec::new(), reports: Vec::new() }
}
