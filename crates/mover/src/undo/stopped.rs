//! Starts a VM again that was shut down for its backup, or resumes one that a checkpoint left suspended.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use xapi::{
    VmRef,
    record::{PowerState, Vm},
};
use xenkeep_api::Problem;

use super::tasks;
use crate::{
    context::{JobContext, Stop},
    journal::{Made, StoppedMade},
    session::Session,
};

/// A guest that was asked to shut down may do so though nobody waits any more: it is watched this long at most.
const WATCH_LIMIT: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a checkpoint may be under way that nobody waits for any more: all of the memory is written.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(150);

/// Sees to it that the VM runs; says what was done.
pub(super) async fn start(
    cx: &JobContext,
    session: &Session,
    made: &StoppedMade,
    entry: Option<Uuid>,
) -> Result<Vec<String>, Stop> {
    let known: Vec<String> = made.task.iter().cloned().collect();
    tasks::sweep(session, made.job, &known).await?;
    let (task, done) = if made.suspended {
        let Some(vm) = wait_until_settled(session, made).await? else { return Ok(Vec::new()) };
        (session.pool.vm_resume(&vm).await, "resumed")
    } else {
        let Some(vm) = wait_until_off(session, made).await? else { return Ok(Vec::new()) };
        (session.pool.vm_start(&vm).await, "started again")
    };
    let task = task.map_err(|error| session.stop(&error))?;
    super::note_down(cx, entry, || Made::Stopped(StoppedMade { task: Some(task.to_string()), ..made.clone() })).await?;
    match session.pool.task(task).wait(&CancellationToken::new(), |_| {}).await {
        Ok(_) => Ok(vec![format!("VM {} {done}", made.vm_name)]),
        // Somebody else was faster.
        Err(error) if error.is_api("VM_BAD_POWER_STATE") => Ok(Vec::new()),
        Err(error) => Err(session.stop(&error)),
    }
}

/// The VM if it is off; none if it runs, is gone, or was never asked to go.
async fn wait_until_off(session: &Session, made: &StoppedMade) -> Result<Option<VmRef>, Stop> {
    let watch = WATCH_LIMIT.min(Duration::from_secs(u64::from(made.wait_seconds)));
    let deadline = tokio::time::Instant::now() + watch;
    loop {
        let (vm, record) = match session.pool.by_uuid::<Vm>(&made.vm_uuid).await {
            Ok(found) => found,
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(session.stop(&error)),
        };
        match record.power_state {
            PowerState::Halted => return Ok(Some(vm)),
            // Without a task nobody has asked it.
            PowerState::Running if made.task.is_some() && tokio::time::Instant::now() < deadline => {}
            PowerState::Running | PowerState::Paused => return Ok(None),
            _ => {
                let text = format!("VM {} is {}", made.vm_name, record.power_state);
                return Err(Problem::new("vm.not_started", text).about(&made.vm_uuid).into());
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The VM if it was left suspended; none if it runs, is off, or is gone. The pool itself resumes it after a checkpoint.
async fn wait_until_settled(session: &Session, made: &StoppedMade) -> Result<Option<VmRef>, Stop> {
    let deadline = tokio::time::Instant::now() + CHECKPOINT_LIMIT;
    loop {
        let (vm, record) = match session.pool.by_uuid::<Vm>(&made.vm_uuid).await {
            Ok(found) => found,
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(session.stop(&error)),
        };
        let busy = |operation: &String| matches!(operation.as_str(), "checkpoint" | "suspend" | "resume" | "resume_on");
        if !record.current_operations.values().any(busy) {
            return Ok((record.power_state == PowerState::Suspended).then_some(vm));
        }
        if tokio::time::Instant::now() > deadline {
            let text = format!("the checkpoint of VM {} is still under way", made.vm_name);
            return Err(Problem::new("vm.not_started", text).about(&made.vm_uuid).into());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
