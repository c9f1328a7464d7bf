//! `xenkeep export`: a restore point as files.

mod sink;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use futures::StreamExt;
use serde::Serialize;
use xenkeep_api::{
    ExportCompression, ExportFormat, ExportRequest, Job, JobResult, Point, PointKind, Problem,
    http::{self, ApiClient},
};

use self::sink::{Sink, Written};
use super::{Context, jobs};
use crate::{
    Exit,
    follow::{OnInterrupt, follow},
    output::{Column, Console, one_line, table},
    progress::View,
    report::Usage,
    units,
};

const EXAMPLES: &str = "\
Examples:
  xenkeep export 3f2a91c0 --format xva -o web1.xva
  xenkeep export 3f2a91c0 --format xva -o - | ssh root@pool xe vm-import filename=/dev/stdin
  xenkeep export 3f2a91c0 --format raw -o disks/
  xenkeep export 3f2a91c0 --format qcow2 --compress -o disks/
  xenkeep export 3f2a91c0 --format vhd --disk 0 -o disks/
  xenkeep export 3f2a91c0 --format raw --disk 0 -o - | sha256sum
  xenkeep export 8e01d2 pool-database.xml             a pool's database; the next step is printed

A file appears under its name only when it is complete and was compared with what the server has sent.";

/// Write a restore point to files.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// Id of the point, or as much of it as is unique.
    point: String,
    /// The file (xva, file) or directory (raw, vhd, qcow2) to write to; `-` for stdout.
    #[arg(value_name = "FILE|DIR|-", required_unless_present = "out", conflicts_with = "out")]
    to: Option<PathBuf>,
    /// xva: the whole VM in one file, as `xe vm-import` takes it; raw: each disk in a sparse file, byte by byte; vhd,
    /// qcow2: each disk as such an image, without what is empty; file: a pool's database or a host's backup, as it came
    /// from the pool. Without it xva or file, whichever fits.
    #[arg(long)]
    format: Option<FormatArg>,
    /// The same as the argument.
    #[arg(short, value_name = "FILE|DIR|-")]
    out: Option<PathBuf>,
    /// Only this disk (raw, vhd, qcow2).
    #[arg(long, value_name = "POSITION")]
    disk: Option<String>,
    /// Compress the image (qcow2). zstd is read by qemu since 5.1, zlib by everything. Each disk is read twice for that.
    #[arg(long, value_name = "HOW", num_args = 0..=1, default_missing_value = "zstd", require_equals = true)]
    compress: Option<CompressArg>,
    /// Overwrite files that exist.
    #[arg(long)]
    force: bool,
}

/// Words for [`ExportFormat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FormatArg {
    Xva,
    Raw,
    Vhd,
    Qcow2,
    File,
}

/// Words for [`ExportCompression`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressArg {
    Zstd,
    Zlib,
}

impl FormatArg {
    fn format(self) -> ExportFormat {
        match self {
            Self::Xva => ExportFormat::Xva,
            Self::Raw => ExportFormat::Raw,
            Self::Vhd => ExportFormat::Vhd,
            Self::Qcow2 => ExportFormat::Qcow2,
            Self::File => ExportFormat::File,
        }
    }

    /// What names of files end in.
    fn suffix(self) -> &'static str {
        match self {
            Self::Xva => "xva",
            Self::Raw => "raw",
            Self::Vhd => "vhd",
            Self::Qcow2 => "qcow2",
            Self::File => "",
        }
    }

    /// What fits the point where nothing was said.
    fn fitting(point: &Point) -> Self {
        if point.kind == PointKind::Vm { Self::Xva } else { Self::File }
    }
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
        if matches!(self.format, Some(FormatArg::Xva | FormatArg::File)) && self.disk.is_some() {
            return Err(Usage::new("an XVA holds the whole VM")
                .hint("leave out `--disk`, or say `--format raw`, `vhd` or `qcow2`")
                .into());
        }
        if self.compress.is_some() && self.format != Some(FormatArg::Qcow2) {
            return Err(Usage::new("only a qcow2 image can be compressed")
                .hint("say `--format qcow2`, or leave out `--compress`")
                .into());
        }
        let api = context.api()?;
        let point = api.point(&self.point).await?;
        let format = match self.format {
            None if self.disk.is_some() => FormatArg::Raw,
            format => format.unwrap_or(FormatArg::fitting(&point)),
        };
        let pieces = self.pieces(&point, format)?;
        if !self.force {
            refuse_existing(&pieces)?;
        }
        let mut exported = Vec::new();
        for piece in pieces {
            exported.push(self.export(context.console, &api, (&point, format), piece).await?);
        }
        tell(context.console, &exported)?;
        if let Some(next) = next_step(&point, &exported) {
            context.console.note(&next);
        }
        Ok(Exit::Success)
    }

    /// Which streams go to which files.
    fn pieces(&self, point: &Point, format: FormatArg) -> anyhow::Result<Vec<Piece>> {
        let out = self.to.as_ref().or(self.out.as_ref()).cloned().unwrap_or_default();
        let stdout = out == Path::new("-");
        if !format.format().is_of_a_disk() {
            if out.is_dir() {
                return Err(Usage::new(format!("{} is a directory", out.display()))
                    .hint("it is one file: name it, as in `-o DIR/vm.xva`")
                    .into());
            }
            return Ok(vec![Piece { disk: None, path: (!stdout).then_some(out) }]);
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
            path: (!stdout).then(|| out.join(file_name(&point.source_name, position, format.suffix()))),
        };
        Ok(chosen.into_iter().map(piece).collect())
    }

    async fn export(
        &self,
        console: Console,
        api: &ApiClient,
        (point, format): (&Point, FormatArg),
        piece: Piece,
    ) -> anyhow::Result<Exported> {
        let sink = match &piece.path {
            Some(path) => Sink::file(path, self.force, format == FormatArg::Raw)?,
            None => Sink::stdout(),
        };
        let compression = self.compress.map(|how| match how {
            CompressArg::Zstd => ExportCompression::Zstd,
            CompressArg::Zlib => ExportCompression::Zlib,
        });
        let (format, disk) = (format.format(), piece.disk.clone());
        let request = ExportRequest { point: point.id.clone(), format, disk, compression };
        let job = api.export(&request).await?;
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

/// What an administrator does with the file.
fn next_step(point: &Point, exported: &[Exported]) -> Option<String> {
    let file = exported.first()?.path.as_ref()?.display().to_string();
    match point.kind {
        PointKind::Vm => None,
        PointKind::MetaData => Some(format!(
            "to put it back, on the master: xe pool-restore-database file-name={file} dry-run=true, then without dry-run"
        )),
        PointKind::Host => Some(format!(
            "to put it back: xe host-restore file-name={file} host={}, then boot the installation medium there and choose \
             \"Restore from backup\"",
            one_line(&point.source_name)
        )),
    }
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
fn file_name(vm: &str, position: &str, suffix: &str) -> String {
    let safe = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') { c } else { '_' };
    let vm: String = vm.chars().take(100).map(safe).collect();
    let position: String = position.chars().map(safe).collect();
    match vm.trim_matches(['.', ' ']) {
        "" => format!("disk-{position}.{suffix}"),
        vm => format!("{vm}-{position}.{suffix}"),
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
