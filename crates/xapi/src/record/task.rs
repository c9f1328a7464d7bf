//! Tasks.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{enumeration, record};
use crate::refs::{HostRef, TaskRef};

enumeration! {
    /// State of a task.
    TaskStatus {
        /// Under way.
        Pending = "pending",
        /// Done.
        Success = "success",
        /// Failed, see `error_info`.
        Failure = "failure",
        /// Asked to end; hardly ever seen.
        Cancelling = "cancelling",
        /// Ended at somebody's wish.
        Cancelled = "cancelled",
    }
}

impl Default for TaskStatus {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

record! {
    /// Something that runs on the pool.
    Task, TaskRef {
        /// What lasts, though not long.
        uuid: String = "uuid",
        /// What it is.
        name_label: String = "name_label",
        /// What it is, at length.
        name_description: String = "name_description",
        /// Its state.
        status: TaskStatus = "status",
        /// From 0 to 1.
        progress: f64 = "progress",
        /// XML text of its result.
        result: String = "result",
        /// Code and parameters of its failure.
        error_info: Vec<String> = "error_info",
        /// When it began.
        created: Timestamp = "created",
        /// When it ended; the epoch before.
        finished: Timestamp = "finished",
        /// Who runs it.
        resident_on: HostRef = "resident_on",
        /// Any map of others' keys and ours.
        other_config: BTreeMap<String, String> = "other_config",
    }
}

impl Task {
    /// It has not ended.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        matches!(self.status, TaskStatus::Pending | TaskStatus::Cancelling)
    }
}
