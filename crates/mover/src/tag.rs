//! The marks that everything of ours bears on a pool, in `other_config`.

use std::collections::BTreeMap;

use xenkeep_api::{ClientId, JobId};

/// What all our keys begin with.
pub(crate) const PREFIX: &str = "xenkeep:";
/// The job that made the object.
pub(crate) const JOB: &str = "xenkeep:job";
/// The client as which the pool is known to the xenkeep that made the object: random, so two installations that back up
/// the same pool tell their things apart.
pub(crate) const CLIENT: &str = "xenkeep:client";
/// What the job does; the id of a task once there are tasks.
pub(crate) const TASK: &str = "xenkeep:task";
/// When it was made.
pub(crate) const CREATED: &str = "xenkeep:created";
/// XAPI's own mark on what an import made (xapi: import.ml).
pub(crate) const IMPORT_TASK: &str = "import_task";

/// The marks of what `job` makes for `client`.
pub(crate) fn tags(job: JobId, client: ClientId, task: &str) -> [(&'static str, String); 4] {
    [
        (JOB, job.to_string()),
        (CLIENT, client.to_string()),
        (TASK, task.to_owned()),
        (CREATED, crate::context::now().to_string()),
    ]
}

/// Bears the mark of `job`.
pub(crate) fn is_of_job(other_config: &BTreeMap<String, String>, job: JobId) -> bool {
    other_config.get(JOB).is_some_and(|value| *value == job.to_string())
}

/// name-label of a snapshot that `job` makes, and beginning of the labels of its tasks.
pub(crate) fn label(job: JobId) -> String {
    format!("xenkeep {job}")
}
