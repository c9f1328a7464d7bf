//! `xenkeep job`: what runs and what has run; and what all commands that start a job share.

use clap::{Args, Subcommand, ValueEnum};
use xenkeep_api::{
    Job, JobKind, JobResult, JobState, LogLevel, LogLine, Problem,
    http::{ApiClient, JobFilter},
};

use super::{Context, backups, forget, hosts, metadata, restores, stores, upkeep};
use crate::{
    Exit,
    follow::{OnInterrupt, follow},
    output::{Column, Console, details, one_line, table},
    progress::{View, describe, kind, word},
    units,
};

/// Jobs: what runs and what has run.
#[derive(Debug, Subcommand)]
pub(crate) enum Jobs {
    List(List),
    Show(Named),
    Watch(Watch),
    Log(Log),
    Cancel(Cancel),
}

/// List jobs, newest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those in this state.
    #[arg(long)]
    state: Option<StateArg>,
    /// Only those of this kind, such as backup, restore, backup-host or prune-datastore.
    #[arg(long, value_parser = job_kind)]
    kind: Option<JobKind>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Show a job: its state, numbers, result.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Id of the job, or as much of it as is unique.
    id: String,
}

/// Follow a job to its end; ^C only stops watching. Exits as the job did.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Id of the job, or as much of it as is unique.
    id: String,
}

/// Print the log of a job.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Id of the job, or as much of it as is unique.
    id: String,
}

/// Cancel a job and wait until it has cleaned up behind itself.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Id of the job, or as much of it as is unique.
    id: String,
    /// Ask for it and don't wait.
    #[arg(long)]
    detach: bool,
}

/// Words for [`JobState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateArg {
    Queued,
    Running,
    Success,
    Warning,
    Failed,
    Cancelled,
    Interrupted,
}

impl From<StateArg> for JobState {
    fn from(word: StateArg) -> Self {
        match word {
            StateArg::Queued => Self::Queued,
            StateArg::Running => Self::Running,
            StateArg::Success => Self::Success,
            StateArg::Warning => Self::Warning,
            StateArg::Failed => Self::Failed,
            StateArg::Cancelled => Self::Cancelled,
            StateArg::Interrupted => Self::Interrupted,
        }
    }
}

/// The kind of a word; whoever gets it wrong is told all that there are.
fn job_kind(word: &str) -> Result<JobKind, String> {
    serde_json::from_value(word.into()).map_err(|error| error.to_string())
}

impl Jobs {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        match self {
            Self::List(List { state, kind, limit }) => {
                let filter = JobFilter { state: state.map(Into::into), kind, limit: Some(limit) };
                let jobs = api.jobs(&filter).await?;
                context.console.result(&jobs, || listing(&jobs))?;
                Ok(Exit::Success)
            }
            Self::Show(Named { id }) => {
                let job = api.job(&id).await?;
                context.console.result(&job, || shown(&job))?;
                Ok(Exit::Success)
            }
            Self::Watch(Watch { id }) => {
                let job = api.job(&id).await?;
                see_through(context, &api, job, OnInterrupt::Leave).await
            }
            Self::Log(Log { id }) => {
                let lines = api.job_log(&id).await?;
                context.console.result(&lines, || log(&lines))?;
                Ok(Exit::Success)
            }
            Self::Cancel(cancel) => cancel.run(context, &api).await,
        }
    }
}

impl Cancel {
    async fn run(self, context: &Context, api: &ApiClient) -> anyhow::Result<Exit> {
        let job = api.cancel_job(&self.id).await?;
        if self.detach && !job.state.is_final() {
            context.console.result(&job, || format!("job {} will be cancelled", job.id))?;
            return Ok(Exit::Success);
        }
        let job = follow(api, job, &mut View::fitting(context.console), OnInterrupt::Leave).await?;
        context.console.result(&job, || match job.state {
            JobState::Cancelled => format!("cancelled job {}: {}", job.id, describe(&job)),
            state => format!("job {} had already ended: {}", job.id, word(&state)),
        })?;
        Ok(if job.state == JobState::Cancelled { Exit::Success } else { Exit::Failed })
    }
}

/// Says which job was queued, and how to see more of it.
pub(super) fn queued(context: &Context, job: &Job) -> anyhow::Result<Exit> {
    context.console.result(job, || format!("queued job {}: `xenkeep job watch {0}` shows how it goes", job.id))?;
    Ok(Exit::Success)
}

/// Follows a job to its end, tells how that was, and exits accordingly.
pub(super) async fn see_through(
    context: &Context,
    api: &ApiClient,
    job: Job,
    on_interrupt: OnInterrupt,
) -> anyhow::Result<Exit> {
    let job = follow(api, job, &mut View::fitting(context.console), on_interrupt).await?;
    ended(context.console, &job)
}

