//! `xenkeep datastore prune`, `verify`, `copy`: upkeep of datastores.

use clap::{ArgGroup, Args};
use xenkeep_api::{
    CopyRequest, CopySummary, DamagedFile, Job, JobResult, PackCount, PruneRequest, PruneSummary, TouchedPoint,
    VerifyDepth, VerifyRequest, VerifySummary,
};

use super::{Context, backups::short, jobs};
use crate::{
    Exit,
    follow::OnInterrupt,
    output::{Column, details, one_line, table},
    progress::word,
    units,
};

const PRUNE_NOTES: &str = "\
Examples:
  xenkeep datastore prune store --dry-run
  xenkeep datastore prune store

A prune works in two steps, so that it can run beside backups: what no restore point refers to is marked first, and \
deleted by a later prune, once the grace time is over and nobody who was at work when it was marked still is. Packs of \
which only a part is used are written anew when more than --max-unused of the datastore would be unused otherwise. It \
stops at any error, and may be interrupted at any time.";

/// Free the space of what no restore point refers to.
#[derive(Debug, Args)]
#[command(after_help = PRUNE_NOTES)]
pub(crate) struct Prune {
    /// Name or id of the datastore.
    name: String,
    /// Only say what would be done, and why.
    #[arg(long)]
    dry_run: bool,
    /// Time between marking and deleting, such as 1h, 30m, 0s.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    grace: u64,
    /// How much of the datastore may be unused before packs are written anew.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    max_unused: f64,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

const VERIFY_NOTES: &str = "\
Examples:
  xenkeep datastore verify store
  xenkeep datastore verify store --full
  xenkeep datastore verify store --full --share 10% --older-than 30d

A quick verification sees that all that restore points refer to is there with its size, and reads all indexes and \
directories. A full one also reads the data and compares every piece with its checksum. What is found damaged is not \
counted as present any more: the next backup that meets it stores it again.

Exit codes: 0 nothing is damaged, 1 a restore point can't be restored whole, 3 something is damaged or could not be \
read, but no restore point needs it.";

/// See whether all that is stored can be read.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_NOTES)]
pub(crate) struct Verify {
    /// Name or id of the datastore.
    name: String,
    /// Look only whether all is there (the default).
    #[arg(long, conflicts_with_all = ["full", "share", "older_than"])]
    quick: bool,
    /// Read all data and compare them with their checksums.
    #[arg(long)]
    full: bool,
    /// Read only this share of the data: what was read longest ago.
    #[arg(long, value_name = "PERCENT", value_parser = percent, requires = "full")]
    share: Option<f64>,
    /// Read only what has not been read for this long, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "full")]
    older_than: Option<u64>,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

const COPY_NOTES: &str = "\
Examples:
  xenkeep datastore copy store offsite --all
  xenkeep datastore copy store offsite --vm web1
  xenkeep datastore copy store offsite --point 3f2a91c0 --point 77b1d0e2

Only what the other datastore lacks is read and sent. The copies are restore points of their own, with ids of their own: \
they stay when the originals go. A copy that was interrupted goes on where it was when it is started again.";

/// Copy restore points to another datastore.
#[derive(Debug, Args)]
#[command(after_help = COPY_NOTES)]
#[command(group = ArgGroup::new("what").required(true).args(["points", "vm", "all"]))]
pub(crate) struct Copy {
    /// Name or id of the datastore to copy from.
    from: String,
    /// Name or id of the datastore to copy to.
    to: String,
    /// Id of a point, or as much of it as is unique; may be given several times.
    #[arg(long = "point", id = "points", value_name = "ID")]
    points: Vec<String>,
    /// All points of this VM (name or uuid).
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
    /// All points.
    #[arg(long)]
    all: bool,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

impl Prune {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let Self { name, dry_run, grace, max_unused, detach } = self;
        let request = PruneRequest { dry_run, grace_seconds: grace, max_unused_percent: max_unused };
        let job = api.prune_datastore(&name, &request).await?;
        if detach {
            jobs::queued(context, &job)
        } else {
            jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
        }
    }
}

impl Verify {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let request = VerifyRequest {
            depth: if self.full { VerifyDepth::Full } else { VerifyDepth::Quick },
            share_percent: self.share,
            older_than_seconds: self.older_than,
        };
        let job = api.verify_datastore(&self.name, &request).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }
}

impl Copy {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let request = CopyRequest { target: self.to, points: self.points, vm: self.vm, all: self.all };
        let job = api.copy_points(&self.from, &request).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }
}

/// `0s`, `30m`, `1h`, `30d`, `2w` as seconds.
fn seconds(text: &str) -> Result<u64, String> {
    let bad = || format!("\"{text}\" is no time: 0s, 30m, 1h, 30d or 2w is meant");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(bad)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "w" => 7 * 24 * 3600,
        _ => return Err(bad()),
    };
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let number: Option<u64> = if digits { number.parse().ok() } else { None };
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(bad)
}

/// `5%`, `0.5 %` or `5` as a number.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(format!("\"{text}\" is no share: a number from 0 to 100 is meant, as in 5%")),
    }
}

/// What a job of upkeep has done or found; also one that failed, if it tells.
pub(super) fn summary(job: &Job) -> Option<String> {
    match job.result.as_ref()? {
        JobResult::Pruned { prune } => Some(pruned(&job.subject, prune)),
        JobResult::Verified { verify } => Some(verified(&job.subject, verify)),
        JobResult::Copied { copy } => Some(copied(&job.subject, copy)),
        _ => None,
    }
}

/// `1 pack`, `12 packs`; nothing for none.
fn several(number: u64, noun: &str) -> String {
    match number {
        0 => String::new(),
        1 => format!("1 {noun}"),
        n => format!("{n} {noun}s"),
    }
}

