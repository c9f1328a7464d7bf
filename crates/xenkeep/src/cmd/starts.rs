//! What starts of tasks and groups share: how, and following all jobs of a run to their end.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use xenkeep_api::{BackupType, JobId, JobState, Run, StartRequest, Started, http::ApiClient};

use super::Context;
use crate::{
    Exit,
    follow::Interrupts,
    output::{Column, one_line, table},
    progress::word,
};

/// Between two looks at a run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How a task or group is started.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Number of the drive to write through, instead of those of the tasks.
    #[arg(long, value_name = "NUMBER")]
    drive: Option<u32>,
    /// How it is read this time: copy, full or incremental (also FULL, DIFF, INC, COPY).
    #[arg(long = "type", value_name = "TYPE")]
    backup_type: Option<BackupType>,
    /// Who goes first when jobs wait: higher before lower.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Queue the jobs and don't wait.
    #[arg(long)]
    pub(crate) detach: bool,
}

impl How {
    pub(crate) fn request(&self) -> StartRequest {
        StartRequest { drive: self.drive, backup_type: self.backup_type, priority: self.priority }
    }
}

/// Waits until all jobs of a start have ended. ^C only stops watching.
pub(crate) async fn see_through(
    context: &Context,
    api: &ApiClient,
    started: Started,
    detach: bool,
) -> anyhow::Result<Exit> {
    for problem in &started.left_out {
        context.console.note(&format!("left out: {}", one_line(&problem.message)));
    }
    if detach {
        context.console.result(&started, || format!("queued {} job(s) as run {}", started.jobs.len(), started.run))?;
        return Ok(Exit::Success);
    }
    let mut interrupts = Interrupts::new()?;
    let mut told = HashSet::new();
    loop {
        let run = api.run(started.run).await?;
        tell(context, &run, &mut told);
        if run.ended {
            context.console.result(&run, || summary(&run))?;
            return Ok(exit(&run));
        }
        tokio::select! {
            () = interrupts.next() => {
                context.console.note("the jobs go on; `xenkeep job list` shows them");
                return Ok(Exit::Failed);
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Says which jobs have ended since the last time.
fn tell(context: &Context, run: &Run, told: &mut HashSet<JobId>) {
    for job in run.jobs.iter().filter(|job| job.state.is_final()) {
        if told.insert(job.id) {
            let why = job.problem.as_ref().map(|problem| format!(": {}", one_line(&problem.message)));
            let (kind, subject) = (word(&job.spec.kind()), one_line(&job.subject));
            context.console.note(&format!("{kind} {subject}: {}{}", word(&job.state), why.unwrap_or_default()));
        }
    }
}

fn summary(run: &Run) -> String {
    let columns = [Column::Text("JOB"), Column::Text("KIND"), Column::Text("SUBJECT"), Column::Text("STATE")];
    let rows = run.jobs.iter().map(|job| {
        let id: String = job.id.to_string().chars().take(8).collect();
        [id, word(&job.spec.kind()), one_line(&job.subject), word(&job.state)]
    });
    let counts = &run.counts;
    let good = counts.success + counts.warning;
    format!("{}\n{good} good, {} failed, {} cancelled", table(columns, rows), counts.failed, counts.cancelled)
}

fn exit(run: &Run) -> Exit {
    match run.state {
        Some(JobState::Success) => Exit::Success,
        Some(JobState::Warning) => Exit::Warning,
        _ => Exit::Failed,
    }
}
