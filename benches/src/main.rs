//! `cargo xtask bench`: how fast xenkeep is beside tools that do a part of its work, as ratios from one run.
//!
//! Walls and machines differ; ratios to `zstd -1 -T2`, `restic backup` and `cp` on the same machine, minute and disk
//! say more. All contestants take turns, medians count, and the memory of each is watched.

mod disk;
mod index;
mod measure;
mod path;
mod pipeline;
mod points;
mod report;
mod restore;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::report::Report;

/// Password of all repositories and pools that live as long as a benchmark.
const PASSWORD: &str = "benchmark";

/// Measures xenkeep beside zstd, restic and cp, and prints the ratios.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    role: Option<Role>,
    /// Where disks and repositories are put; some 25 GiB must be free.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// An existing raw disk to use in place of one that is made.
    #[arg(long, value_name = "FILE")]
    disk: Option<PathBuf>,
    /// How often each contestant runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Size of the disk that is made, in GiB.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    size_gib: u64,
    /// Chunks in the index of part `index`: 10 TiB of them.
    #[arg(long, default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    index_chunks: u64,
    /// What to measure.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Pipeline, Part::Restore, Part::Path])]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// A raw file into a fresh repository.
    Pipeline,
    /// A restore point into a file.
    Restore,
    /// From a simulated pool (`xensim` beside this program) through the server into a datastore, and back into a file.
    Path,
    /// The index of a large repository. Needs no disk.
    Index,
    /// Old and new ones of many points of the disk, read whole and at random.
    Points,
}

/// What this program does besides: mostly in processes of its own, so that their memory can be watched.
#[derive(Subcommand)]
enum Role {
    /// Only makes the disk, for several runs with `--disk`.
    Disk { dir: PathBuf },
    /// Makes a repository.
    #[command(hide = true)]
    Create { repo: PathBuf },
    /// Writes a raw disk into a repository.
    #[command(hide = true)]
    Write { disk: PathBuf, repo: PathBuf },
    /// A step of measuring an index.
    #[command(hide = true)]
    Index {
        #[command(subcommand)]
        step: index::Step,
    },
    /// A step of measuring many points.
    #[command(hide = true)]
    Points {
        #[command(subcommand)]
        step: points::Step,
    },
    /// Writes the only disk of a repository into a file.
    #[command(hide = true)]
    Restore { repo: PathBuf, to: PathBuf },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.role {
        Some(Role::Disk { dir }) => disk::make(dir, arguments.size_gib << 30).map(drop),
        Some(Role::Create { repo }) => run(pipeline::create(repo)),
        Some(Role::Write { disk, repo }) => run(pipeline::write(disk, repo)),
        Some(Role::Restore { repo, to }) => run(restore::restore(repo, to)),
        Some(Role::Index { step }) => run(index::run(step)),
        Some(Role::Points { step }) => run(points::run(step)),
        None => bench(&arguments),
    }
}

fn run(role: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(role)
}

fn bench(arguments: &Arguments) -> Result<()> {
    let scratch = match &arguments.scratch {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .context("cannot make a scratch directory")?;
    let scratch = scratch.path();
    if arguments.parts.contains(&Part::Index) {
        index::measure(scratch, arguments.index_chunks)?;
        if arguments.parts.len() == 1 {
            return Ok(());
        }
    }
    let disk = match &arguments.disk {
        Some(disk) => disk.clone(),
        None => disk::make(scratch, arguments.size_gib << 30)?,
    };
    let disk = disk.as_path();
    let mut report = Report::new(disk, arguments.runs)?;
    let parts = |part| arguments.parts.contains(&part);
    if parts(Part::Pipeline) {
        pipeline::measure(&mut report, disk, scratch)?;
    }
    if parts(Part::Restore) {
        restore::measure(&mut report, disk, scratch)?;
    }
    if parts(Part::Path) {
        path::measure(&mut report, disk, scratch)?;
    }
    if parts(Part::Points) {
        points::measure(scratch, disk, arguments.runs)?;
    }
    report.print();
    Ok(())
}
