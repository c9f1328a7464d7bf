//! `xenkeep export`: a restore point as files.

mod sink;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use futures::StreamExt;
use serde::Serialize;
use xenkeep_api::{
    ExportFormat, ExportRequest, Job, JobResult, Point, Problem,
    http::{self, ApiClient},
};

use self::sink::{Sink, Written};
use super::{Context, jobs};
use crate::{
    Exit,
    follow::{OnInterrupt, follow},
    output::{Column, Console, table},
    progress::View,
    report::Usage,
    units,
};

const EXAMPLES: &str = "\
Examples:
  xenkeep export 3f2a91c0 --format xva -o web1.xva
  xenkeep export 3f2a91c0 --format xva -o - | ssh root@pool xe vm-import filename=/dev/stdin
  xenkeep export 3f2a91c0 --format raw -o disks/
  xenkeep export 3f2a91c0 --format raw --disk 0 -o - | sha256sum

A file appears under its name only when it is complete and was compared with what the server has sent.";

/// Write a restore point to files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// Id of the point, or as much of it as is unique.
    point: String,
    /// xva: the whole VM in one file, as `xe vm-import` takes it; raw: each disk in a sparse file, byte by byte.
    #[arg(long)]
    format: FormatArg,
    /// The file (xva) or directory (raw) to write to; `-` for stdout.
    #[arg(short, value_name = "FILE|DIR|-")]
    out: PathBuf,
    /// Only this disk (raw).
    #[arg(long, value_name = "POSITION")]
    disk: Option<String>,
    /// Overwrite files that exist.
    #[arg(long)]
    force: bool,
}

/// Words for [`ExportFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Xva,
    Raw,
}

/// What was written, for programs.
#[derive(Debug, Serialize)]
struct Exported {
    /// None for stdout.
    path: Option<PathBuf>,
    disk: Option<String>,
    bytes: u64,
    sha256: String,
    job: String,
}

/// One stream to one file.
struct Piece {
    /// Position of the disk; none for a whole VM.
    disk: Option<String>,
    /// None for stdout.
    path: Option<PathBuf>,
}

impl Export {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if self.format == FormatArg::Xva && self.disk.is_some() {
            return Err(Usage::new("an XVA holds the whole VM")
                .hint("leave out `--disk`, or say `--format raw`")
                .into());
        }
        let api = context.api()?;
        let point = api.point(&self.point).await?;
        let pieces = self.pieces(&point)?;
        if !self.force {
            refuse_existing(&pieces)?;
        }
        let mut exported = Vec::new();
        for piece in pieces {
            exported.push(self.export(context.console, &api, &point, piece).await?);
        }
        tell(context.console, &exported)?;
        Ok(Exit::Success)
    }

    /// Which streams go to which files.
    fn pieces(&self, point: &Point) -> anyhow::Result<Vec<Piece>> {
        let stdout = self.out == Path::new("-");
        if self.format == FormatArg::Xva {
            if self.out.is_dir() {
                return Err(Usage::new(format!("{} is a directory", self.out.display()))
                    .hint("an XVA is one file: name it, as in `-o DIR/vm.xva`")
                    .into());
            }
            return Ok(vec![Piece { disk: None, path: (!stdout).then(|| self.out.clone()) }]);
        }
        let positions: Vec<&str> = point.disks.iter().map(|disk| disk.position.as_str()).collect();
        let chosen = match &self.disk {
            Some(disk) if positions.contains(&disk.as_str()) => vec![disk.as_str()],
            Some(disk) => {
                let message = format!("the point of {} has no disk {disk}", point.source_name);
                return Err(Problem::new("disk.not_found", message)
                    .hint(format!("its disks are {}", positions.join(", ")))
                    .into());
            }
            None => positions,
        };
        if stdout && chosen.len() != 1 {
            return Err(Usage::new(format!("stdout takes one disk, and the point has {}", chosen.len()))
                .hint("choose one with `--disk POSITION`")
                .into());
        }
        let piece = |position: &str| Piece {
            disk: Some(position.to_owned()),
            path: (!stdout).then(|| self.out.join(file_name(&point.source_name, position))),
        };
        Ok(chosen.into_iter().map(piece).collect())
    }

    async fn export(&self, console: Console, api: &ApiClient, point: &Point, piece: Piece) -> anyhow::Result<Exported> {
        let sink = match &piece.path {
            Some(path) => Sink::file(path, self.force, self.format == FormatArg::Raw)?,
            None => Sink::stdout(),
        };
        let format = match self.format {
            FormatArg::Xva => ExportFormat::Xva,
            FormatArg::Raw => ExportFormat::Raw,
        };
        let job = api.export(&ExportRequest { point: point.id.clone(), format, disk: piece.disk.clone() }).await?;
        let id = job.id.to_string();
        let (written, job) = receive(console, api, job, sink).await?;
        compare(&job, &written)?;
        let (bytes, sha256) = (written.bytes, written.sha256.clone());
        tokio::task::spawn_blocking(move || written.keep()).await??;
        Ok(Exported { path: piece.path, disk: piece.disk, bytes, sha256, job: id })
    }
}

