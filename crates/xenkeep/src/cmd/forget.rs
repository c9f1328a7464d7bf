//! `xenkeep point forget`: remove restore points, by name or by a policy.

use clap::{ArgGroup, Args};
use xenkeep_api::{
    ForgetRequest, Job, JobResult, KeepReason, KeepWithin, PlannedPoint, Point, RetentionGroup, RetentionPlan,
    RetentionPolicy, RetentionRequest, RetentionStarted, http::ApiClient,
};

use super::{
    Context,
    backups::short,
    jobs,
    points::{Names, name_of, names},
};
use crate::{
    Exit, confirm,
    output::{Column, one_line, table},
    progress::word,
    units,
};

const NOTES: &str = "\
Examples:
  xenkeep point forget 3f2a91c0 77b1d0e2
  xenkeep point forget --vm web1 --keep-last 3 --keep-daily 7 --keep-weekly 5 --dry-run
  xenkeep point forget --datastore store --keep-within 14d --keep-monthly 12

A policy looks at all points of each VM in each datastore, from the newest on, and keeps a point if one of its rules \
does: the newest one of each of so many hours, days, weeks (from Monday), months or years that have points. While a rule \
has room left, the oldest point stays as well. --keep-within is seen from the newest point of the VM, not from today. \
Protected points stay and are not counted; the newest good point of a VM is never removed by a policy.

Removing a point touches no other one. The space that it took is freed by `xenkeep datastore prune`.";

/// Remove restore points for good: those named, or those that a policy does not keep.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args([
    "ids", "keep_last", "keep_hourly", "keep_daily", "keep_weekly", "keep_monthly", "keep_yearly", "keep_within",
]))]
pub(crate) struct Forget {
    /// Ids of the points, or as much of each as is unique.
    #[arg(value_name = "ID", conflicts_with_all = [
        "client", "vm", "datastore", "time_zone", "keep_last", "keep_hourly", "keep_daily", "keep_weekly",
        "keep_monthly", "keep_yearly", "keep_within",
    ])]
    ids: Vec<String>,
    /// Only points of this pool (name or id).
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Only points of this VM (name or uuid).
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
    /// Only points in this datastore (name or id).
    #[arg(long, value_name = "NAME")]
    datastore: Option<String>,
    #[command(flatten)]
    keep: Keep,
    /// Time zone in which days begin and end, such as `Europe/Vienna`; without it that of the server.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Only show what would be kept, and why, and what removed.
    #[arg(long)]
    dry_run: bool,
    /// Don't ask before points are removed.
    #[arg(long)]
    yes: bool,
}

/// A policy, as arguments.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to keep of each VM")]
pub(super) struct Keep {
    /// The newest N points.
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// The newest point of N hours.
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// The newest point of N days.
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// The newest point of N weeks.
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// The newest point of N months.
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// The newest point of N years.
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// All points that are less than this older than the newest one, such as 14d, 36h, 1y6m.
    #[arg(long, value_name = "TIME")]
    keep_within: Option<KeepWithin>,
}

impl From<Keep> for RetentionPolicy {
    fn from(keep: Keep) -> Self {
        Self {
            keep_last: keep.keep_last.unwrap_or(0),
            keep_hourly: keep.keep_hourly.unwrap_or(0),
            keep_daily: keep.keep_daily.unwrap_or(0),
            keep_weekly: keep.keep_weekly.unwrap_or(0),
            keep_monthly: keep.keep_monthly.unwrap_or(0),
            keep_yearly: keep.keep_yearly.unwrap_or(0),
            keep_within: keep.keep_within,
        }
    }
}

