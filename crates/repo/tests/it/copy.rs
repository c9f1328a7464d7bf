//! Points in another repository, with another key.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngCore, SeedableRng, rngs::StdRng};
use tempfile::TempDir;
use xenkeep_repo::{CopyOptions, CopyReport, Counters, CreateOptions, Depth, Error, Repo, SnapshotId, VerifyOptions};

use crate::judge::restic_as;
use crate::store::*;

const OTHER_PASSWORD: &str = "battery staple";

struct Target {
    temp: TempDir,
    repo: Repo,
}

impl Target {
    async fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let repo = Repo::create(&temp.path().join("copy"), &OTHER_PASSWORD.into(), options()).await.unwrap();
        Target { temp, repo }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.temp.path().join("copy")
    }

    fn restic(&self, args: &[&str]) -> String {
        restic_as(&self.dir(), OTHER_PASSWORD, args)
    }
}

async fn copy(fixture: &Fixture, id: &SnapshotId, target: &Target) -> Result<CopyReport, Error> {
    fixture.repo.copy_point(id, &target.repo, CopyOptions::default()).await
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut noise = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut noise);
    noise
}

fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).unwrap();
    content[at] ^= 1;
    fs::write(path, content).unwrap();
}

fn data_packs(dir: &Path) -> Vec<std::path::PathBuf> {
    files(&dir.join("data")).into_iter().filter(|path| path.metadata().unwrap().len() > 100_000).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_whole_for_us_and_for_restic_and_made_once() {
    let (fixture, target) = (Fixture::new().await, Target::new().await);
    let images = [image(1, (40 << 20) + 512), image(2, 3 << 20), Vec::new()];
    let (writer, _) = begin(&fixture.repo).await;
    for (name, image) in images.iter().enumerate() {
        writer.disk(&name.to_string(), image.len() as u64, stream_of(blocks(image, 1))).await.unwrap();
    }
    let ova = image(9, 300_000);
    writer.file("ova.xml", ova.clone().into()).await.unwrap();
    let meta = xenkeep_repo::Meta { root: r#"/Pool "München" \1/6f2b"#.into(), ..meta(0) };
    let id = writer.commit(meta.clone()).await.unwrap();

    let counters = Arc::new(Counters::default());
    let options = CopyOptions { counters: counters.clone(), ..CopyOptions::default() };
    let report = fixture.repo.copy_point(&id, &target.repo, options).await.unwrap();
    assert!(!report.already_there && report.read_bytes > 0 && report.chunks > 0, "{report:?}");
    let disks: usize = images.iter().map(Vec::len).sum();
    assert_eq!(counters.read_bytes(), disks as u64, "all of the disks is accounted for");
    assert!(counters.new_bytes() > 0 && counters.stored_bytes() > 0);

    let copied = target.repo.open_point(&report.id).await.unwrap();
    assert_eq!((&copied.meta().root, &copied.meta().tags, copied.meta().time), (&meta.root, &meta.tags, meta.time));
    for (name, image) in images.iter().enumerate() {
        assert!(read_blocks(copied.disk(&name.to_string()).await.unwrap()).await.unwrap() == *image, "disk {name}");
    }
    assert_eq!(copied.file("ova.xml").await.unwrap(), ova);
    drop(copied);
    let checked = target.restic(&["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    let snapshots: serde_json::Value = serde_json::from_str(&target.restic(&["snapshots", "--json"])).unwrap();
    assert_eq!(snapshots[0]["original"], id.to_string());

    let again = copy(&fixture, &id, &target).await.unwrap();
    assert_eq!(again, CopyReport { id: report.id, already_there: true, chunks: 0, read_bytes: 0 });
    // A copy of a copy remembers the first one, and so it is not copied back.
    let back = target.repo.copy_point(&report.id, &fixture.repo, CopyOptions::default()).await.unwrap();
    assert_eq!((back.id, back.already_there), (id, true));
    // restic takes it for copied, too.
    let password = fixture.path("password");
    fs::write(&password, PASSWORD).unwrap();
    let from = fixture.dir();
    let (from, password) = (from.to_str().unwrap(), password.to_str().unwrap());
    let said = target.restic(&["copy", "-v", "--from-repo", from, "--from-password-file", password]);
    assert!(said.contains("was already copied"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_missing_is_read() {
    let (fixture, target) = (Fixture::new().await, Target::new().await);
    let mut disk = noise(1, 8 << 20);
    let mut points = vec![(back_up(&fixture.repo, 0, &disk).await, disk.clone())];
    disk[5 << 20] ^= 1;
    points.push((back_up(&fixture.repo, 1, &disk).await, disk.clone()));
    // What the target has by itself is not copied either.
    let known = noise(7, 4 << 20);
    back_up(&target.repo, 0, &known).await;
    points.push((back_up(&fixture.repo, 2, &known).await, known));

    let mut copier = fixture.repo.copier(&target.repo, CopyOptions::default()).await.unwrap();
    let mut read = Vec::new();
    for (id, _) in &points {
        read.push(copier.copy_point(id).await.unwrap());
    }
    drop(copier);
    assert!(read[0].read_bytes >= 8 << 20);
    assert!((CHUNK as u64..2 * CHUNK as u64).contains(&read[1].read_bytes), "one chunk and directories: {read:?}");
    assert!(read[2].read_bytes < CHUNK as u64, "directories alone: {read:?}");
    for (report, (_, image)) in read.iter().zip(&points) {
        assert!(restored(&target.repo, &report.id).await == *image);
    }
    gone(&target.dir().join("locks")).await;
    gone(&fixture.dir().join("locks")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_fails_its_point_and_no_other() {
    let (fixture, target) = (Fixture::new().await, Target::new().await);
    let images = [noise(1, 3 << 20), noise(2, 3 << 20)];
    let bad = back_up(&fixture.repo, 0, &images[0]).await;
    let pack = data_packs(&fixture.dir())[0].clone();
    let good = back_up(&fixture.repo, 1, &images[1]).await;
    flip(&pack, 200);
    let mut copier = fixture.repo.copier(&target.repo, CopyOptions::default()).await.unwrap();
    let error = copier.copy_point(&bad).await.unwrap_err().to_string();
    assert!(error.contains("chunk") && error.contains(pack.file_name().unwrap().to_str().unwrap()), "{error}");
    let copied = copier.copy_point(&good).await.unwrap();
    assert!(restored(&target.repo, &copied.id).await == images[1]);
    assert_eq!(target.repo.points().await.unwrap().len(), 1, "no half point is listed");
    // Once it is healed, only what is missing is read.
    flip(&pack, 200);
    let copied = copier.copy_point(&bad).await.unwrap();
    assert!(copied.read_bytes < 1 << 20, "{copied:?}");
    assert!(restored(&target.repo, &copied.id).await == images[0]);
    drop(copier);
    target.restic(&["check", "--read-data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_copy_of_a_chunk_is_found_and_damage_in_the_target_is_healed() {
    let (fixture, target) = (Fixture::new().await, Target::new().await);
    let disk = noise(1, 3 << 20);
    let first = back_up(&fixture.repo, 0, &disk).await;
    let copied = copy(&fixture, &first, &target).await.unwrap();
    let full = || VerifyOptions { depth: Depth::Full, ..VerifyOptions::default() };

    // Damage in the target: a new point that needs the chunk brings it along again.
    flip(&data_packs(&target.dir())[0], 200);
    assert_eq!(target.repo.verify(full()).await.unwrap().affected_points().len(), 1);
    let second = back_up(&fixture.repo, 1, &disk).await;
    let report = copy(&fixture, &second, &target).await.unwrap();
    assert!((CHUNK as u64..2 * CHUNK as u64).contains(&report.read_bytes), "{report:?}");
    for id in [copied.id, report.id] {
        assert!(restored(&target.repo, &id).await == disk);
    }
    assert!(target.repo.verify(full()).await.unwrap().affected_points().is_empty());

    // Damage in the source that was healed there: the good copy is read.
    flip(&data_packs(&fixture.dir())[0], 200);
    fixture.repo.verify(full()).await.unwrap();
    back_up(&fixture.repo, 2, &disk).await;
    let fresh = Target::new().await;
    let report = copy(&fixture, &first, &fresh).await.unwrap();
    assert!(restored(&fresh.repo, &report.id).await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_shared_is_not_copied() {
    let fixture = Fixture::new().await;
    let id = back_up(&fixture.repo, 0, &image(1, 1 << 20)).await;
    let temp = tempfile::tempdir().unwrap();
    let other = CreateOptions { chunk_bytes: 256 << 10, ..options() };
    let other = Repo::create(&temp.path().join("repo"), &password(), other).await.unwrap();
    let error = fixture.repo.copy_point(&id, &other, CopyOptions::default()).await.unwrap_err();
    assert!(matches!(&error, Error::Invalid(why) if why.contains("128 KiB") && why.contains("256 KiB")), "{error}");
    let error = fixture.repo.copy_point(&id, &fixture.reopened().await, CopyOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let target = Target::new().await;
    let nobody = "7".repeat(64).parse().unwrap();
    assert!(matches!(copy(&fixture, &nobody, &target).await, Err(Error::NotFound { .. })));
}

const FROM: &str = "XENKEEP_TEST_COPY_FROM";
const TO: &str = "XENKEEP_TEST_COPY_TO";

/// Copies in a process of its own, which is killed as soon as it has made something findable.
#[test]
fn a_killed_copy_goes_on_where_it_was() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let (Ok(from), Ok(to)) = (std::env::var(FROM), std::env::var(TO)) {
        return runtime.block_on(copy_until_killed(from.as_ref(), to.as_ref()));
    }
    let (fixture, target) = runtime.block_on(async { (Fixture::new().await, Target::new().await) });
    let disk = noise(3, 260 << 20);
    let id = runtime.block_on(back_up(&fixture.repo, 0, &disk));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "copy::a_killed_copy_goes_on_where_it_was"])
        .env(FROM, fixture.dir())
        .env(TO, target.dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("copying")), "the child has begun");
    while files(&target.dir().join("index")).is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    let points = runtime.block_on(target.repo.points()).unwrap();
    assert!(points.is_empty(), "it was killed before it was done");
    let report = runtime.block_on(copy(&fixture, &id, &target)).unwrap();
    assert!(report.read_bytes < 240 << 20, "{} MiB were read again", report.read_bytes >> 20);
    assert!(runtime.block_on(restored(&target.repo, &report.id)) == disk);
    runtime.block_on(gone(&target.dir().join("locks")));
    target.restic(&["check", "--read-data"]);
}

async fn copy_until_killed(from: &Path, to: &Path) {
    let source = Repo::open(from, &password(), Default::default()).await.unwrap();
    let target = Repo::open(to, &OTHER_PASSWORD.into(), Default::default()).await.unwrap();
    let id = source.points().await.unwrap()[0].id;
    println!("copying");
    let options = CopyOptions { checkpoint: Duration::ZERO, ..CopyOptions::default() };
    source.copy_point(&id, &target, options).await.unwrap();
}
