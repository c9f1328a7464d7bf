//! "Recover and online": starts the restored VM, or resumes it where its memory came along, and waits until its guest reports.
//!
//! The VM is restored by now: what goes wrong here is a warning, and the VM stays.

use std::time::Duration;

use xapi::{Error, VmRef, record::PowerState};
use xenkeep_api::Problem;

use crate::{context::JobContext, problem, session::Session};

/// Between two looks at the guest's metrics.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Starts the VM; returns the addresses that its guest reports.
pub(super) async fn start(cx: &JobContext, session: &Session, vm: &VmRef) -> Vec<String> {
    cx.step("start");
    match run(cx, session, vm).await {
        Ok(()) => {}
        Err(Error::Cancelled) => {
            cx.warn(Problem::new("restore.start_cancelled", "the VM was restored, but its start was cancelled"));
            return Vec::new();
        }
        Err(error) => {
            let cause = problem::pool(&session.client, &error);
            let mut warning = Problem::new(
                "restore.not_started",
                format!("the VM was restored, but did not start: {}", cause.message),
            );
            warning.hint = cause.hint;
            cx.warn(warning);
            return Vec::new();
        }
    }
    cx.info("VM started, waiting for its guest");
    wait_for_guest(cx, session, vm).await
}

async fn run(cx: &JobContext, session: &Session, vm: &VmRef) -> Result<(), Error> {
    let task = match session.pool.vm(vm).await?.power_state {
        PowerState::Suspended => session.pool.vm_resume(vm).await?,
        _ => session.pool.vm_start(vm).await?,
    };
    session.pool.task(task).wait(&cx.cancel, |_| {}).await.map(drop)
}

async fn wait_for_guest(cx: &JobContext, session: &Session, vm: &VmRef) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + cx.config.guest_wait;
    loop {
        match session.pool.guest_addresses(vm).await {
            Ok(addresses) if !addresses.is_empty() => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                cx.info(format!("the guest reports {}", addresses.join(", ")));
                return addresses;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(job = %cx.job, %error, "no guest metrics"),
        }
        if tokio::time::Instant::now() >= deadline {
            let waited = cx.config.guest_wait.as_secs();
            cx.warn(
                Problem::new(
                    "restore.guest_silent",
                    format!("the VM was started, but its guest reported no address within {waited} s"),
                )
                .hint("look at the VM's console; without guest tools it never reports"),
            );
            return Vec::new();
        }
        tokio::select! {
            () = cx.cancel.cancelled() => {
                cx.warn(Problem::new("restore.start_cancelled", "the VM was restored and started, but its guest was not waited for"));
                return Vec::new();
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
