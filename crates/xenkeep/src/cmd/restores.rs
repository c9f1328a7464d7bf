//! `xenkeep restore`: bring VMs back.

use std::collections::BTreeMap;

use clap::{ArgGroup, Args};
use xenkeep_api::{Job, JobResult, Placement, Point, RestorePlan, RestoreRequest, UnmappedNetworks, http::ApiClient};

use super::{Context, clients::TransportArg, jobs};
use crate::{
    Exit, confirm,
    follow::OnInterrupt,
    output::{details, one_line},
    progress::word,
    report::Usage,
    units,
};

mod plan;

const EXAMPLES: &str = "\
Examples:
  xenkeep restore 3f2a91c0 --as web1-copy --start     beside the original: new uuid, new MACs
  xenkeep restore 3f2a91c0 --overwrite                over the original: same name, uuid and MACs
  xenkeep restore 3f2a91c0 --overwrite --dry-run      what would be done: disks, SRs, networks, what is removed
  xenkeep restore 3f2a91c0 8e01d2 --name '{name}-restored' --sr Fast --disk-sr 1=Big --network LAN=Lab

^C cancels the restore and waits until the pool is as it was; a second ^C leaves that to the server.";

/// Restore VMs from restore points.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("placement").args(["as_name", "overwrite"]).required(true))]
pub(crate) struct Restore {
    /// Ids of the points, or as much of each as is unique. Each point is a job of its own.
    #[arg(required = true, value_name = "POINT")]
    points: Vec<String>,
    /// Beside whatever is there, under this new name; {name} stands for the VM's name, {date} for the day of its backup.
    #[arg(long = "as", id = "as_name", value_name = "NEWNAME", visible_alias = "name")]
    as_name: Option<String>,
    /// Over the original: the VM with its uuid is replaced, once the restored one is complete.
    #[arg(long)]
    overwrite: bool,
    /// Where an SR has no room for both: remove the original's disks before the restore. If it fails then, the original is
    /// lost; the restore point is not.
    #[arg(long, requires = "overwrite", conflicts_with = "as_name")]
    destroy_first: bool,
    /// Name or uuid of the SR for the disks; without it the pool's default SR.
    #[arg(long, value_name = "NAME|UUID")]
    sr: Option<String>,
    /// Name or uuid of the SR for one disk, by its position. May be given many times.
    #[arg(long, value_name = "POSITION=SR", value_parser = pair)]
    disk_sr: Vec<(String, String)>,
    /// Network for the cards that were on another one (name, uuid, or device:N for one card). Without it a network of the
    /// same uuid is taken, else one of the same name. May be given many times.
    #[arg(long, value_name = "FROM=TO", value_parser = pair)]
    network: Vec<(String, String)>,
    /// Leave out network cards whose network the pool does not have, instead of refusing.
    #[arg(long)]
    leave_out_networks: bool,
    /// Start the VM, or resume it where the point holds its memory, and wait for its guest.
    #[arg(long)]
    start: bool,
    /// Leave out the memory of a point that holds some: the VM comes back switched off.
    #[arg(long)]
    without_memory: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
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

/// `FROM=TO`.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("it is written FROM=TO".to_owned()),
    }
}

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let mut requests = Vec::with_capacity(self.points.len());
        for point in &self.points {
            requests.push(self.request(&api.point(point).await?)?);
        }
        self.check_names(&requests)?;
        if self.dry_run {
            return show_plans(context, &api, &requests).await;
        }
        if self.overwrite && !self.yes && !confirmed(context, &api, &requests).await? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        let mut queued = Vec::with_capacity(requests.len());
        for request in &requests {
            queued.push(api.restore(request).await?);
        }
        if self.detach {
            for job in &queued {
                jobs::queued(context, job)?;
            }
            return Ok(Exit::Success);
        }
        if queued.len() == 1
            && let Some(job) = queued.pop()
        {
            return jobs::see_through(context, &api, job, OnInterrupt::Cancel).await;
        }
        let ended = jobs::see_all_through(context, &api, queued).await?;
        if context.console.is_json() {
            context.console.result(&ended, String::new)?;
        }
        jobs::all_ended(context.console, &ended)
    }

    fn request(&self, point: &Point) -> anyhow::Result<RestoreRequest> {
        let placement = match &self.as_name {
            Some(name) => Placement::Beside { name: named(name, point) },
            None => Placement::Overwrite { destroy_first: self.destroy_first.then(|| point.source_uuid.clone()) },
        };
        Ok(RestoreRequest {
            client: self.client.clone(),
            sr: self.sr.clone(),
            disk_srs: once("--disk-sr", &self.disk_sr)?,
            networks: once("--network", &self.network)?,
            unmapped_networks: if self.leave_out_networks {
                UnmappedNetworks::LeaveOut
            } else {
                UnmappedNetworks::Refuse
            },
            without_memory: self.without_memory,
            start: self.start,
            transport: self.transport.map(Into::into),
            ..RestoreRequest::new(&point.id, placement)
        })
    }

    /// Several VMs of one name are never meant.
    fn check_names(&self, requests: &[RestoreRequest]) -> anyhow::Result<()> {
        let mut names: Vec<&str> = requests
            .iter()
            .filter_map(|request| match &request.placement {
                Placement::Beside { name } => Some(name.as_str()),
                Placement::Overwrite { .. } => None,
            })
            .collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Usage::new(format!("two VMs would be called {}", one_line(twice[0])))
                .hint("use a name like '{name}-restored', or '{name}-{date}'")
                .into());
        }
        Ok(())
    }
}

/// Each left side may stand once.
fn once(option: &str, pairs: &[(String, String)]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (from, to) in pairs {
        if map.insert(from.clone(), to.clone()).is_some() {
            return Err(Usage::new(format!("{option} names {} twice", one_line(from))).into());
        }
    }
    Ok(map)
}

/// The new name of a VM.
fn named(template: &str, point: &Point) -> String {
    let date = point.taken_at.strftime("%Y-%m-%d").to_string();
    template.replace("{date}", &date).replace("{name}", &point.source_name)
}

async fn show_plans(context: &Context, api: &ApiClient, requests: &[RestoreRequest]) -> anyhow::Result<Exit> {
    let mut plans: Vec<RestorePlan> = Vec::with_capacity(requests.len());
    for request in requests {
        plans.push(api.plan_restore(request).await?);
    }
    context.console.result(&plans, || plans.iter().map(plan::text).collect::<Vec<_>>().join("\n"))?;
    Ok(if plans.iter().all(|plan| plan.ok) { Exit::Success } else { Exit::Failed })
}

/// Says what will be removed, and asks. What is refused is said before anybody is asked.
async fn confirmed(context: &Context, api: &ApiClient, requests: &[RestoreRequest]) -> anyhow::Result<bool> {
    let mut texts = Vec::with_capacity(requests.len());
    for request in requests {
        let plan = api.plan_restore(request).await?;
        if let Some(refusal) = plan.refusals.first() {
            return Err(refusal.clone().into());
        }
        texts.push(plan::consequences(&plan));
    }
    confirm::ask(context.console, &texts.join("\n"), "Go on?")
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
