//! `cargo xtask demo`: the main job of xenkeep on real disks, every disk compared.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::{Value, json};
use xenkeep_tests::{Lab, Pool, PoolOptions, PoolVm, images};

const MIB: u64 = 1 << 20;

/// Builds disks with real file systems, a simulated pool and a xenkeep server; backs up, deletes, restores, compares.
#[derive(Debug, Parser)]
struct Arguments {
    /// End when done instead of staying up for a look.
    #[arg(long)]
    exit: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match demo(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments) -> Result<()> {
    let scratch = tempfile::Builder::new().prefix("xenkeep-demo-").tempdir()?;
    title("Building disks: GPT with FAT and ext4, NTFS, a qcow2");
    let options = build_vms(scratch.path())?;

    title("Starting a pool of two hosts (xensim) and a xenkeep server");
    let lab = Lab::build(scratch.path(), &options)?;
    print!("{}", lab.product.ok(&["vm", "list", "lab"])?);

    title("Backing up every VM; a guest writes to the disk of web meanwhile");
    lab.pool.post("/vm/web/writer", &json!({"on": true, "bytes_per_second": 8 * MIB}))?;
    let mut copies = Vec::new();
    for vm in lab.pool.vms()? {
        copies.push(back_up(&lab, &vm)?);
    }
    lab.pool.post("/vm/web/writer", &json!({"on": false}))?;

    title("Backing up web once more: only what its guest has written is new");
    let again = back_up(&lab, &lab.pool.vm("web")?)?;
    print!("{}", lab.product.ok(&["point", "list"])?);

    title("Disaster: files is deleted, disks and all; restoring it over the original");
    let files = copies.iter().find(|copy| copy.vm.name == "files").context("files was not backed up")?;
    lab.pool.uninstall(&files.vm)?;
    timed(&lab, &["restore", &files.point, "--overwrite", "--yes"])?;
    let restored = lab.pool.vm("files")?;
    ensure!(
        restored.uuid == files.vm.uuid && restored.macs == files.vm.macs,
        "uuid or MACs have changed: {restored:?}"
    );
    compare(&lab.pool, "files, restored over the original", &restored, &files.disks)?;

    title("Restoring web beside its original, and starting it");
    timed(&lab, &["restore", &again.point, "--as", "web-restored", "--start"])?;
    let beside = lab.pool.vm("web-restored")?;
    ensure!(beside.power_state == "Running", "web-restored is {}", beside.power_state);
    ensure!(beside.macs.iter().all(|mac| !again.vm.macs.contains(mac)), "web-restored bears a MAC of web");
    compare(&lab.pool, "web-restored, started", &beside, &again.disks)?;

    title("Reading the other points back: every disk as a raw file");
    for copy in copies.iter().filter(|copy| copy.vm.name != "files") {
        export_and_compare(&lab, copy, scratch.path())?;
    }

    title("What it took");
    report(&lab, scratch.path())?;
    println!("\nEvery disk was compared equal, sha256 by sha256.");
    if arguments.exit {
        return Ok(());
    }
    println!("\nThe pool and the server stay up until Ctrl-C. Try, in another terminal:\n");
    println!("  export XENKEEP_DATA={}", lab.product.data().display());
    println!("  {} point list", xenkeep_tests::binary("xenkeep")?.display());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tokio::signal::ctrl_c())?;
    Ok(())
}

/// A backup that was made: the VM as it was, its point, and what its snapshot held.
struct Copy {
    vm: PoolVm,
    point: String,
    disks: Vec<String>,
}

