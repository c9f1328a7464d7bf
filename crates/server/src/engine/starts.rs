//! Starts of tasks and groups: which jobs they make, and which follow when those have ended.
//!
//! A start is worked out first ([`Engine::prepare_task`], [`Engine::prepare_group`]), refused as a whole if something of it
//! can't be, and then queued in one transaction. A selection is one short job; the backups of the VMs that it takes are
//! queued in the transaction that ends it, and so is the removal of what a task's policy no longer keeps in the one
//! that ends a good backup.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use xenkeep_api::{
    BackupOrder, Job, JobResult, JobSpec, JobState, Origin, Problem, Run, RunCounts, RunId, Source, StartRequest,
    Started, Task,
};
use xenkeep_catalog::{Ended, Kept, NewJob};

use super::Engine;
use super::queue::VmKey;
use super::retention::{Candidate, retain};
use crate::Error;

/// A start that has been worked out, and not begun.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// What all of its jobs bear.
    pub run: RunId,
    /// Its jobs.
    pub jobs: Vec<NewJob>,
    /// What is not started, and why.
    pub left_out: Vec<Problem>,
}

impl Engine {
    /// Starts a task.
    pub async fn start_task(&self, name_or_id: &str, request: &StartRequest) -> Result<Started, Error> {
        let prepared = self.prepare_task(name_or_id, request, Origin::default()).await?;
        self.begin(prepared).await
    }

    /// Starts all tasks of a group.
    pub async fn start_group(&self, name: &str, request: &StartRequest) -> Result<Started, Error> {
        let prepared = self.prepare_group(name, request, Origin::default()).await?;
        self.begin(prepared).await
    }

    /// The jobs that a start of a task makes. `origin` says who starts it; a run is made up unless it names one.
    pub async fn prepare_task(
        &self,
        name_or_id: &str,
        request: &StartRequest,
        origin: Origin,
    ) -> Result<Prepared, Error> {
        let task = self.task(name_or_id).await?;
        if !task.enabled {
            return Err(Error::Conflict(switched_off(&task)));
        }
        let run = origin.run.unwrap_or_else(RunId::random);
        let job = self.job_of(&task, request, &Origin { run: Some(run), ..origin }).await?;
        Ok(Prepared { run, jobs: vec![job], left_out: Vec::new() })
    }

    /// The jobs that a start of a group makes.
    pub async fn prepare_group(&self, name: &str, request: &StartRequest, origin: Origin) -> Result<Prepared, Error> {
        let group = self.group(name).await?;
        let tasks = self.0.catalog.group_tasks(&group.name).await?;
        let run = origin.run.unwrap_or_else(RunId::random);
        let origin = Origin { run: Some(run), group: Some(group.name.clone()), ..origin };
        let (mut jobs, mut left_out) = (Vec::new(), Vec::new());
        for task in &tasks {
            if task.enabled {
                jobs.push(self.job_of(task, request, &origin).await?);
            } else {
                left_out.push(switched_off(task));
            }
        }
        if jobs.is_empty() {
            let problem = Problem::new("group.empty", format!("group {} has no task to start", group.name));
            let hint = format!("xenkeep group add {} TASK; tasks that are switched off are left out", group.name);
            return Err(Error::Conflict(problem.hint(hint).about(group.name)));
        }
        Ok(Prepared { run, jobs, left_out })
    }

    /// Queues what was prepared: all of it or nothing.
    pub async fn begin(&self, prepared: Prepared) -> Result<Started, Error> {
        self.0.catalog.insert_jobs(&prepared.jobs, self.0.clock.now()).await?;
        let mut jobs = Vec::with_capacity(prepared.jobs.len());
        for new in &prepared.jobs {
            self.changed(new.id);
            jobs.push(self.0.catalog.job(new.id).await?);
        }
        Ok(Started { run: prepared.run, jobs, left_out: prepared.left_out })
    }

    /// All jobs of one start.
    pub async fn run(&self, id: &str) -> Result<Run, Error> {
        let none = || {
            let shown: String = id.chars().filter(|c| !c.is_control()).take(40).collect();
            let problem = Problem::new("run.not_found", format!("there is no run {shown}"));
            Error::NotFound(problem.hint("a start tells the id of its run; each job of it bears it").about(shown))
        };
        let run: RunId = id.parse().map_err(|_| none())?;
        let jobs = self.0.catalog.jobs_of_run(run).await?;
        if jobs.is_empty() { Err(none()) } else { Ok(summed_up(run, jobs)) }
    }

    /// The job that a task is.
    async fn job_of(&self, task: &Task, request: &StartRequest, origin: &Origin) -> Result<NewJob, Error> {
        let Some(number) = request.drive.or(task.drive) else { return Err(self.no_drive(task).await?) };
        let drive = self.0.catalog.drive(number).await?;
        let order = BackupOrder {
            datastore: drive.datastore,
            drive: Some(number),
            backup_type: request.backup_type.unwrap_or(task.backup_type),
            options: task.options.clone(),
            retry: task.retry,
            time_limit_minutes: task.time_limit_minutes,
        };
        let priority = request.priority.unwrap_or(task.priority);
        let origin = Origin { task: Some(task.id), task_name: Some(task.name.clone()), ..origin.clone() };
        let common = Common { priority, origin };
        let (client, datastore, transport) = (task.client, drive.datastore, order.options.transport);
        Ok(match &task.source {
            Source::Vm { vm, uuid } => backup(task.client, uuid.as_deref().unwrap_or(vm), vm, &order, common),
            Source::MetaData => {
                let spec = JobSpec::BackupMetaData { client, datastore, transport };
                common.ordered(spec, &task.client_name, &order)
            }
            Source::HostBackup { host } => {
                let spec = JobSpec::BackupHost { client, host: host.clone(), datastore, transport };
                common.ordered(spec, host.as_ref().unwrap_or(&task.client_name), &order)
            }
            Source::Selection(_) => {
                let spec = JobSpec::ExpandSelection { client, source: task.source.clone(), order: Some(order) };
                NewJob { priority: common.priority, origin: common.origin, ..NewJob::new(spec, &task.name) }
            }
        })
    }