/// Follows several jobs to their ends, one after the other.
pub(super) async fn see_all_through(context: &Context, api: &ApiClient, jobs: Vec<Job>) -> anyhow::Result<Vec<Job>> {
    let mut ended = Vec::with_capacity(jobs.len());
    for job in jobs {
        ended.push(follow(api, job, &mut View::fitting(context.console), OnInterrupt::Cancel).await?);
    }
    Ok(ended)
}

/// Tells people how several jobs ended; exits as the worst of them did.
pub(super) fn all_ended(console: Console, jobs: &[Job]) -> anyhow::Result<Exit> {
    let mut exit = Exit::Success;
    let mut failures = Vec::new();
    for job in jobs {
        if !console.is_json() {
            tell(console, job)?;
        }
        if !job.state.is_good() {
            failures.push(failure(job));
        } else if job.state == JobState::Warning {
            exit = Exit::Warning;
        }
    }
    let Some(last) = failures.pop() else { return Ok(exit) };
    for failure in failures {
        console.note(&format!("error: {}", one_line(&failure.message)));
    }
    Err(last.into())
}

/// What a job has done, and its warnings. One that ended badly tells what it did before, if it says so.
fn tell(console: Console, job: &Job) -> anyhow::Result<()> {
    let text = summary(job);
    if job.state.is_good() {
        console.print(&text.unwrap_or_else(|| format!("{}: {}", describe(job), word(&job.state))))?;
    } else if let Some(text) = text {
        console.print(&text)?;
    }
    for warning in &job.warnings {
        console.note(&warning_text(warning));
    }
    Ok(())
}

fn summary(job: &Job) -> Option<String> {
    backups::summary(job)
        .or_else(|| restores::summary(job))
        .or_else(|| metadata::summary(job))
        .or_else(|| hosts::summary(job))
        .or_else(|| forget::summary(job))
        .or_else(|| upkeep::summary(job))
        .or_else(|| stores::summary(job))
}

/// Tells how a job ended: its result on stdout, warnings and the reason of a failure on stderr.
pub(super) fn ended(console: Console, job: &Job) -> anyhow::Result<Exit> {
    if console.is_json() {
        console.result(job, String::new)?;
    } else {
        tell(console, job)?;
    }
    if job.state.is_good() { Ok(Exit::of(job)) } else { Err(failure(job).into()) }
}

fn warning_text(warning: &Problem) -> String {
    let mut text = format!("warning: {}", one_line(&warning.message));
    if let Some(hint) = &warning.hint {
        text += &format!("\nhint: {}", one_line(hint));
    }
    text
}

/// Why a job that ended badly did so.
pub(super) fn failure(job: &Job) -> Problem {
    if let Some(problem) = &job.problem {
        return problem.clone();
    }
    let what = format!("{} was {}", describe(job), word(&job.state));
    let problem = Problem::new(format!("job.{}", word(&job.state)), what).about(job.id.to_string());
    match job.state {
        JobState::Interrupted => problem.hint("a job of kind `recover` cleans up behind it; then start it again"),
        _ => problem,
    }
}

fn listing(jobs: &[Job]) -> String {
    if jobs.is_empty() {
        return "no jobs".to_owned();
    }
    let columns = [
        Column::Text("ID"),
        Column::Text("KIND"),
        Column::Text("SUBJECT"),
        Column::Text("STATE"),
        Column::Text("CREATED"),
        Column::Number("TIME"),
        Column::Number("DONE"),
        Column::Text("WHY"),
    ];
    let rows = jobs.iter().map(|job| {
        [
            short(job),
            kind(job),
            job.subject.clone(),
            state(job),
            units::time(job.created_at),
            time(job),
            percent(job).map(|percent| format!("{percent} %")).unwrap_or_default(),
            why(job),
        ]
    });
    table(columns, rows)
}

fn short(job: &Job) -> String {
    job.id.to_string().chars().take(8).collect()
}

fn state(job: &Job) -> String {
    if job.cancel_requested && !job.state.is_final() { "cancelling".to_owned() } else { word(&job.state) }
}

fn time(job: &Job) -> String {
    let span = job.started_at.zip(job.finished_at);
    span.map(|(from, to)| units::duration(units::elapsed(from, to))).unwrap_or_default()
}

/// Why it failed, or why it waits.
fn why(job: &Job) -> String {
    job.problem.as_ref().or(job.waiting.as_ref()).map(|problem| problem.message.clone()).unwrap_or_default()
}

fn percent(job: &Job) -> Option<u64> {
    job.progress.done_bytes.saturating_mul(100).checked_div(job.progress.total_bytes)
}

