//! `xenkeep backup`: back up one VM.

use clap::Args;
use xenkeep_api::{BackupRequest, BackupType, Job, JobResult, Point};

use super::{Context, jobs, options::OptionFlags};
use crate::{
    Exit,
    follow::OnInterrupt,
    output::{details, one_line},
    units,
};

const EXAMPLES: &str = "\
Examples:
  xenkeep backup lab web1 --datastore store
  xenkeep backup lab 5bb2e1a6-6f0c-4d3c-9a51-6b1a1f6f7d10 --datastore store --output json

^C cancels the backup and waits until the pool is clean; a second ^C leaves that to the server.";

/// Back up a VM into a datastore.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Backup {
    /// Name or id of the pool.
    client: String,
    /// Name or uuid of the VM.
    vm: String,
    /// Name or id of the datastore.
    #[arg(long, value_name = "NAME")]
    datastore: String,
    /// How it is read: copy, full or incremental (also FULL, DIFF, INC, COPY).
    #[arg(long = "type", value_name = "TYPE")]
    backup_type: Option<BackupType>,
    #[command(flatten)]
    options: OptionFlags,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

impl Backup {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let request = BackupRequest {
            client: self.client,
            vm: self.vm,
            datastore: self.datastore,
            transport: None,
            backup_type: self.backup_type.unwrap_or_default(),
            options: self.options.apply(Default::default())?,
        };
        let job = api.back_up(&request).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }
}

/// What a finished backup has done.
pub(super) fn summary(job: &Job) -> Option<String> {
    let Some(JobResult::Point { point }) = &job.result else { return None };
    let progress = &job.progress;
    let time = job.started_at.zip(job.finished_at).map(|(from, to)| units::elapsed(from, to)).unwrap_or_default();
    let rate = units::rate(point.size_bytes, time).map(|rate| format!(" ({rate})")).unwrap_or_default();
    let ratio = units::ratio(progress.moved_bytes, point.stored_bytes)
        .map(|ratio| format!(" (ratio {ratio})"))
        .unwrap_or_default();
    let mut text = format!("backed up {}: point {}\n", one_line(&point.source_name), short(&point.id));
    text += &details([
        ("  taken", units::time(point.taken_at)),
        ("  disks", format!("{}, {} in {}{rate}", count(point), units::size(point.size_bytes), units::duration(time))),
        ("  read", units::size(progress.moved_bytes)),
        ("  new", units::size(point.new_bytes)),
        ("  stored", format!("{}{ratio}", units::size(point.stored_bytes))),
        ("  left out", left_out(point)),
        ("  point", point.id.clone()),
    ]);
    Some(text)
}

/// `disk 1 (swap [NOBAK]): [NOBAK]`.
pub(super) fn left_out(point: &Point) -> String {
    let disks = point.left_out.iter();
    let texts =
        disks.map(|disk| format!("disk {} ({}): {}", disk.position, one_line(&disk.name), one_line(&disk.reason)));
    texts.collect::<Vec<_>>().join(", ")
}

fn count(point: &Point) -> String {
    match point.disks.len() {
        1 => "1 disk".to_owned(),
        n => format!("{n} disks"),
    }
}

/// Enough of a point's id to name it.
pub(super) fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}
