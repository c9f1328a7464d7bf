//! Jobs: one run of one thing.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{JobId, JobResult, JobSpec, PoolSummary, Problem, RunId, TaskId};

/// State of a job: `queued` → `running` → one of the final ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a mover.
    Queued,
    /// A mover works on it.
    Running,
    /// Done, nothing to say.
    Success,
    /// Done, with something that the administrator should know.
    Warning,
    /// Not done; `problem` says why.
    Failed,
    /// Ended at the administrator's wish.
    Cancelled,
    /// Its mover was lost; a `recover` job undoes what it left.
    Interrupted,
}

impl JobState {
    /// Nothing more will happen to the job.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The job did what it was asked.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Success | Self::Warning)
    }
}

/// A job as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it is to do.
    pub spec: JobSpec,
    /// For people: the name of the VM, client or datastore that it is about.
    pub subject: String,
    /// Its state.
    pub state: JobState,
    /// Cancelling was asked for and has not happened yet.
    pub cancel_requested: bool,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When a mover took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub progress: Progress,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What the administrator should know though it succeeded.
    pub warnings: Vec<Problem>,
    /// What it made or found.
    pub result: Option<JobResult>,
    /// What it belongs to: the task, group, schedule and start that it came from.
    #[serde(default)]
    pub origin: Origin,
    /// Among those that wait, the higher comes first; 0 unless somebody said otherwise.
    #[serde(default)]
    pub priority: i32,
    /// The drive whose channel it takes while it runs.
    #[serde(default)]
    pub drive: Option<u32>,
    /// The mover that runs or ran it.
    #[serde(default)]
    pub mover: Option<String>,
    /// Why it waits, while it does.
    #[serde(default)]
    pub waiting: Option<Problem>,
    /// It starts no sooner than this.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub not_before: Option<Timestamp>,
    /// How many tries came before it.
    #[serde(default)]
    pub attempt: u32,
    /// The job that it tries again.
    #[serde(default)]
    pub retry_of: Option<JobId>,
    /// It ends as failed when it has run for longer than this; seconds.
    #[serde(default)]
    pub time_limit_seconds: Option<u64>,
}

/// What a job belongs to. All of it is absent from a job that somebody asked for alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The task that it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The name that the task had then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// The group that was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The schedule that started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// What all jobs of one start have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
}

/// When a job that failed or was interrupted is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often; 0 is never. A backup of a task that was interrupted is tried again once even so.
    #[serde(default)]
    pub retries: u32,
    /// How long after the end of the last try.
    #[serde(default = "wait_seconds")]
    pub wait_seconds: u32,
}

fn wait_seconds() -> u32 {
    300
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { retries: 0, wait_seconds: wait_seconds() }
    }
}

/// How far a job is: numbers; text is made by who shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Progress {
    /// Present step, such as `resolve`, `snapshot`, `read`, `commit`, `cleanup`; empty before the first.
    pub step: String,
    /// Bytes to move in all (sum of virtual sizes), 0 while unknown.
    pub total_bytes: u64,
    /// Bytes of the disks dealt with so far, holes included.
    pub done_bytes: u64,
    /// Bytes that came over the wire, or went out.
    pub moved_bytes: u64,
    /// Bytes of chunks that the datastore did not have, before compression.
    pub new_bytes: u64,
    /// Bytes added to the datastore.
    pub stored_bytes: u64,
    /// The disks one by one.
    pub disks: Vec<DiskProgress>,
}

/// How far one disk is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiskProgress {
    /// `userdevice`.
    pub position: String,
    /// Virtual size, bytes.
    pub total_bytes: u64,
    /// Bytes dealt with.
    pub done_bytes: u64,
}

/// Weight of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What happened.
    Info,
    /// What the administrator should look at.
    Warning,
    /// What made it fail.
    Error,
}

/// A line of a job's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Weight.
    pub level: LogLevel,
    /// The step in which it was written.
    pub step: String,
    /// The text, English, without secrets.
    pub text: String,
}

/// How a job ended, as its mover reports it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobReport {
    /// A final state.
    pub state: JobState,
    /// Why it failed.
    pub problem: Option<Problem>,
    /// What to know though it succeeded.
    pub warnings: Vec<Problem>,
    /// What it made or found.
    pub result: Option<JobResult>,
    /// The last numbers.
    pub progress: Progress,
    /// The pool as the job found it, if its hosts were not where the job was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolSummary>,
}
