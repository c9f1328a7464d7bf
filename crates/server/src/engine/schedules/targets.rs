//! What a schedule starts, as jobs.

use jiff::Timestamp;
use xenkeep_api::{JobSpec, Origin, PruneRequest, RunId, ScheduleSettings, StartRequest, Target};
use xenkeep_catalog::NewJob;

use super::super::Engine;
use crate::Error;

impl Engine {
    /// The jobs of one start: of all targets or, if one of them can't be started, the reason.
    pub(super) async fn start_jobs(
        &self,
        settings: &ScheduleSettings,
        targets: &[Target],
        schedule: &str,
        run: Option<RunId>,
    ) -> Result<Vec<NewJob>, Error> {
        let origin = Origin { schedule: Some(schedule.to_owned()), run, ..Origin::default() };
        let mut jobs = Vec::new();
        for target in targets {
            jobs.extend(self.target_jobs(settings, target, &origin).await?);
        }
        Ok(jobs)
    }

    async fn target_jobs(
        &self,
        settings: &ScheduleSettings,
        target: &Target,
        origin: &Origin,
    ) -> Result<Vec<NewJob>, Error> {
        let upkeep = |spec, subject| NewJob {
            priority: settings.priority.unwrap_or(0),
            origin: origin.clone(),
            ..NewJob::new(spec, subject)
        };
        match target {
            Target::Task { name } => Ok(self.prepare_task(name, &request(settings), origin.clone()).await?.jobs),
            Target::Group { name } => Ok(self.prepare_group(name, &request(settings), origin.clone()).await?.jobs),
            Target::Prune { datastore } => {
                let datastore = self.datastore(datastore).await?;
                let spec = JobSpec::PruneDatastore { datastore: datastore.id, request: PruneRequest::default() };
                Ok(vec![upkeep(spec, datastore.name)])
            }
            Target::Verify { datastore, request } => {
                let datastore = self.datastore(datastore).await?;
                super::super::upkeep::check_verify(request)?;
                let spec = JobSpec::VerifyDatastore { datastore: datastore.id, request: request.clone() };
                Ok(vec![upkeep(spec, datastore.name)])
            }
        }
    }
}

/// What the schedule says otherwise than the tasks.
fn request(settings: &ScheduleSettings) -> StartRequest {
    StartRequest { drive: settings.drive, backup_type: settings.backup_type, priority: settings.priority }
}

/// Jobs that nobody has queued yet are known to nobody else.
pub(super) fn ids(jobs: &[NewJob]) -> Vec<xenkeep_api::JobId> {
    jobs.iter().map(|job| job.id).collect()
}

/// Never later than its last moment.
pub(super) fn minutes_after(at: Timestamp, minutes: u32) -> Timestamp {
    at.saturating_add(jiff::SignedDuration::from_mins(i64::from(minutes))).unwrap_or(Timestamp::MAX)
}
