//! Has the pool freeze the disks, in the state that was asked for.
//!
//! | asked | the VM runs | it is off |
//! |---|---|---|
//! | `crash` | `VM.snapshot` | the same |
//! | `quiesced` | `VM.snapshot_with_quiesce`; where pool or guest can't, a hook in the guest ([`guests`]) around `VM.snapshot`; else refused | `VM.snapshot` |
//! | `quiesced-preferred` | the same; else `VM.snapshot`, with a warning | `VM.snapshot` |
//! | `memory` | `VM.checkpoint`, and seen to that the VM runs again | `VM.snapshot` |
//! | `offline` | `VM.snapshot` between a shutdown and a start ([`power`]) | `VM.snapshot` |

use uuid::Uuid;
use xapi::{
    Backoff, TaskResult, VdiRef, VmRef,
    record::{PowerState, Vm},
};
use xenkeep_api::{BackupOptions, Consistency, Problem, QuiescedBy};

use super::{leave_out::LeftOut, power};
use crate::{
    context::{JobContext, Stop},
    guests,
    journal::{Made, SnapshotMade},
    session::Session,
};

/// Makes a snapshot of a VM.
pub(super) struct Maker<'a> {
    pub(super) cx: &'a JobContext,
    pub(super) session: &'a Session,
    pub(super) vm: &'a (VmRef, Vm),
    pub(super) options: &'a BackupOptions,
    pub(super) left_out: &'a LeftOut,
    /// The journal's entry, and what it says.
    pub(super) entry: Uuid,
    pub(super) made: &'a mut SnapshotMade,
}

/// A snapshot that was made.
pub(super) struct Frozen {
    /// What the pool calls it.
    pub(super) result: TaskResult,
    /// The state of the disks.
    pub(super) reached: Consistency,
    /// Who quiesced the guest.
    pub(super) by: Option<QuiescedBy>,
}

/// How the pool is asked.
#[derive(Clone, Copy)]
enum Way<'a> {
    /// Without the guest's help, and without these disks.
    Plain(&'a [VdiRef]),
    /// With the guest's help.
    Quiesced,
    /// With the memory.
    Checkpoint,
}