impl Forget {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        if self.ids.is_empty() { self.by_policy(context, &api).await } else { self.by_name(context, &api).await }
    }

    async fn by_name(self, context: &Context, api: &ApiClient) -> anyhow::Result<Exit> {
        let mut points = Vec::new();
        for id in &self.ids {
            points.push(api.point(id).await?);
        }
        let names = names(&api.datastores().await?);
        let consequences = || format!("These restore points will be removed for good:\n{}", doomed(&points, &names));
        if self.dry_run {
            context.console.result(&points, consequences)?;
            return Ok(Exit::Success);
        }
        if !self.yes && !confirm::ask(context.console, &consequences(), "Go on?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        let request = ForgetRequest { points: points.into_iter().map(|point| point.id).collect() };
        let jobs = jobs::see_all_through(context, api, api.forget_points(&request).await?).await?;
        if context.console.is_json() {
            context.console.result(&jobs, String::new)?;
        }
        jobs::all_ended(context.console, &jobs)
    }

    async fn by_policy(self, context: &Context, api: &ApiClient) -> anyhow::Result<Exit> {
        let mut request = RetentionRequest {
            client: self.client,
            vm: self.vm,
            datastore: self.datastore,
            policy: self.keep.into(),
            time_zone: self.time_zone,
            agreed: None,
        };
        let plan = api.preview_retention(&request).await?;
        let names = names(&api.datastores().await?);
        if self.dry_run || plan.removed().next().is_none() {
            let started = RetentionStarted { plan, jobs: Vec::new() };
            if self.dry_run {
                context.console.result(&started.plan, || planned(&started.plan, &names))?;
            } else {
                context.console.result(&started, || planned(&started.plan, &names))?;
            }
            return Ok(Exit::Success);
        }
        if self.yes {
            context.console.note(&planned(&plan, &names));
        } else if !confirm::ask(context.console, &planned(&plan, &names), "Remove them for good?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        // What was seen and agreed to, and nothing that a new point has displaced since.
        request.agreed = Some(plan.removed().map(|point| point.id.clone()).collect());
        let RetentionStarted { plan, jobs } = api.apply_retention(&request).await?;
        let started = RetentionStarted { plan, jobs: jobs::see_all_through(context, api, jobs).await? };
        if context.console.is_json() {
            context.console.result(&started, String::new)?;
        }
        jobs::all_ended(context.console, &started.jobs)
    }
}

fn doomed(points: &[Point], names: &Names) -> String {
    let columns = [
        Column::Text("ID"),
        Column::Text("CLIENT"),
        Column::Text("VM"),
        Column::Text("TAKEN"),
        Column::Number("SIZE"),
        Column::Text("DATASTORE"),
    ];
    let rows = points.iter().map(|point| {
        [
            short(&point.id).to_owned(),
            point.client_name.clone(),
            point.source_name.clone(),
            units::time(point.taken_at),
            units::size(point.size_bytes),
            name_of(point.datastore, names),
        ]
    });
    table(columns, rows)
}

/// What a policy keeps and removes, a table for each VM.
fn planned(plan: &RetentionPlan, names: &Names) -> String {
    let mut text = String::new();
    for group in &plan.groups {
        text += &group_text(group, names);
        text.push('\n');
    }
    let all: usize = plan.groups.iter().map(|group| group.points.len()).sum();
    let removed = plan.removed().count();
    let zone = one_line(&plan.time_zone);
    text + &format!("{removed} of {all} points removed, {} kept (days of time zone {zone})", all - removed)
}

fn group_text(group: &RetentionGroup, names: &Names) -> String {
    let columns = [Column::Text("ID"), Column::Text("TAKEN"), Column::Number("SIZE"), Column::Text("KEPT")];
    let rows = group.points.iter().map(|planned| {
        let point = &planned.point;
        [short(&point.id).to_owned(), units::time(point.taken_at), units::size(point.size_bytes), kept(planned)]
    });
    let (vm, client) = (one_line(&group.source_name), one_line(&group.client_name));
    format!("{vm} of {client} in {}:\n{}\n", name_of(group.datastore, names), table(columns, rows))
}

fn kept(planned: &PlannedPoint) -> String {
    if planned.removed() {
        return "- removed".to_owned();
    }
    let reason = |reason: &KeepReason| match (reason, &planned.point.protection) {
        (KeepReason::Protected, Some(protection)) => format!("protected: {}", protection.reason),
        (KeepReason::LastGood, _) => "the last good one".to_owned(),
        (KeepReason::Future, _) => "from the future".to_owned(),
        (KeepReason::InUse, _) => "in use by a job".to_owned(),
        (reason, _) => word(reason),
    };
    planned.kept.iter().map(reason).collect::<Vec<_>>().join(", ")
}

/// What a finished removal has done.
pub(super) fn summary(job: &Job) -> Option<String> {
    let Some(JobResult::Forgotten { points }) = &job.result else { return None };
    let points = match points.len() {
        1 => "1 point".to_owned(),
        n => format!("{n} points"),
    };
    Some(format!("removed {points} from {0}; `xenkeep datastore prune {0}` frees the space", one_line(&job.subject)))
}

#[cfg(test)]
mod tests;
