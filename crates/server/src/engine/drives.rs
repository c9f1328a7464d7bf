//! Drives: made, narrowed, widened, removed; and what goes on at them.

use std::collections::HashMap;

use xenkeep_api::{Drive, DriveChange, DriveJob, DriveState, Job, JobId, JobState, NewDrive, Problem};
use xenkeep_catalog::{JobFilter, QueueEntry};

use super::{Engine, names};
use crate::Error;

/// Most channels of a drive.
const MAX_CHANNELS: u32 = 1000;
/// How many of those that wait are named.
const NEXT: u32 = 10;
/// How many of those that name a drive are named themselves.
const NAMED: usize = 20;

impl Engine {
    /// All drives, by number, with what goes on at them.
    pub async fn drives(&self) -> Result<Vec<DriveState>, Error> {
        let mut states = Vec::new();
        for drive in self.0.catalog.drives().await? {
            states.push(self.drive_state(drive).await?);
        }
        Ok(states)
    }

    /// A drive with what goes on at it.
    pub async fn drive(&self, number: u32) -> Result<DriveState, Error> {
        let drive = self.0.catalog.drive(number).await?;
        self.drive_state(drive).await
    }

    /// Makes a drive.
    pub async fn create_drive(&self, new: NewDrive) -> Result<DriveState, Error> {
        if new.number == 0 || i32::try_from(new.number).is_err() {
            let problem =
                Problem::new("drive.bad_number", "the number of a drive is 1 or more, and below two thousand million");
            return Err(Error::Invalid(problem));
        }
        check_channels(new.channels)?;
        if let Some(name) = &new.name {
            names::check_label("the name of a drive", name)?;
        }
        let datastore = self.datastore(&new.datastore).await?;
        let drive = Drive {
            number: new.number,
            name: new.name,
            datastore: datastore.id,
            datastore_name: datastore.name,
            channels: new.channels,
            created_at: self.0.clock.now(),
        };
        self.0.catalog.insert_drive(&drive).await?;
        self.drive(drive.number).await
    }

    /// Changes a drive. More channels are used at once; fewer stop no job that runs.
    pub async fn set_drive(&self, number: u32, change: DriveChange) -> Result<DriveState, Error> {
        let drive = self.0.catalog.drive(number).await?;
        let channels = change.channels.unwrap_or(drive.channels);
        check_channels(channels)?;
        let name = match change.name {
            None => drive.name,
            Some(name) if name.is_empty() => None,
            Some(name) => {
                names::check_label("the name of a drive", &name)?;
                Some(name)
            }
        };
        self.0.catalog.set_drive(number, name.as_deref(), channels).await?;
        self.0.work.notify_waiters();
        self.drive(number).await
    }

    /// Removes a drive. Refused while a task or schedule names it, or a job waits for it or writes through it.
    pub async fn remove_drive(&self, number: u32) -> Result<(), Error> {
        let drive = self.0.catalog.drive(number).await?;
        let tasks = self.0.catalog.tasks().await?;
        let tasks = tasks.iter().filter(|task| task.drive == Some(number)).map(|task| format!("task {}", task.name));
        let schedules = self.0.catalog.schedules().await?;
        let schedules = schedules.iter().filter(|schedule| schedule.settings.drive == Some(number));
        let named: Vec<String> = tasks.chain(schedules.map(|schedule| format!("schedule {}", schedule.name))).collect();
        if !named.is_empty() {
            return Err(Error::Conflict(named_by(number, &named)));
        }
        Ok(self.0.catalog.remove_drive(drive.number).await?)
    }

    async fn drive_state(&self, drive: Drive) -> Result<DriveState, Error> {
        let standing = self.0.catalog.standing().await?;
        let choice = self.choice().await?;
        let placing = choice.under(self.turn());
        let (waiting, next) = self.0.catalog.queued_for_drive(drive.number, NEXT).await?;
        let filter = JobFilter { state: Some(JobState::Running), kind: None };
        let jobs = self.0.catalog.jobs(&filter, super::jobs::LISTED_AT_MOST).await?;
        let jobs: HashMap<JobId, Job> = jobs.into_iter().map(|job| (job.id, job)).collect();
        let at_it = standing.running.iter().filter(|entry| entry.drive == Some(drive.number));
        let running = at_it.map(|entry| {
            let job = jobs.get(&entry.id);
            DriveJob {
                started_at: job.and_then(|job| job.started_at),
                waiting: job.and_then(|job| job.waiting.clone()),
                ..drive_job(entry)
            }
        });
        let running = running.collect();
        let told = |entry| DriveJob { waiting: Some(placing.reason(&standing, entry)), ..drive_job(entry) };
        let next = next.iter().map(told).collect();
        Ok(DriveState { drive, running, waiting, next })
    }
}

fn drive_job(entry: &QueueEntry) -> DriveJob {
    let subject = entry.subject.clone();
    DriveJob { job: entry.id, subject, priority: entry.priority, started_at: None, waiting: None }
}

fn named_by(number: u32, named: &[String]) -> Problem {
    let mut shown = named[..named.len().min(NAMED)].join(", ");
    if named.len() > NAMED {
        shown += &format!(" and {} more", named.len() - NAMED);
    }
    Problem::new("drive.named", format!("drive {number} is the one of {shown}"))
        .hint(
            "give them another one: xenkeep task set NAME --drive N, xenkeep schedule set NAME --drive N or --no-drive",
        )
        .about(number.to_string())
}

fn check_channels(channels: u32) -> Result<(), Error> {
    if channels <= MAX_CHANNELS {
        return Ok(());
    }
    let problem = Problem::new("drive.bad_channels", format!("a drive has at most {MAX_CHANNELS} channels"));
    Err(Error::Invalid(problem))
}