/// Three VMs: `web` (one disk with a GPT), `files` (two disks, NTFS among them), `db` (ext4 in a qcow2).
fn build_vms(dir: &Path) -> Result<PoolOptions> {
    let content = dir.join("content");
    images::fill_directory(&content, 1, 600, 200_000)?;
    let readme = content.join("d00/file-00000.dat");
    let (boot, root) = (dir.join("boot.img"), dir.join("root.img"));
    images::fat(&boot, 64 * MIB, std::slice::from_ref(&readme))?;
    images::ext4(&root, 384 * MIB, &content)?;
    let web = dir.join("web.img");
    images::gpt(&web, &[(&boot, "ef00"), (&root, "8300")])?;

    let system = dir.join("files-system.img");
    images::gpt(&system, &[(&boot, "ef00"), (&root, "8300")])?;
    let data = dir.join("files-data.img");
    let documents: Vec<PathBuf> = (0..40).map(|n| content.join(format!("d{:02}/file-{n:05}.dat", n % 16))).collect();
    images::ntfs(&data, 256 * MIB, &documents)?;

    let (raw, db) = (dir.join("db.img"), dir.join("db.qcow2"));
    let tables = dir.join("tables");
    images::fill_directory(&tables, 2, 100, 500_000)?;
    images::ext4(&raw, 192 * MIB, &tables)?;
    images::qcow2(&raw, &db)?;
    std::fs::remove_file(raw)?;
    let vms = vec![("web".into(), vec![web]), ("files".into(), vec![system, data]), ("db".into(), vec![db])];
    Ok(PoolOptions { vms, running: vec!["web".into()], ..PoolOptions::default() })
}

fn back_up(lab: &Lab, vm: &PoolVm) -> Result<Copy> {
    timed(lab, &["backup", "lab", &vm.uuid, "--datastore", "store"])?;
    let points = lab.product.json(&["point", "list", "--vm", &vm.uuid])?;
    let points = points.as_array().context("no list of points")?;
    let newest = points.iter().max_by_key(|point| point["taken_at"].as_str()).context("no point")?;
    let point = newest["id"].as_str().context("a point without id")?.to_owned();
    Ok(Copy { vm: vm.clone(), point, disks: lab.pool.last_snapshot(vm)? })
}

fn export_and_compare(lab: &Lab, copy: &Copy, scratch: &Path) -> Result<()> {
    let dir = scratch.join(format!("export-{}", &copy.point[..8]));
    timed(lab, &["export", &copy.point, "--format", "raw", "-o", &dir.display().to_string()])?;
    let mut files: Vec<_> = std::fs::read_dir(&dir)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files.len() == copy.disks.len(), "{} files for {} disks", files.len(), copy.disks.len());
    for (file, expected) in files.iter().zip(&copy.disks) {
        let found = images::sha256(file)?;
        ensure!(found == *expected, "{}: {found} instead of {expected}", file.display());
        println!("  equal  {found}  {}", file.file_name().unwrap_or_default().display());
    }
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

fn compare(pool: &Pool, what: &str, vm: &PoolVm, expected: &[String]) -> Result<()> {
    let found = pool.contents(vm)?;
    ensure!(found == expected, "{what}: {found:?} instead of {expected:?}");
    for (position, sha256) in found.iter().enumerate() {
        println!("  equal  {sha256}  {what}, disk {position}");
    }
    Ok(())
}

fn timed(lab: &Lab, arguments: &[&str]) -> Result<()> {
    println!("$ xenkeep {}", arguments.join(" "));
    let started = Instant::now();
    print!("{}", lab.product.ok(arguments)?);
    println!("  ({:.1} s)", started.elapsed().as_secs_f64());
    Ok(())
}

/// Sums over all jobs and the size of the datastore.
fn report(lab: &Lab, scratch: &Path) -> Result<()> {
    let jobs = lab.product.json(&["job", "list"])?;
    let backups: Vec<&Value> =
        jobs.as_array().into_iter().flatten().filter(|job| job["spec"]["kind"] == "backup").collect();
    let sum = |field: &str| backups.iter().filter_map(|job| job["progress"][field].as_u64()).sum::<u64>() / MIB;
    let (disks, read, new) = (sum("done_bytes"), sum("moved_bytes"), sum("new_bytes"));
    println!("  {} backups of {disks} MiB of disks: {read} MiB came over the wire (no holes)", backups.len());
    println!("  {new} MiB were new; {} MiB were shared with an earlier point, or within one", read.saturating_sub(new));
    println!("  {} MiB were stored, compressed and encrypted", sum("stored_bytes"));
    println!("  the datastore takes {} MiB on disk", images::usage_bytes(&scratch.join("store"))? / MIB);
    Ok(())
}

fn title(text: &str) {
    println!("\n== {text}");
}
