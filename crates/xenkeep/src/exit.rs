//! How a command ends, for scripts.

use std::process::ExitCode;

use xenkeep_api::{Job, JobState};

/// Exit code of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Success,
    /// 1: not done; stderr says why.
    Failed,
    /// 2: not even tried, because the command line can't be followed.
    Usage,
    /// 3: done, with a warning.
    Warning,
}

impl Exit {
    /// How a command that followed `job` to its end has ended.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        match job.state {
            JobState::Success => Self::Success,
            JobState::Warning => Self::Warning,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Warning => 3,
        })
    }
}