fn shown(job: &Job) -> String {
    let progress = &job.progress;
    let bytes = |bytes: u64| if bytes > 0 { units::size(bytes) } else { String::new() };
    let mut text = details([
        ("id", job.id.to_string()),
        ("kind", kind(job)),
        ("subject", job.subject.clone()),
        ("state", state(job)),
        ("waits", job.waiting.as_ref().map(|problem| one_line(&problem.message)).unwrap_or_default()),
        ("drive", job.drive.map(|drive| drive.to_string()).unwrap_or_default()),
        ("priority", if job.priority == 0 { String::new() } else { job.priority.to_string() }),
        ("mover", job.mover.clone().unwrap_or_default()),
        ("task", job.origin.task_name.clone().unwrap_or_default()),
        ("group", job.origin.group.clone().unwrap_or_default()),
        ("schedule", job.origin.schedule.clone().unwrap_or_default()),
        ("try", if job.attempt == 0 { String::new() } else { (job.attempt + 1).to_string() }),
        ("tries again", job.retry_of.map(|job| job.to_string()).unwrap_or_default()),
        ("step", progress.step.clone()),
        ("created", units::time(job.created_at)),
        ("started", job.started_at.map(units::time).unwrap_or_default()),
        ("finished", job.finished_at.map(units::time).unwrap_or_default()),
        ("time", time(job)),
        ("done", percent(job).map(|n| format!("{n} % of {}", bytes(progress.total_bytes))).unwrap_or_default()),
        ("moved", bytes(progress.moved_bytes)),
        ("new", bytes(progress.new_bytes)),
        ("stored", bytes(progress.stored_bytes)),
        ("result", job.result.as_ref().map(result).unwrap_or_default()),
    ]);
    for warning in &job.warnings {
        text += &format!("{}\n", warning_text(warning));
    }
    if let Some(problem) = &job.problem {
        text += &format!("problem: {} [{}]\n", one_line(&problem.message), problem.code);
        if let Some(hint) = &problem.hint {
            text += &format!("hint: {}\n", one_line(hint));
        }
    }
    text
}

fn result(result: &JobResult) -> String {
    match result {
        JobResult::Pool { pool: Some(pool), .. } => format!("pool {} ({})", pool.uuid, pool.product),
        JobResult::Pool { pool: None, checks } => format!("{} checks, no login", checks.len()),
        JobResult::Inventory { inventory } => {
            format!("{} hosts, {} VMs", inventory.pool.members.len(), inventory.vms.len())
        }
        JobResult::RestorePlan { plan } => {
            format!("a plan with {} warnings, {} refusals", plan.warnings.len(), plan.refusals.len())
        }
        JobResult::Selected { selected } => format!("{} VMs", selected.vms.len()),
        JobResult::Datastore { repository_id } => format!("repository {repository_id}"),
        JobResult::Rescanned { rescan } => {
            format!("{} points found, {} added, {} gone", rescan.found, rescan.added.len(), rescan.gone.len())
        }
        JobResult::Keys { keys } => format!("{} keys", keys.len()),
        JobResult::Point { point } => format!("point {}", point.id),
        JobResult::Points { points } => {
            let points: Vec<String> =
                points.iter().map(|point| format!("{} ({})", point.id, point.source_name)).collect();
            format!("points {}", points.join(", "))
        }
        JobResult::MetaDataRestored { restored } if restored.dry_run => "the pool would take the database".to_owned(),
        JobResult::MetaDataRestored { restored } => {
            format!("the pool has taken the database; {} restarts", restored.master)
        }
        JobResult::HostRestored { restored } => {
            format!("the backup lies on the backup partition of {} ({})", restored.name, restored.uuid)
        }
        JobResult::Vm { vm } => format!("VM {} ({})", vm.name, vm.uuid),
        JobResult::Export { bytes, sha256 } => format!("{bytes} bytes, SHA-256 {sha256}"),
        JobResult::Forgotten { points } => format!("{} points removed", points.len()),
        JobResult::Protection { point, protection } => match protection {
            Some(protection) => format!("point {point} is protected: {}", protection.reason),
            None => format!("point {point} is not protected"),
        },
        JobResult::Pruned { prune } => {
            format!("{} deleted, {} marked", units::size(prune.deleted.bytes), units::size(prune.marked.bytes))
        }
        JobResult::Verified { verify } => {
            format!("{} damaged files, {} points touched", verify.files.len(), verify.touched.len())
        }
        JobResult::Copied { copy } => format!("{} points copied", copy.points.len()),
        JobResult::Recovered { undone, points } => {
            format!("{} things undone on the pool, {} points found", undone.len(), points.len())
        }
    }
}

fn log(lines: &[LogLine]) -> String {
    let mut text = String::new();
    for line in lines {
        let level = match line.level {
            LogLevel::Info => "     ",
            LogLevel::Warning => "WARN ",
            LogLevel::Error => "ERROR",
        };
        text += &format!("{} {level} {:<9} {}\n", units::time(line.at), one_line(&line.step), one_line(&line.text));
    }
    if text.is_empty() { "no lines yet".to_owned() } else { text }
}

#[cfg(test)]
mod tests;
