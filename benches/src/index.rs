//! The index of a large repository: built, opened and asked. The repository is synthetic: its index files are real, its
//! packs are not there.

use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use xenkeep_repo::{CreateOptions, OpenOptions, Repo, synthetic};

use crate::PASSWORD;
use crate::measure::{peak_memory, remove, succeed};
use crate::report::Report;
use crate::restore::this;

/// Look-ups of each kind.
const LOOK_UPS: u64 = 200_000;
/// A step that reaches all chunks in an order that knows no neighbours.
const STEP: u64 = 7_368_787;

/// In processes of their own, so that their memory counts, and nothing is left in it from before.
#[derive(Subcommand)]
pub(crate) enum Step {
    /// Makes a repository with an index of so many chunks.
    Make { repo: PathBuf, chunks: u64 },
    /// Opens it, and looks chunks up.
    Ask { repo: PathBuf, cache: PathBuf, chunks: u64 },
    /// Opens it, adds chunks, and dies.
    Die { repo: PathBuf, cache: PathBuf, chunks: u64 },
}

/// Seconds to open a known repository, password included; microseconds of a look-up; memory of all that.
const OPEN_LIMIT_S: f64 = 2.0;
const LOOK_UP_LIMIT_US: f64 = 20.0;
const MEMORY_LIMIT_MIB: f64 = 200.0;

/// Builds it, opens it again, and opens it after a death.
pub(crate) fn measure(report: &mut Report, scratch: &Path, chunks: u64) -> Result<()> {
    let (repo, cache) = (scratch.join("index-repo"), scratch.join("index-cache"));
    let step = |name: &str, chunks: u64| {
        let mut command = this()?;
        command.args(["index", name]).arg(&repo);
        if name != "make" {
            command.arg(&cache);
        }
        succeed(command.arg(chunks.to_string()))
    };
    println!("an index of {chunks} chunks");
    print!("{}", step("make", chunks)?);
    let mut ask = |when: &str, limit: Option<f64>| -> Result<()> {
        let answer = step("ask", chunks)?;
        let numbers = answer.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        let [opened, absent, present, memory] = numbers[..] else { bail!("{answer:?} was not expected") };
        report.figure(format!("index of {chunks} chunks, {when}: open"), opened, "s", limit);
        report.figure(format!("index, {when}: absent chunk"), absent, "µs", Some(LOOK_UP_LIMIT_US));
        report.figure(format!("index, {when}: present chunk"), present, "µs", Some(LOOK_UP_LIMIT_US));
        report.figure(format!("index, {when}: memory"), memory, "MiB", Some(MEMORY_LIMIT_MIB));
        Ok(())
    };
    ask("not known yet", None)?;
    ask("known", Some(OPEN_LIMIT_S))?;
    ensure!(step("die", chunks + 100_000).is_err(), "it should have died");
    ask("after a death", None)?;
    remove(&repo)?;
    remove(&cache)
}

pub(crate) async fn run(step: &Step) -> Result<()> {
    match step {
        Step::Make { repo, chunks } => make(repo, *chunks).await,
        Step::Ask { repo, cache, chunks } => ask(repo, cache, *chunks).await,
        Step::Die { repo, cache, chunks } => {
            let repo = open(repo, cache).await?;
            synthetic::write_index_files(&repo, *chunks).await?;
            synthetic::refresh(&repo).await?;
            process::abort()
        }
    }
}

async fn make(dir: &Path, chunks: u64) -> Result<()> {
    let start = Instant::now();
    let repo = Repo::create(dir, &PASSWORD.into(), CreateOptions::default()).await?;
    let files = synthetic::write_index_files(&repo, chunks).await?;
    println!("{files} index files made in {:.1} s", start.elapsed().as_secs_f64());
    Ok(())
}

async fn open(dir: &Path, cache: &Path) -> Result<Repo> {
    let options = OpenOptions { cache_dir: Some(cache.to_owned()), ..OpenOptions::default() };
    Ok(Repo::open(dir, &PASSWORD.into(), options).await?)
}

async fn ask(dir: &Path, cache: &Path, chunks: u64) -> Result<()> {
    let start = Instant::now();
    let repo = open(dir, cache).await?;
    synthetic::refresh(&repo).await?;
    let opened = start.elapsed();
    let absent = look_ups(&repo, |number| chunks * 2 + number, false)?;
    let present = look_ups(&repo, |number| number.wrapping_mul(STEP) % chunks, true)?;
    let memory_mib = memory()? as f64 / f64::from(1 << 20);
    println!("{} {} {} {memory_mib}", opened.as_secs_f64(), micros(absent), micros(present));
    Ok(())
}

fn micros(each: Duration) -> f64 {
    each.as_secs_f64() * 1e6
}

/// The most that this process has had.
fn memory() -> Result<u64> {
    peak_memory(process::id()).context("the system does not say how much memory we have")
}

/// Time of a look-up, hashing of its key included.
fn look_ups(repo: &Repo, chunk: impl Fn(u64) -> u64, expected: bool) -> Result<Duration> {
    let start = Instant::now();
    for number in 0..LOOK_UPS {
        ensure!(synthetic::contains(repo, chunk(number))? == expected, "a look-up is wrong");
    }
    Ok(start.elapsed() / LOOK_UPS as u32)
}
