//! `xenkeep restore meta-data`, and what there is to say of a pool's database.

use clap::Args;
use xenkeep_api::{DatabaseSummary, Job, JobResult, MetaDataRestoreRequest, Point, http::ApiClient};

use super::{Context, backups::short, clients::TransportArg, jobs};
use crate::{
    Exit, confirm,
    follow::OnInterrupt,
    output::{details, one_line},
    units,
};

const EXAMPLES: &str = "\
Examples:
  xenkeep restore meta-data 3f2a91c0 --to-pool lab              would the pool take it? Nothing is changed
  xenkeep restore meta-data 3f2a91c0 --to-pool lab --replace    replace the pool's database

The second one asks for the pool's name. The pool forgets all of its members, and its master restarts.";

/// See whether a pool would take its database back, and put it back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreMetaData {
    /// Id of the point, or as much of it as is unique.
    point: String,
    /// Name or id of the pool; without it the one that the point was read from.
    #[arg(long, value_name = "NAME")]
    to_pool: Option<String>,
    /// Replace the pool's database, if the pool would take the one of the point.
    #[arg(long)]
    replace: bool,
    /// The pool's name: confirms --replace where nobody is there to be asked.
    #[arg(long, value_name = "POOL", requires = "replace")]
    confirm: Option<String>,
    /// How the data travels this time, if not as the client says.
    #[arg(long, value_name = "TRANSPORT")]
    transport: Option<TransportArg>,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

impl RestoreMetaData {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let point = api.point(&self.point).await?;
        let confirmed = if self.replace { self.confirmation(context, &api, &point).await? } else { None };
        if self.replace && confirmed.is_none() {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        let request = MetaDataRestoreRequest {
            point: point.id,
            client: self.to_pool,
            replace_database_of: confirmed,
            transport: self.transport.map(Into::into),
        };
        let job = api.restore_meta_data(&request).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }

    /// The pool's name, as somebody has typed it who knows what will happen.
    async fn confirmation(&self, context: &Context, api: &ApiClient, point: &Point) -> anyhow::Result<Option<String>> {
        if let Some(name) = &self.confirm {
            return Ok(Some(name.clone()));
        }
        let client = match &self.to_pool {
            Some(name) => api.client(name).await?,
            None => api.client(&point.client.to_string()).await?,
        };
        let typed = confirm::type_name(context.console, &consequences(&client.name, point), &client.name)?;
        Ok(typed.then_some(client.name))
    }
}

fn consequences(pool: &str, point: &Point) -> String {
    let point = details([
        ("  database", format!("of pool {} ({})", point.source_name, point.source_uuid)),
        ("  point", format!("{} of {}", short(&point.id), units::time(point.taken_at))),
    ]);
    format!(
        "The database of pool {pool} will be replaced by this one, if the pool finds that it would take it:\n{point}\n\
         Then the pool forgets all of its members, and its master restarts; all VMs on it stop. Members must be joined\n\
         again, storage be plugged again, and what was configured since the backup is lost."
    )
}

/// What a finished restore has done.
pub(super) fn summary(job: &Job) -> Option<String> {
    let Some(JobResult::MetaDataRestored { restored }) = &job.result else { return None };
    if restored.dry_run {
        return Some(format!(
            "pool {} would take the database; nothing was changed\nto replace the pool's database by it, add --replace",
            one_line(&job.subject)
        ));
    }
    let head = format!("pool {} has taken the database; next:", one_line(&job.subject));
    Some(with_steps(head, &restored.steps))
}

/// A line, and under it what to do next.
pub(super) fn with_steps(mut text: String, steps: &[String]) -> String {
    for (number, step) in (1..).zip(steps) {
        text += &format!("\n  {number}. {}", one_line(step));
    }
    text
}

/// What a database holds.
pub(super) fn shown(summary: &DatabaseSummary) -> String {
    let list = |names: &[String]| match names.len() {
        0 => "none".to_owned(),
        count => format!("{count}: {}", names.join(", ")),
    };
    details([
        ("product", summary.product.clone()),
        ("schema", summary.schema.clone()),
        ("master", summary.master.clone()),
        ("hosts", list(&summary.hosts)),
        ("SRs", list(&summary.srs)),
        ("networks", list(&summary.networks)),
        ("VMs", list(&summary.vms)),
        ("not listed", if summary.unlisted > 0 { summary.unlisted.to_string() } else { String::new() }),
        ("tables", format!("{}, with {} rows", summary.tables, summary.rows)),
    ])
}