fn count(count: PackCount) -> String {
    if count.packs == 0 {
        String::new()
    } else {
        format!("{}, {}", several(count.packs, "pack"), units::size(count.bytes))
    }
}

fn pruned(name: &str, prune: &PruneSummary) -> String {
    let name = one_line(name);
    let mut text =
        if prune.dry_run { format!("what a prune of {name} would do\n") } else { format!("pruned {name}\n") };
    let held = prune.used_bytes.saturating_add(prune.unused_bytes);
    let share = if held > 0 { prune.unused_bytes as f64 * 100.0 / held as f64 } else { 0.0 };
    text += &details([
        ("  points", prune.points.to_string()),
        ("  used", units::size(prune.used_bytes)),
        ("  unused", format!("{} ({share:.1} %)", units::size(prune.unused_bytes))),
        ("  can go", count(prune.to_delete)),
        ("  written anew", if prune.repacked.packs > 0 { repacked(prune) } else { String::new() }),
        ("  marked", count(prune.marked)),
        ("  deleted", count(prune.deleted)),
        ("  kept again", several(prune.rescued_packs, "pack")),
        ("  in the datastore", units::size(prune.stored_bytes)),
    ]);
    for class in &prune.classes {
        text += &format!("  {}: {}\n", count(class.count), one_line(&class.why));
    }
    for waiting in &prune.waiting {
        let until = waiting.until.map(|at| format!(" before {}", units::time(at))).unwrap_or_default();
        text += &format!("  {} wait: {}{until}\n", count(waiting.count), one_line(&waiting.reason));
    }
    text
}

fn repacked(prune: &PruneSummary) -> String {
    format!("{} of {}", units::size(prune.rewritten_bytes), count(prune.repacked))
}

fn verified(name: &str, verify: &VerifySummary) -> String {
    let mut text = format!("verified {} ({})\n", one_line(name), word(&verify.request.depth));
    let read = format!("{}, {}", several(verify.packs_read, "pack"), units::size(verify.bytes_read));
    let healed = format!("{}: good copies lie elsewhere", several(verify.healed_chunks, "piece"));
    let when = |number: u64, text: String| if number > 0 { text } else { String::new() };
    text += &details([
        ("  points", verify.points.to_string()),
        ("  packs", format!("{}, {}", verify.packs_total, units::size(verify.bytes_total))),
        ("  read", when(verify.packs_read, read)),
        ("  never read", several(verify.never_read_packs, "pack")),
        ("  read longest ago", verify.oldest_read.map(units::time).unwrap_or_default()),
        ("  healed", when(verify.healed_chunks, healed)),
        ("  good again", several(verify.cleared_packs, "pack")),
    ]);
    if verify.is_clean() {
        return text + "nothing is damaged\n";
    }
    if !verify.touched.is_empty() {
        text += &format!("\n{}", touched(&verify.touched));
    }
    for file in &verify.files {
        text += &format!("\n{}\n", damaged(file));
    }
    if verify.more_files > 0 {
        text += &format!("\nand {}\n", several(verify.more_files, "further damaged file"));
    }
    for file in &verify.undecided {
        text += &format!("\n{}: could not be judged: {}\n", one_line(&file.name), one_line(&file.why));
    }
    text
}

fn damaged(file: &DamagedFile) -> String {
    let mut text = format!("{}: {}", one_line(&file.name), one_line(&file.why));
    if file.points > 0 {
        text += &format!("; {} lost, {} touched", several(file.lost_chunks, "piece"), several(file.points, "point"));
    }
    text + &format!("\n  {}", one_line(&file.remedy))
}

fn touched(points: &[TouchedPoint]) -> String {
    let columns = [
        Column::Text("POINT"),
        Column::Text("CLIENT"),
        Column::Text("VM"),
        Column::Text("TAKEN"),
        Column::Text("CAN'T BE RESTORED"),
    ];
    let rows = points.iter().map(|touched| {
        [
            short(&touched.point).to_owned(),
            touched.client_name.clone(),
            touched.source_name.clone().unwrap_or_else(|| touched.source_uuid.clone()),
            units::time(touched.taken_at),
            lost(touched.whole, &touched.disks, &touched.files),
        ]
    });
    table(columns, rows) + "\n"
}

/// What of a point is lost, in words.
pub(super) fn lost(whole: bool, disks: &[String], files: &[String]) -> String {
    if whole {
        return "all of it".to_owned();
    }
    let disks = match disks {
        [] => None,
        [disk] => Some(format!("disk {disk}")),
        disks => Some(format!("disks {}", disks.join(", "))),
    };
    disks.into_iter().chain(files.iter().cloned()).collect::<Vec<_>>().join(", ")
}

fn copied(subject: &str, copy: &CopySummary) -> String {
    let mut text = format!("copied {}\n", one_line(subject));
    let present =
        if copy.present > 0 { format!(", {} of them were there already", copy.present) } else { String::new() };
    text += &details([
        ("  points", format!("{}{present}", copy.points.len())),
        ("  read", units::size(copy.read_bytes)),
        ("  stored", units::size(copy.stored_bytes)),
    ]);
    if copy.points.is_empty() {
        return text;
    }
    let columns = [Column::Text("ID"), Column::Text("CLIENT"), Column::Text("VM"), Column::Text("TAKEN")];
    let rows = copy.points.iter().map(|point| {
        [short(&point.id).to_owned(), point.client_name.clone(), point.source_name.clone(), units::time(point.taken_at)]
    });
    text + &table(columns, rows) + "\n"
}

#[cfg(test)]
mod tests;
