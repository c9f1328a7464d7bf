//! `xenkeep restore`: bring a VM back.

use clap::{ArgGroup, Args};
use xenkeep_api::{Job, JobResult, Placement, Point, PoolVm, PowerState, RestoreRequest, http::ApiClient};

use super::{Context, backups::short, clients::TransportArg, jobs};
use crate::{
    Exit, confirm,
    follow::OnInterrupt,
    output::{details, one_line},
    progress::word,
    units,
};

const EXAMPLES: &str = "\
Examples:
  xenkeep restore 3f2a91c0 --as web1-copy --start     beside the original: new uuid, new MACs
  xenkeep restore 3f2a91c0 --overwrite                over the original: same name, uuid and MACs

^C cancels the restore and waits until the pool is as it was; a second ^C leaves that to the server.";

/// Restore a VM from a restore point.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("placement").args(["as_name", "overwrite"]).required(true))]
pub(crate) struct Restore {
    /// Id of the point, or as much of it as is unique.
    point: String,
    /// Beside whatever is there, under this new name.
    #[arg(long = "as", id = "as_name", value_name = "NEWNAME")]
    as_name: Option<String>,
    /// Over the original: the VM with its uuid is replaced, once the restored one is complete.
    #[arg(long)]
    overwrite: bool,
    /// Name or uuid of the SR for the disks; without it the pool's default SR.
    #[arg(long, value_name = "NAME|UUID")]
    sr: Option<String>,
    /// Start the VM and wait for its guest.
    #[arg(long)]
    start: bool,
    /// Don't ask before a VM is replaced.
    #[arg(long, conflicts_with = "as_name")]
    yes: bool,
    /// Name or id of the pool to restore to; without it the one that the point was read from.
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// How the data travels this time, if not as the client says.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportArg>,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let point = api.point(&self.point).await?;
        if self.overwrite && !self.confirmed(context, &api, &point).await? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        let request = RestoreRequest {
            point: point.id,
            client: self.client,
            placement: self.as_name.map_or(Placement::Overwrite, |name| Placement::Beside { name }),
            sr: self.sr,
            start: self.start,
            transport: self.transport.map(Into::into),
        };
        let job = api.restore(&request).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }

    /// Says what will be removed, and asks.
    async fn confirmed(&self, context: &Context, api: &ApiClient, point: &Point) -> anyhow::Result<bool> {
        if self.yes {
            return Ok(true);
        }
        let client = match &self.client {
            Some(name) => api.client(name).await?,
            None => api.client(&point.client.to_string()).await?,
        };
        let vms = api.vms(&client.id.to_string()).await?;
        let victim = vms.iter().find(|vm| vm.uuid == point.source_uuid);
        confirm::ask(context.console, &consequences(&client.name, victim, point), "Go on?")
    }
}

/// What restoring `point` over the original does to the pool.
fn consequences(pool: &str, victim: Option<&PoolVm>, point: &Point) -> String {
    let new = details([
        ("  restored", format!("{} ({})", point.source_name, point.source_uuid)),
        ("  point", format!("{} of {}", short(&point.id), units::time(point.taken_at))),
        ("  disks", format!("{}, {}", point.disks.len(), units::size(point.size_bytes))),
    ]);
    let Some(vm) = victim else {
        return format!("No VM on pool {pool} has the uuid of this point: nothing will be removed.\n{new}");
    };
    let size = vm.disks.iter().fold(0, |sum: u64, disk| sum.saturating_add(disk.size_bytes));
    let mut old = details([
        ("  removed", format!("{} ({})", vm.name, vm.uuid)),
        ("  state", word(&vm.power_state).to_lowercase()),
        ("  disks", format!("{}, {}", vm.disks.len(), units::size(size))),
    ]);
    for disk in &vm.disks {
        let line = format!("{} {} on {} ({})", disk.position, disk.name, disk.sr, disk.vdi_uuid);
        old += &format!("    {}\n", one_line(&line));
    }
    if vm.power_state != PowerState::Halted {
        old += "  It must be shut down first.\n";
    }
    format!(
        "On pool {pool} this VM will be removed, with all that was written to it since the backup:\n{old}and replaced by:\n{new}"
    )
}

/// What a finished restore has made.
pub(super) fn summary(job: &Job) -> Option<String> {
    let Some(JobResult::Vm { vm }) = &job.result else { return None };
    let progress = &job.progress;
    let time = job.started_at.zip(job.finished_at).map(|(from, to)| units::elapsed(from, to)).unwrap_or_default();
    let rate = units::rate(progress.done_bytes, time).map(|rate| format!(" ({rate})")).unwrap_or_default();
    let mut text = format!("restored {}\n", one_line(&vm.name));
    text += &details([
        ("  uuid", vm.uuid.clone()),
        ("  state", word(&vm.power_state).to_lowercase()),
        ("  addresses", vm.addresses.join(", ")),
        ("  disks", format!("{} in {}{rate}", units::size(progress.done_bytes), units::duration(time))),
        ("  written", units::size(progress.moved_bytes)),
    ]);
    Some(text)
}

#[cfg(test)]
mod tests;
