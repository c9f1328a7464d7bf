//! Tasks: what runs on a pool in our name.

use std::{collections::HashMap, time::Duration};

use xapi::{TaskRef, TaskResult, VmRef, record::Task};
use xenkeep_api::JobId;

use crate::{
    context::Stop,
    session::{OrStop, Session},
    tag,
};

/// How long a task that was cancelled may take to end. Exports and imports look every 10 s (xapi: stream_vdi.ml).
const END_LIMIT: Duration = Duration::from_secs(30);

/// Ends and removes the tasks of `job`, known by their label, and those in `known`; waits for their end, since disks are
/// in use until then.
pub(crate) async fn sweep(session: &Session, job: JobId, known: &[String]) -> Result<(), Stop> {
    let label = tag::label(job);
    let deadline = tokio::time::Instant::now() + END_LIMIT;
    let mut asked = Vec::new();
    loop {
        let all: HashMap<TaskRef, Task> = session.pool.records().await.or_stop(session)?;
        let ours = all.into_iter().filter(|(task, record)| {
            record.name_label.starts_with(&label) || known.iter().any(|known| known == task.as_str())
        });
        let mut pending = false;
        for (task, record) in ours {
            if !record.is_under_way() {
                session.pool.task_destroy(&task).await;
                continue;
            }
            if !asked.contains(&task) {
                session.pool.task_cancel(&task).await.or_stop(session)?;
                asked.push(task.clone());
            }
            if tokio::time::Instant::now() > deadline {
                // Nobody completes it any more: the pool forgets it when it does.
                session.pool.task_destroy(&task).await;
            } else {
                pending = true;
            }
        }
        if !pending {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Removes the finished task of which the pool says that it made the snapshot `vm`: we may have died before we heard of it.
pub(super) async fn forget_maker(session: &Session, vm: &VmRef) -> Result<(), Stop> {
    let all: HashMap<TaskRef, Task> = session.pool.records().await.or_stop(session)?;
    for (task, record) in all {
        if !record.is_under_way() && TaskResult::parse(&record.result).reference::<VmRef>().as_ref() == Some(vm) {
            session.pool.task_destroy(&task).await;
        }
    }
    Ok(())
}
