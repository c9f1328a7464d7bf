//! Measures the repository alone: a raw file into a repository, and out of it again.
//!
//! `pipeline create DIR` · `pipeline backup DIR FILE` · `pipeline restore DIR POINT FILE`
//!
//! The password is `pipeline`. Prints seconds, bytes and peak memory.

use std::error::Error;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secrecy::SecretString;
use xenkeep_disk::DiskRead;
use xenkeep_disk::raw::{RawFile, write_sparse};
use xenkeep_repo::{Counters, CreateOptions, Meta, OpenOptions, Repo, WriteOptions};

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let password = SecretString::from("pipeline");
    let start = Instant::now();
    match args[..] {
        ["create", dir] => drop(Repo::create(Path::new(dir), &password, CreateOptions::default()).await?),
        ["backup", dir, file] => {
            back_up(&Repo::open(Path::new(dir), &password, OpenOptions::default()).await?, file).await?
        }
        ["restore", dir, point, file] => {
            restore(&Repo::open(Path::new(dir), &password, OpenOptions::default()).await?, point, file).await?
        }
        _ => return Err("usage: pipeline create DIR | backup DIR FILE | restore DIR POINT FILE".into()),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("total {:.2} s, {}", start.elapsed().as_secs_f64(), peak.replace('\t', " "));
    Ok(())
}

async fn back_up(repo: &Repo, path: &str) -> Outcome {
    let start = Instant::now();
    let counters = Arc::new(Counters::default());
    let writer = repo.begin(WriteOptions { counters: counters.clone() }).await?;
    let file = RawFile::open(Path::new(path))?;
    writer.disk("0", file.size(), file.blocks()).await?;
    let read = start.elapsed();
    let meta = Meta { host: "bench".into(), root: "/bench/disk".into(), tags: vec![], time: jiff::Timestamp::now() };
    let id = writer.commit(meta).await?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{id}: {} MiB read, {} MiB new, {} MiB stored in {seconds:.2} s (commit {:.2} s)",
        counters.read_bytes() >> 20,
        counters.new_bytes() >> 20,
        counters.stored_bytes() >> 20,
        seconds - read.as_secs_f64(),
    );
    Ok(())
}

async fn restore(repo: &Repo, point: &str, path: &str) -> Outcome {
    let start = Instant::now();
    let point = repo.open_point(&repo.find(point).await?.id).await?;
    let disk = point.disk("0").await?;
    let file = File::create(path)?;
    write_sparse(disk.clone().blocks(), disk.size(), file, Path::new(path)).await?;
    println!("restored in {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}
