//! Many points of one disk: does an old one, or one that consists of pieces of all others, restore as fast as the first?

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use futures::StreamExt;
use xenkeep_disk::{Block, Data, DiskRead};
use xenkeep_repo::{CreateOptions, Meta, OpenOptions, PointReader, Repo, WriteOptions};

use crate::PASSWORD;
use crate::measure::{remove, succeed};
use crate::report::Report;
use crate::restore::this;

const POINTS: u64 = 30;
/// Of all chunks, so many change from one point to the next: one piece of 64 KiB in each.
const CHANGED_PERCENT: u64 = 3;
const PIECE_BYTES: usize = 64 << 10;
/// Random reads.
const READS: u64 = 2000;
/// What each request to the store takes longer than it does at hand.
const DELAYS_MS: [u64; 3] = [0, 100, 300];
/// The newest and the oldest point may take so much longer than the first did when it was alone.
const LIMIT: f64 = 1.2;
const RANDOM_LIMIT_MS: f64 = 5.0;
/// What a chunk of 512 KiB takes in a pack, more or less.
const PLAIN_BYTES: usize = 230 << 10;

/// In processes of their own, so that nothing is left in memory from before.
#[derive(Subcommand)]
pub(crate) enum Step {
    /// Makes a repository with one point of a disk, or adds points to it until there are enough.
    Fill { repo: PathBuf, disk: PathBuf, points: u64 },
    /// Reads a point whole, with nothing of the repository in the page cache.
    Stream { repo: PathBuf, point: usize, delay_ms: u64 },
    /// Reads pieces of a point at random.
    Random { repo: PathBuf, point: usize },
}

pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    let repo = scratch.join("points");
    let step = |name: &str, arguments: &[String]| succeed(this()?.args(["points", name]).arg(&repo).args(arguments));
    let numbers = |name: &str, arguments: &[String]| -> Result<Vec<f64>> {
        Ok(step(name, arguments)?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    };
    let runs = report.runs();
    let stream = |point: usize, delay_ms: u64| -> Result<f64> {
        let mut all = Vec::new();
        for _ in 0..runs {
            all.extend(numbers("stream", &[point.to_string(), delay_ms.to_string()])?);
        }
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().context("a stream says nothing")
    };
    let fill = |points: u64| step("fill", &[disk.display().to_string(), points.to_string()]).map(drop);

    println!("{POINTS} points of the disk, each with {CHANGED_PERCENT} % of the chunks changed");
    fill(1)?;
    let last = POINTS as usize - 1;
    let alone = DELAYS_MS.map(|delay_ms| stream(0, delay_ms));
    fill(POINTS)?;
    for (delay_ms, alone) in DELAYS_MS.into_iter().zip(alone) {
        let alone = alone?;
        report.figure(format!("first point while it was alone, {delay_ms} ms a request"), alone, "s", None);
        for (name, point) in [("oldest", 0), ("newest", last)] {
            let wall = stream(point, delay_ms)?;
            report.figure(
                format!("{name} of {POINTS} points, {delay_ms} ms a request"),
                wall,
                "s",
                Some(LIMIT * alone),
            );
        }
    }
    for (name, point) in [("oldest", 0), ("newest", last)] {
        let [mean, most, disk] = numbers("random", &[point.to_string()])?[..] else {
            bail!("random reads say nothing")
        };
        report.figure(format!("{name}: 64 KiB at random, on average"), mean, "ms", None);
        report.figure(format!("{name}: 64 KiB at random, 99 % within"), most, "ms", Some(RANDOM_LIMIT_MS));
        report.figure("as much of a pack at random, without us: 99 % within", disk, "ms", None);
    }
    remove(&repo)
}

pub(crate) async fn run(step: &Step) -> Result<()> {
    match step {
        Step::Fill { repo, disk, points } => fill(repo, disk, *points).await,
        Step::Stream { repo, point, delay_ms } => stream(repo, *point, *delay_ms).await,
        Step::Random { repo, point } => random(repo, *point).await,
    }
}

/// A number that spreads.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (number >> 31)
}

async fn fill(dir: &Path, disk: &Path, points: u64) -> Result<()> {
    let repo = match dir.exists() {
        true => Repo::open(dir, &PASSWORD.into(), OpenOptions::default()).await?,
        false => Repo::create(dir, &PASSWORD.into(), CreateOptions::default()).await?,
    };
    let file = File::open(disk)?;
    let mut known = repo.points().await?;
    while (known.len() as u64) < points {
        let number = known.len() as u64;
        match known.last() {
            None => write_first(&repo, &file).await?,
            Some(last) => write_next(&repo, &repo.open_point(&last.id).await?, number).await?,
        }
        known = repo.points().await?;
    }
    Ok(())
}

fn meta(number: u64) -> Result<Meta> {
    let time = jiff::Timestamp::from_second(1_700_000_000 + number as i64)?;
    Ok(Meta { host: "bench".into(), root: "/bench/points".into(), tags: vec![], time })
}

async fn write_first(repo: &Repo, file: &File) -> Result<()> {
    let size = file.metadata()?.len();
    let writer = repo.begin(WriteOptions::default()).await?;
    let mut sink = writer.disk_sink("0", size)?;
    let mut offset = 0;
    while offset < size {
        let mut bytes = vec![0; (size - offset).min(1 << 20) as usize];
        file.read_exact_at(&mut bytes, offset)?;
        let len = bytes.len() as u64;
        let block =
            if xenkeep_disk::is_zero(&bytes) { Block::zero(offset, len) } else { Block::bytes(offset, bytes.into()) };
        sink.push(block).await?;
        offset += len;
    }
    sink.finish().await?;
    writer.commit(meta(0)?).await?;
    Ok(())
}

