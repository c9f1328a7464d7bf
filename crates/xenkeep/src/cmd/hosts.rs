//! `xenkeep restore host`, and what there is to say of a host's backup.

use clap::Args;
use xenkeep_api::{HostRestoreRequest, HostSummary, Job, JobResult, Point};

use super::{Context, backups::short, clients::TransportArg, jobs, metadata::with_steps};
use crate::{
    Exit, confirm,
    follow::OnInterrupt,
    output::{details, one_line},
    units,
};

const EXAMPLES: &str = "\
Examples:
  xenkeep restore host 8e01d2 --host xen2

The backup goes to the host's backup partition, which is formatted; the running system stays as it is. What is to be
done at the host's console then is printed.";

/// Put a host's backup on its backup partition.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreHost {
    /// Id of the point, or as much of it as is unique.
    point: String,
    /// Name or uuid of the host.
    #[arg(long, value_name = "NAME|UUID")]
    host: String,
    /// Also if product or version of the host differ from those of the backup.
    #[arg(long)]
    force: bool,
    /// Don't ask before the backup partition is formatted.
    #[arg(long)]
    yes: bool,
    /// Name or id of the pool; without it the one that the point was read from.
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// How the data travels this time, if not as the client says.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportArg>,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

impl RestoreHost {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let point = api.point(&self.point).await?;
        if !self.yes && !confirm::ask(context.console, &consequences(&self.host, &point), "Go on?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        let request = HostRestoreRequest {
            point: point.id,
            client: self.client,
            host: self.host,
            force: self.force,
            transport: self.transport.map(Into::into),
        };
        let job = api.restore_host(&request).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }
}

fn consequences(host: &str, point: &Point) -> String {
    let point = details([
        ("  backup", format!("of host {} ({})", point.source_name, point.source_uuid)),
        ("  point", format!("{} of {}", short(&point.id), units::time(point.taken_at))),
    ]);
    format!("The backup partition of host {} will be formatted, and take this backup:\n{point}", one_line(host))
}

/// What a finished restore has done.
pub(super) fn summary(job: &Job) -> Option<String> {
    let Some(JobResult::HostRestored { restored }) = &job.result else { return None };
    let head = format!("host {} ({}) has taken the backup; next:", one_line(&restored.name), restored.uuid);
    Some(with_steps(head, &restored.steps))
}

/// What a host's backup holds.
pub(super) fn shown(summary: &HostSummary) -> String {
    details([
        ("product", format!("{} {}", summary.product, summary.version)),
        ("build", summary.build.clone()),
        ("files", format!("{}, {}", summary.files, units::size(summary.content_bytes))),
        ("pool's database", summary.pool_database.clone().unwrap_or_default()),
    ])
}