    async fn no_drive(&self, task: &Task) -> Result<Error, Error> {
        let drives = self.0.catalog.drives().await?;
        let known: Vec<String> =
            drives.iter().map(|drive| format!("{} ({})", drive.number, drive.datastore_name)).collect();
        let hint = match known.as_slice() {
            [] => "make one: xenkeep drive create NUMBER --datastore NAME".to_owned(),
            known => format!("say which: --drive NUMBER; there are: {}", known.join(", ")),
        };
        let problem = Problem::new("task.no_drive", format!("task {} names no drive, nor does its start", task.name));
        Ok(Error::Invalid(problem.hint(hint).about(task.name.clone())))
    }
}

/// What all jobs of a task have in common.
#[derive(Debug, Clone)]
struct Common {
    priority: i32,
    origin: Origin,
}

impl Common {
    fn ordered(self, spec: JobSpec, subject: &str, order: &BackupOrder) -> NewJob {
        NewJob {
            vm_key: VmKey::of(&spec, None).map(|key| key.text()),
            drive: order.drive,
            priority: self.priority,
            origin: self.origin,
            retry: order.retry,
            time_limit: order.time_limit_minutes.map(|minutes| Duration::from_secs(u64::from(minutes) * 60)),
            ..NewJob::new(spec, subject)
        }
    }
}

fn backup(client: xenkeep_api::ClientId, vm: &str, name: &str, order: &BackupOrder, common: Common) -> NewJob {
    let spec = JobSpec::Backup {
        client,
        vm: vm.to_owned(),
        datastore: order.datastore,
        transport: order.options.transport,
        backup_type: order.backup_type,
        options: order.options.clone(),
    };
    common.ordered(spec, name, order)
}

/// The jobs of a task that follow an ended one: the backups of a selection, the removal of points that are kept no longer.
pub(super) fn next_of_task(ended: &Ended, zone: &TimeZone, now: Timestamp) -> Vec<NewJob> {
    selected(ended).into_iter().chain(removal(ended, zone, now)).collect()
}

/// A backup for each VM that a selection took.
fn selected(ended: &Ended) -> Vec<NewJob> {
    let job = &ended.job;
    let (JobSpec::ExpandSelection { client, order: Some(order), .. }, Some(JobResult::Selected { selected }), true) =
        (&job.spec, &job.result, job.state.is_good())
    else {
        return Vec::new();
    };
    let common = Common { priority: job.priority, origin: job.origin.clone() };
    selected.vms.iter().map(|vm| backup(*client, &vm.uuid, &vm.name, order, common.clone())).collect()
}

/// Removes what the policy of the task does not keep now that there is a new point. A point that a job reads stays until
/// the next time.
fn removal(ended: &Ended, zone: &TimeZone, now: Timestamp) -> Option<NewJob> {
    let points: Vec<String> = ended.kept.iter().flat_map(|kept| no_longer_kept(kept, zone, now)).collect();
    let (datastore, name) = (ended.job.spec.datastore()?, &ended.kept.first()?.datastore_name);
    (!points.is_empty()).then(|| NewJob {
        origin: ended.job.origin.clone(),
        priority: ended.job.priority,
        ..NewJob::new(JobSpec::ForgetPoints { datastore, points }, name)
    })
}

fn no_longer_kept(kept: &Kept, zone: &TimeZone, now: Timestamp) -> Vec<String> {
    let candidates: Vec<Candidate> = kept
        .points
        .iter()
        .map(|point| Candidate {
            taken_at: point.taken_at,
            protected: point.protection.is_some(),
            damaged: point.damage.is_some(),
        })
        .collect();
    let reasons = retain(&kept.policy, &candidates, zone, now);
    let gone = kept.points.iter().zip(reasons).filter(|(_, reasons)| reasons.is_empty()).map(|(point, _)| point);
    gone.map(|point| point.id.clone()).filter(|point| !kept.in_use.contains(point)).collect()
}

fn switched_off(task: &Task) -> Problem {
    let problem = Problem::new("task.disabled", format!("task {} is switched off", task.name));
    problem.hint(format!("xenkeep task set {} --enabled true", task.name)).about(task.name.clone())
}

/// How the jobs of a run stand. A job that was tried again counts no more: its next try does.
fn summed_up(id: RunId, jobs: Vec<Job>) -> Run {
    let mut counts = RunCounts::default();
    let again = |job: &Job| jobs.iter().any(|other| other.retry_of == Some(job.id));
    for job in &jobs {
        let count = match job.state {
            JobState::Queued => &mut counts.queued,
            JobState::Running => &mut counts.running,
            JobState::Failed | JobState::Interrupted if again(job) => &mut counts.tried_again,
            JobState::Success => &mut counts.success,
            JobState::Warning => &mut counts.warning,
            JobState::Failed | JobState::Interrupted => &mut counts.failed,
            JobState::Cancelled => &mut counts.cancelled,
        };
        *count += 1;
    }
    let ended = counts.queued + counts.running == 0;
    let state = ended.then_some(match counts {
        RunCounts { failed: 1.., .. } => JobState::Failed,
        RunCounts { cancelled: 1.., .. } => JobState::Cancelled,
        RunCounts { warning: 1.., .. } => JobState::Warning,
        _ => JobState::Success,
    });
    Run { id, jobs, counts, ended, state }
}

#[cfg(test)]
mod tests;