/// A point over the last one: in some chunks, a piece of random bytes.
async fn write_next(repo: &Repo, last: &PointReader, number: u64) -> Result<()> {
    let base = last.disk("0").await?;
    let (size, chunk_bytes) = (base.size(), u64::from(repo.chunk_bytes()));
    let writer = repo.begin(WriteOptions::default()).await?;
    let mut sink = writer.disk_sink_over("0", size, base.clone())?;
    let unchanged = |from: u64, to: u64| Block { offset: from, len: to - from, data: Data::Unchanged };
    let mut position = 0;
    let mut piece = vec![0; PIECE_BYTES];
    for chunk in 0..size / chunk_bytes {
        let chance = mixed(number << 32 | chunk);
        if chance % 100 >= CHANGED_PERCENT {
            continue;
        }
        let offset = chunk * chunk_bytes;
        base.read_at(offset, &mut piece).await?;
        if xenkeep_disk::is_zero(&piece) {
            continue; // what was never written stays so
        }
        if position < offset {
            sink.push(unchanged(position, offset)).await?;
        }
        for (word, at) in piece.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
            *word = mixed(chance ^ at).to_le_bytes();
        }
        sink.push(Block::bytes(offset, piece.clone().into())).await?;
        position = offset + PIECE_BYTES as u64;
    }
    if position < size {
        sink.push(unchanged(position, size)).await?;
    }
    sink.finish().await?;
    writer.commit(meta(number)?).await?;
    Ok(())
}

async fn open(dir: &Path, point: usize, request_delay: Duration) -> Result<(Repo, PointReader)> {
    let repo = Repo::open(dir, &PASSWORD.into(), OpenOptions { request_delay, ..OpenOptions::default() }).await?;
    let points = repo.points().await?;
    let point = points.get(point).context("there is no such point")?;
    let reader = repo.open_point(&point.id).await?;
    Ok((repo, reader))
}

/// Takes all files out of the page cache.
fn forget(dir: &Path) -> Result<()> {
    succeed(std::process::Command::new("sync").arg("-f").arg(dir))?;
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            forget(&path)?;
        } else {
            rustix::fs::fadvise(&File::open(&path)?, 0, None, rustix::fs::Advice::DontNeed)?;
        }
    }
    Ok(())
}

async fn stream(dir: &Path, point: usize, delay_ms: u64) -> Result<()> {
    forget(&dir.join("data"))?;
    let (_repo, reader) = open(dir, point, Duration::from_millis(delay_ms)).await?;
    let disk = reader.disk("0").await?;
    let (size, start) = (disk.size(), Instant::now());
    let (mut blocks, mut position) = (disk.blocks(), 0);
    while let Some(block) = blocks.next().await {
        position += block?.len;
    }
    ensure!(position == size, "the disk has {position} bytes of {size}");
    println!("{}", start.elapsed().as_secs_f64());
    Ok(())
}

async fn random(dir: &Path, point: usize) -> Result<()> {
    forget(&dir.join("data"))?;
    let (_repo, reader) = open(dir, point, Duration::ZERO).await?;
    let disk: Arc<_> = reader.disk("0").await?;
    let pieces = disk.size() / PIECE_BYTES as u64;
    let mut buf = vec![0; PIECE_BYTES];
    let mut times = Vec::new();
    let mut number = 0;
    while (times.len() as u64) < READS && number < 100 * READS {
        let offset = mixed(number) % pieces * PIECE_BYTES as u64;
        number += 1;
        let start = Instant::now();
        disk.read_at(offset, &mut buf).await?;
        // What is not there is no read.
        times.extend((!xenkeep_disk::is_zero(&buf)).then(|| start.elapsed()));
    }
    ensure!(!times.is_empty(), "the disk is empty");
    forget(&dir.join("data"))?;
    let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e3 / times.len() as f64;
    println!("{mean} {} {}", late_ms(times), late_ms(plain_reads(&dir.join("data"))?));
    Ok(())
}

/// What 99 of 100 do not exceed.
fn late_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len().saturating_sub(1) * 99 / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// The disk's own share: as many reads of as many bytes as an average chunk takes, straight from the packs.
fn plain_reads(packs: &Path) -> Result<Vec<Duration>> {
    let mut files = Vec::new();
    for dir in fs::read_dir(packs)? {
        for file in fs::read_dir(dir?.path())? {
            let file = File::open(file?.path())?;
            let len = file.metadata()?.len();
            files.extend((len > PLAIN_BYTES as u64).then_some((file, len)));
        }
    }
    ensure!(!files.is_empty(), "there are no packs");
    let mut buf = vec![0; PLAIN_BYTES];
    let mut times = Vec::new();
    for number in 0..READS {
        let (file, len) = &files[(mixed(number) % files.len() as u64) as usize];
        let start = Instant::now();
        file.read_exact_at(&mut buf, mixed(number << 32) % (len - PLAIN_BYTES as u64))?;
        times.push(start.elapsed());
    }
    Ok(times)
}