/// Reads the stream of an export while following its job: both must end well.
async fn receive(console: Console, api: &ApiClient, job: Job, sink: Sink) -> anyhow::Result<(Written, Job)> {
    let id = job.id.to_string();
    let mut view = View::fitting(console);
    let following = follow(api, job, &mut view, OnInterrupt::Cancel);
    let download = async {
        let downloaded = download(api, &id, sink).await;
        if downloaded.is_err() {
            // A reader that went away, or a full disk here: nobody takes the rest. What the job says matters more than
            // whether this call arrives.
            let _ = api.cancel_job(&id).await;
        }
        downloaded
    };
    tokio::pin!(following, download);
    let (job, downloaded) = tokio::select! {
        job = &mut following => {
            let job = job?;
            // The rest of a stream whose job has failed is not worth waiting for.
            let downloaded = if job.state.is_good() { Some(download.await) } else { None };
            (job, downloaded)
        }
        downloaded = &mut download => (following.await?, Some(downloaded)),
    };
    match downloaded {
        Some(Ok(written)) if job.state.is_good() => Ok((written, job)),
        Some(Err(error)) if job.state.is_good() || knows_better(&error, &job) => Err(error),
        _ => Err(jobs::failure(&job).into()),
    }
}

/// Whether a download has failed for a reason of its own, and not because its job has.
fn knows_better(error: &anyhow::Error, job: &Job) -> bool {
    match error.downcast_ref::<http::Error>() {
        None => true, // a full disk here, a closed pipe
        Some(http::Error::Problem { .. }) => job.problem.is_none(),
        Some(_) => false,
    }
}

async fn download(api: &ApiClient, job: &str, sink: Sink) -> anyhow::Result<Written> {
    let mut stream = api.job_content(job).await?;
    let mut sink = sink.start();
    while let Some(bytes) = stream.next().await {
        if !sink.push(bytes?).await {
            break; // it has failed, and says why when it is finished
        }
    }
    sink.finish().await
}

/// The last word on whether the bytes are those that were sent.
fn compare(job: &Job, written: &Written) -> anyhow::Result<()> {
    let Some(JobResult::Export { bytes, sha256 }) = &job.result else {
        anyhow::bail!("job {} has ended without saying what it sent", job.id);
    };
    if *bytes != written.bytes || *sha256 != written.sha256 {
        return Err(Problem::new(
            "export.differs",
            format!(
                "what has arrived is not what was sent: {} bytes with SHA-256 {} instead of {bytes} with {sha256}",
                written.bytes, written.sha256
            ),
        )
        .hint("nothing was kept; try again")
        .into());
    }
    Ok(())
}

fn refuse_existing(pieces: &[Piece]) -> anyhow::Result<()> {
    for path in pieces.iter().filter_map(|piece| piece.path.as_ref()) {
        if path.symlink_metadata().is_ok() {
            return Err(sink::exists(path).into());
        }
    }
    Ok(())
}

/// `web1-0.raw`; a VM's name may hold anything.
fn file_name(vm: &str, position: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') { c } else { '_' };
    let vm: String = vm.chars().take(100).map(safe).collect();
    let position: String = position.chars().map(safe).collect();
    match vm.trim_matches(['.', ' ']) {
        "" => format!("disk-{position}.raw"),
        vm => format!("{vm}-{position}.raw"),
    }
}

fn tell(console: Console, exported: &[Exported]) -> anyhow::Result<()> {
    // On stdout the bytes were the result.
    if exported.iter().any(|one| one.path.is_none()) {
        for one in exported {
            console.note(&format!("exported {}, SHA-256 {}", units::size(one.bytes), one.sha256));
        }
        return Ok(());
    }
    let columns = [Column::Text("FILE"), Column::Number("SIZE"), Column::Text("SHA-256")];
    let row = |one: &Exported| {
        let path = one.path.as_deref().map(|path| path.display().to_string());
        [path.unwrap_or_default(), units::size(one.bytes), one.sha256.clone()]
    };
    console.result(exported, || table(columns, exported.iter().map(row))).context("the result can't be printed")
}

#[cfg(test)]
mod tests;