impl Maker<'_> {
    /// Makes it, and tells in which state the disks are.
    pub(super) async fn freeze(mut self) -> Result<Frozen, Stop> {
        let is_off = self.vm.1.power_state == PowerState::Halted;
        match self.options.consistency {
            Consistency::Crash => self.plain(Consistency::Crash).await,
            Consistency::Offline => self.plain(Consistency::Offline).await,
            // Nobody is in it who could write anything out.
            Consistency::Quiesced | Consistency::QuiescedPreferred if is_off => {
                self.cx.info("the VM is off: its disks are as it left them");
                self.plain(Consistency::Offline).await
            }
            Consistency::Memory if is_off => {
                self.cx.info("the VM is off: it has no memory to keep, and its disks are as it left them");
                self.plain(Consistency::Offline).await
            }
            Consistency::Quiesced | Consistency::QuiescedPreferred => self.quiesced().await,
            Consistency::Memory => self.checkpoint().await,
        }
    }

    async fn plain(&mut self, reached: Consistency) -> Result<Frozen, Stop> {
        let answer = self.ask(Way::Plain(&self.left_out.vdis), None).await?;
        Ok(Frozen { result: or_refused(self.session, answer)?, reached, by: None })
    }

    /// By the pool; else by the guest; else as the options say.
    async fn quiesced(mut self) -> Result<Frozen, Stop> {
        let mut why = Vec::new();
        if self.left_out.vdis.is_empty() {
            match self.ask(Way::Quiesced, None).await? {
                Ok(result) => {
                    return Ok(Frozen { result, reached: Consistency::Quiesced, by: Some(QuiescedBy::Pool) });
                }
                Err(error) if cannot_quiesce(&error) => why.push(self.session.stop(&error).text().to_owned()),
                Err(error) => return Err(self.session.stop(&error)),
            }
        } else {
            why.push("no pool quiesces a VM and leaves disks out".to_owned());
        }
        let held = guests::freeze(self.cx, self.session, self.vm, self.options.freeze_limit_seconds).await?;
        let mut made = None;
        match held {
            Ok(hold) => {
                let answer = self.ask(Way::Plain(&self.left_out.vdis), None).await;
                let held = hold.thaw(self.cx, self.session).await;
                let result = or_refused(self.session, answer?)?;
                if held {
                    return Ok(Frozen { result, reached: Consistency::Quiesced, by: Some(QuiescedBy::Guest) });
                }
                why.push("its guest thawed before the snapshot was made".to_owned());
                made = Some(result);
            }
            Err(reason) => why.push(reason),
        }
        let problem = not_quiesced(&self.vm.1, &why.join("; "));
        if self.options.consistency == Consistency::Quiesced {
            return Err(problem.into());
        }
        self.cx.warn(problem);
        match made {
            Some(result) => Ok(Frozen { result, reached: Consistency::Crash, by: None }),
            None => self.plain(Consistency::Crash).await,
        }
    }

    /// With the memory. A VM that ran runs afterwards, whatever has happened.
    async fn checkpoint(mut self) -> Result<Frozen, Stop> {
        let mut suspended = match self.vm.1.power_state {
            PowerState::Running => {
                self.cx.info("the VM stands still while the pool writes its memory down");
                Some(power::suspending(self.cx, &self.vm.1).await?)
            }
            _ => None,
        };
        let answer = self.ask(Way::Checkpoint, suspended.as_mut()).await;
        if let Some(suspended) = suspended {
            power::start(self.cx, self.session, suspended).await;
        }
        let result = answer?.map_err(|error| self.session.stop(&error))?;
        Ok(Frozen { result, reached: Consistency::Memory, by: None })
    }

    /// Has the pool make it. A VM or storage that is busy with something else is asked again for a while: nothing was begun then.
    async fn ask(
        &mut self,
        way: Way<'_>,
        mut suspended: Option<&mut power::Stopped>,
    ) -> Result<Result<TaskResult, xapi::Error>, Stop> {
        let (cx, pool, vm) = (self.cx, &self.session.pool, &self.vm.0);
        let mut tries = 0;
        loop {
            let begun = match way {
                Way::Plain(left_out) => pool.vm_snapshot(vm, &self.made.name, left_out).await,
                Way::Quiesced => pool.vm_snapshot_with_quiesce(vm, &self.made.name).await,
                Way::Checkpoint => pool.vm_checkpoint(vm, &self.made.name).await,
            };
            let answer = match begun {
                Ok(task) => {
                    self.made.tasks.push(task.to_string());
                    cx.journal.rewrite(self.entry, &Made::Snapshot(self.made.clone())).await?;
                    if let Some(suspended) = &mut suspended {
                        suspended.note(cx, &task).await?;
                    }
                    pool.task(task).wait(&cx.cancel, |_| {}).await
                }
                Err(error) => Err(error),
            };
            tries += 1;
            // A connection that broke is another thing: the snapshot may have been made.
            let busy = answer.as_ref().is_err_and(|error| error.api_code().is_some() && error.is_transient());
            let Some(pause) = Backoff::default().pause(tries).filter(|_| busy) else { return Ok(answer) };
            if tries == 1 {
                cx.info("the pool is busy with the VM or its storage: waiting");
            }
            let wait = async {
                tokio::time::sleep(pause).await;
                Ok::<_, Stop>(())
            };
            cx.or_cancelled(wait).await?;
        }
    }
}

/// Pool or guest is not able to, now or ever; nothing was made.
fn cannot_quiesce(error: &xapi::Error) -> bool {
    let code = error.api_code().unwrap_or_default();
    error.is_unsupported()
        || code.starts_with("VM_SNAPSHOT_WITH_QUIESCE")
        || matches!(
            code,
            "LICENCE_RESTRICTION"
                | "FEATURE_RESTRICTED"
                | "VM_MISSING_PV_DRIVERS"
                | "VM_LACKS_FEATURE"
                | "VM_BAD_POWER_STATE"
        )
}

fn not_quiesced(vm: &Vm, why: &str) -> Problem {
    let text = format!("VM {} was not quiesced: {why}", vm.name_label);
    Problem::new("vm.not_quiesced", text)
        .hint(
            "pools since Citrix Hypervisor 8.1 and XCP-ng 8.1 can't quiesce by themselves: install the guest hook of \
             contrib/guest; --consistency offline shuts the guest down, quiesced-preferred goes on without",
        )
        .about(&vm.uuid)
}

/// What a plain snapshot failed with. That disks can't be left out is said in words that tell what to do.
fn or_refused(session: &Session, answer: Result<TaskResult, xapi::Error>) -> Result<TaskResult, Stop> {
    answer.map_err(|error| {
        if !error.is_api("MESSAGE_PARAMETER_COUNT_MISMATCH") {
            return session.stop(&error);
        }
        let text = format!("pool {} can't leave disks out of a snapshot: its release is too old", session.client.name);
        Problem::new("pool.cannot_leave_out", text)
            .hint("that takes XenServer 8 or XCP-ng 8.3; until then take [NOBAK] out of the disks' names, and the rules out of the task")
            .into()
    })
}
