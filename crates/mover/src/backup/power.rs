//! Offline: the VM is shut down cleanly before its snapshot, and started again at once after it.

use std::time::Duration;

use uuid::Uuid;
use xapi::{
    TaskRef, VmRef,
    record::{PowerState, Vm},
};
use xenkeep_api::{BackupOptions, Problem};

use crate::{
    context::{JobContext, Stop},
    journal::{Made, StoppedMade},
    session::{OrStop, Session},
    undo,
};

/// A VM that we have shut down.
pub(super) struct Stopped {
    entry: Uuid,
    made: StoppedMade,
}

/// Whether the VM can be shut down, as far as the pool tells before it is tried.
pub(super) async fn check(session: &Session, vm_ref: &VmRef, vm: &Vm) -> Result<(), Stop> {
    match vm.power_state {
        PowerState::Halted => return Ok(()),
        PowerState::Running => {}
        _ => {
            let text = format!("VM {} is {}: it can't be shut down cleanly", vm.name_label, vm.power_state);
            return Err(Problem::new("vm.cannot_shut_down", text)
                .hint("let it run, or shut it down; or choose another consistency")
                .about(&vm.uuid)
                .into());
        }
    }
    for operation in ["clean_shutdown", "start"] {
        if let Some(reason) = vm.blocked_operations.get(operation) {
            let text = format!("an administrator has blocked {operation} of VM {}: {reason}", vm.name_label);
            return Err(Problem::new("vm.blocked", text).about(&vm.uuid).into());
        }
    }
    session.pool.assert_operation_valid(vm_ref, "clean_shutdown").await.map_err(|error| {
        let cause = session.stop(&error);
        let text = format!("VM {} can't be shut down cleanly: {}", vm.name_label, cause.text());
        let problem = Problem::new("vm.cannot_shut_down", text).about(&vm.uuid);
        problem.hint("the guest's tools must run for that; or choose another consistency").into()
    })
}

/// Shuts the VM down. None if it was off before: then it stays so. If it can't be done, the VM is seen to run again.
pub(super) async fn stop(
    cx: &JobContext,
    session: &Session,
    (vm_ref, vm): &(VmRef, Vm),
    options: &BackupOptions,
) -> Result<Option<Stopped>, Stop> {
    // It may have been switched on or off since it was looked at.
    let now: Vm = session.pool.record(vm_ref).await.or_stop(session)?;
    if now.power_state == PowerState::Halted {
        cx.info("the VM is off, and stays so");
        return Ok(None);
    }
    let made = StoppedMade {
        job: cx.job,
        vm_uuid: vm.uuid.clone(),
        vm_name: vm.name_label.clone(),
        task: None,
        wait_seconds: options.offline_wait_seconds,
        suspended: false,
    };
    let entry = cx.journal.write(&Made::Stopped(made.clone())).await?;
    let mut stopped = Stopped { entry, made };
    cx.info(format!("shutting VM {} down", vm.name_label));
    match shut_down(cx, session, vm_ref, &mut stopped, options).await {
        Ok(()) => Ok(Some(stopped)),
        Err(stop) => {
            start(cx, session, stopped).await;
            Err(stop)
        }
    }
}

/// Writes down that the pool is going to suspend the VM for a checkpoint. It resumes it by itself; [`start`] sees to it.
pub(super) async fn suspending(cx: &JobContext, vm: &Vm) -> Result<Stopped, Stop> {
    let made = StoppedMade {
        job: cx.job,
        vm_uuid: vm.uuid.clone(),
        vm_name: vm.name_label.clone(),
        task: None,
        wait_seconds: 0,
        suspended: true,
    };
    let entry = cx.journal.write(&Made::Stopped(made.clone())).await?;
    Ok(Stopped { entry, made })
}

impl Stopped {
    /// Notes the task that is at work on the VM.
    pub(super) async fn note(&mut self, cx: &JobContext, task: &TaskRef) -> Result<(), Stop> {
        self.made.task = Some(task.to_string());
        cx.journal.rewrite(self.entry, &Made::Stopped(self.made.clone())).await
    }
}

async fn shut_down(
    cx: &JobContext,
    session: &Session,
    vm: &VmRef,
    stopped: &mut Stopped,
    options: &BackupOptions,
) -> Result<(), Stop> {
    let limit = Duration::from_secs(u64::from(options.offline_wait_seconds));
    let task = session.pool.vm_clean_shutdown(vm).await.or_stop(session)?;
    stopped.note(cx, &task).await?;
    // The limit cancels the task as a cancel of the job does.
    let enough = cx.cancel.child_token();
    let task = session.pool.task(task);
    let wait = task.wait(&enough, |_| {});
    tokio::pin!(wait);
    let ended = tokio::select! {
        ended = &mut wait => ended,
        () = tokio::time::sleep(limit) => {
            enough.cancel();
            wait.await
        }
    };
    match ended {
        Ok(_) => cx.check(),
        Err(xapi::Error::Cancelled) if enough.is_cancelled() && !cx.cancel.is_cancelled() => {
            let (vm, seconds) = (&stopped.made.vm_name, options.offline_wait_seconds);
            Err(Problem::new("vm.shutdown_too_slow", format!("VM {vm} did not shut down within {seconds} s"))
                .hint("see what holds the guest up, or give it more time")
                .about(&stopped.made.vm_uuid)
                .into())
        }
        Err(error) => Err(session.stop(&error)),
    }
}

/// Starts or resumes the VM again, whatever has happened and whoever has cancelled. If that fails it is said, and tried again by the
/// recovery that the journal asks for.
pub(super) async fn start(cx: &JobContext, session: &Session, stopped: Stopped) {
    let name = stopped.made.vm_name.clone();
    let how = if stopped.made.suspended { "suspended" } else { "shut down" };
    match undo::stopped(cx, session, stopped.made, Some(stopped.entry)).await {
        Ok(lines) => lines.into_iter().for_each(|line| cx.info(line)),
        Err(stop) => cx.warn(
            Problem::new(
                "vm.not_started",
                format!("VM {name} was {how} for its backup and does not run: {}", stop.text()),
            )
            .hint("xenkeep tries to start it again; see why it does not start")
            .about(name),
        ),
    }
}
