//! `cargo xtask bench`: how fast xenkeep is beside tools that do a part of its work, as ratios from one run.
//!
//! Walls and machines differ; ratios to `zstd -1 -T2`, `restic`, rustic and `cp` on the same machine, minute and disk
//! say more. All contestants take turns, medians count, and the memory of each is watched.

mod disk;
mod increment;
mod index;
mod latency;
mod measure;
mod path;
mod peers;
mod pipeline;
mod points;
mod queue;
mod report;
mod restore;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

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
    #[arg(long, value_name = "DIR", global = true)]
    scratch: Option<PathBuf>,
    /// An existing raw disk to use in place of one that is made.
    #[arg(long, value_name = "FILE", global = true)]
    disk: Option<PathBuf>,
    /// How often each contestant runs.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), global = true)]
    runs: u32,
    /// Size of the disk that is made, in GiB.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..), global = true)]
    size_gib: u64,
    /// Chunks in the index of part `index`: 10 TiB of them.
    #[arg(long, default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1..), global = true)]
    index_chunks: u64,
    /// What to measure: by default pipeline, restore and path, with `repo` all that concerns the repository.
    #[arg(long, value_enum, value_delimiter = ',', global = true)]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// A raw file into a fresh repository, beside zstd, restic and rustic.
    Pipeline,
    /// The same disk, a twentieth of it changed, into the same repository; beside restic and rustic.
    Increment,
    /// A raw file into a fresh repository on a store that takes 300 ms a request. It is twice as large as for the other
    /// parts if it is made here: what a backup costs once, however large it is, shall not be all that is measured.
    Latency,
    /// A restore point into a file.
    Restore,
    /// All of a repository read and judged, beside `sha256sum` and `restic check --read-data`.
    Verify,
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
    /// Measures the repository: full and incremental backups, far stores, and what else `--parts` names by default.
    Repo,
    /// Measures the queue on SQLite and PostgreSQL: many waiting jobs, many movers, one in four of them killed.
    Queue {
        /// Jobs that wait.
        #[arg(long, default_value_t = 5000)]
        jobs: usize,
        /// Movers that ask for them.
        #[arg(long, default_value_t = 20)]
        movers: usize,
        /// Decides when movers are killed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Only makes the disk, for several runs with `--disk`.
    Disk { dir: PathBuf },
    /// Makes a repository.
    #[command(hide = true)]
    Create { repo: PathBuf },
    /// Writes a raw disk into a repository.
    #[command(hide = true)]
    Write {
        disk: PathBuf,
        repo: PathBuf,
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
        #[arg(long)]
        changed: Option<PathBuf>,
    },
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
    /// Verifies a repository.
    #[command(hide = true)]
    Verify {
        repo: PathBuf,
        #[arg(long)]
        quick: bool,
    },
    /// Makes a repository of rustic's.
    #[cfg(feature = "rustic")]
    #[command(hide = true)]
    RusticCreate { repo: PathBuf },
    /// Writes a raw disk into a repository with rustic.
    #[cfg(feature = "rustic")]
    #[command(hide = true)]
    RusticWrite { disk: PathBuf, repo: PathBuf },
}

/// What `bench repo` measures, and what is measured without it.
const REPO_PARTS: [Part; 6] = [Part::Pipeline, Part::Increment, Part::Latency, Part::Verify, Part::Points, Part::Index];
const DEFAULT_PARTS: [Part; 3] = [Part::Pipeline, Part::Restore, Part::Path];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.role {
        Some(Role::Disk { dir }) => disk::make(dir, arguments.size_gib << 30).map(drop),
        Some(Role::Create { repo }) => run(pipeline::create(repo)),
        Some(Role::Write { disk, repo, delay_ms, changed }) => {
            run(pipeline::write(disk, repo, Duration::from_millis(*delay_ms), changed.as_deref()))
        }
        Some(Role::Restore { repo, to }) => run(restore::restore(repo, to)),
        Some(Role::Index { step }) => run(index::run(step)),
        Some(Role::Points { step }) => run(points::run(step)),
        #[cfg(feature = "rustic")]
        Some(Role::RusticCreate { repo }) => peers::rustic::create(repo),
        #[cfg(feature = "rustic")]
        Some(Role::RusticWrite { disk, repo }) => peers::rustic::write(disk, repo),
        Some(Role::Verify { repo, quick }) => run(verify::verify(repo, *quick)),
        Some(Role::Queue { jobs, movers, seed }) => {
            let size = queue::Size { jobs: *jobs, movers: *movers, seed: *seed };
            run(queue::measure(scratch(&arguments)?.path(), size))
        }
        Some(Role::Repo) => bench(&arguments, &REPO_PARTS),
        None => bench(&arguments, &DEFAULT_PARTS),
    }
}

fn run(role: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(role)
}

fn scratch(arguments: &Arguments) -> Result<tempfile::TempDir> {
    match &arguments.scratch {
        Some(dir) => std::fs::create_dir_all(dir).and_then(|()| tempfile::tempdir_in(dir)),
        None => tempfile::tempdir(),
    }
    .context("cannot make a scratch directory")
}

fn bench(arguments: &Arguments, default_parts: &[Part]) -> Result<()> {
    let scratch = scratch(arguments)?;
    let scratch = scratch.path();
    let chosen = if arguments.parts.is_empty() { default_parts } else { &arguments.parts };
    let parts = |part| chosen.contains(&part);
    let mut report = Report::new(arguments.runs);
    if parts(Part::Index) {
        index::measure(&mut report, scratch, arguments.index_chunks)?;
    }
    if chosen.iter().any(|part| *part != Part::Index) {
        let disk = match &arguments.disk {
            Some(disk) => disk.clone(),
            None => disk::make(scratch, arguments.size_gib << 30)?,
        };
        report.set_disk(&disk)?;
        with_disk(&mut report, &disk, scratch, &parts)?;
        if parts(Part::Latency) {
            if arguments.disk.is_none() {
                disk::make(scratch, (2 * arguments.size_gib) << 30)?;
                report.set_disk(&disk)?;
            }
            latency::measure(&mut report, &disk, scratch)?;
        }
    }
    report.print();
    Ok(())
}

/// The parts that work on a disk.
fn with_disk(report: &mut Report, disk: &Path, scratch: &Path, parts: &dyn Fn(Part) -> bool) -> Result<()> {
    if parts(Part::Pipeline) {
        pipeline::measure(report, disk, scratch)?;
    }
    if parts(Part::Increment) {
        increment::measure(report, disk, scratch)?;
    }
    if parts(Part::Restore) {
        restore::measure(report, disk, scratch)?;
    }
    if parts(Part::Verify) {
        verify::measure(report, disk, scratch)?;
    }
    if parts(Part::Path) {
        path::measure(report, disk, scratch)?;
    }
    if parts(Part::Points) {
        points::measure(report, disk, scratch)?;
    }
    Ok(())
}
