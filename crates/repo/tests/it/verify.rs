//! What is damaged is found, named, recorded, and healed by the next backup that reads it again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use xenkeep_repo::{
    DamagedFile, Depth, FileKind, OpenOptions, PruneOptions, Repo, SnapshotId, VerifyOptions, VerifyReport,
};

use crate::judge::{restic, restic_raw};
use crate::store::*;

async fn verify(repo: &Repo, depth: Depth) -> VerifyReport {
    repo.verify(VerifyOptions { depth, ..VerifyOptions::default() }).await.unwrap()
}

/// As a verification by another process.
async fn verify_anew(dir: &Path, depth: Depth) -> Option<VerifyReport> {
    let repo = Repo::open(dir, &password(), OpenOptions::default()).await.ok()?;
    Some(verify(&repo, depth).await)
}

/// All files of a repository that say something.
fn contents(dir: &Path) -> Vec<PathBuf> {
    let ours = |path: &PathBuf| ["tmp", "locks", "xenkeep"].iter().all(|name| !path.starts_with(dir.join(name)));
    files(dir).into_iter().filter(ours).collect()
}

fn name_in(dir: &Path, path: &Path) -> String {
    path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned()
}

fn flip(path: &Path, bit: u64) {
    let mut content = fs::read(path).unwrap();
    content[(bit / 8) as usize] ^= 1 << (bit % 8);
    fs::write(path, content).unwrap();
}

fn packs(dir: &Path) -> Vec<PathBuf> {
    files(&dir.join("data"))
}

/// The largest pack: it holds chunks.
fn data_pack(dir: &Path) -> PathBuf {
    packs(dir).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

fn only(report: &VerifyReport) -> &DamagedFile {
    assert_eq!((report.damaged.len(), report.undecided.len()), (1, 0), "{report:#?}");
    &report.damaged[0]
}

fn ids(file: &DamagedFile) -> Vec<SnapshotId> {
    let mut ids: Vec<_> = file.points.iter().map(|point| point.id).collect();
    ids.sort();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_repository_is_clean_and_each_pack_has_its_turn() {
    let fixture = Fixture::new().await;
    for number in 0..4 {
        back_up(&fixture.repo, number, &image(number as u64, 3 << 20)).await;
    }
    let quick = verify(&fixture.repo, Depth::Quick).await;
    assert!(quick.is_clean(), "{quick:#?}");
    assert_eq!((quick.points, quick.packs_total, quick.packs_checked, quick.bytes_read), (4, 8, 0, 0));
    assert_eq!((quick.never_verified_packs, quick.oldest_verified), (8, None));

    let half = VerifyOptions { depth: Depth::Full, share: Some(0.5), ..VerifyOptions::default() };
    let first = fixture.repo.verify(half.clone()).await.unwrap();
    assert!(first.is_clean() && first.bytes_read * 2 >= first.bytes_total && first.packs_checked < 8, "{first:#?}");
    assert_eq!(first.never_verified_packs + first.packs_checked, 8);
    let second = fixture.reopened().await.verify(half).await.unwrap();
    assert_eq!(second.never_verified_packs, 0, "those that were left over have had their turn: {second:#?}");
    assert!(second.oldest_verified.is_some());

    let old = VerifyOptions {
        depth: Depth::Full,
        older_than: Some(Duration::from_secs(24 * 3600)),
        ..VerifyOptions::default()
    };
    assert_eq!(fixture.repo.verify(old.clone()).await.unwrap().packs_checked, 0);
    back_up(&fixture.repo, 5, &image(5, 3 << 20)).await;
    let third = fixture.repo.verify(old.clone()).await.unwrap();
    assert_eq!((third.packs_checked, third.packs_total), (2, 10), "only what was never read is old");
    assert_eq!(files(&fixture.dir().join("xenkeep/verified")).len(), 1);
    assert!(!fixture.dir().join("xenkeep/damage").exists());

    let full = VerifyOptions { depth: Depth::Full, ..VerifyOptions::default() };
    let report = fixture.repo.verify(full.clone()).await.unwrap();
    let progress = &full.progress;
    assert_eq!((progress.packs_total(), progress.packs_done()), (10, 10));
    assert_eq!((progress.bytes_total(), progress.bytes_done()), (report.bytes_total, report.bytes_total));
    assert_eq!((progress.points_total(), progress.points_done(), progress.damaged_packs()), (5, 5, 0));
    assert!(fixture.repo.verify(VerifyOptions { share: Some(1.5), ..old }).await.is_err());
    restic(&fixture.dir(), &["check", "--read-data"]);
}

/// Two points, three disks, a chunk that two of them share.
async fn small_repository() -> (Fixture, Vec<(SnapshotId, Vec<u8>)>) {
    let fixture = Fixture::new().await;
    let mut points = Vec::new();
    for number in 0..2 {
        let image = image(number, 700 << 10);
        points.push((back_up(&fixture.repo, number as i64, &image).await, image));
    }
    gone(&fixture.dir().join("locks")).await;
    (fixture, points)
}

#[test]
fn any_flipped_bit_in_any_file_is_found() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (fixture, _) = runtime.block_on(small_repository());
    let dir = fixture.dir();
    let all = contents(&dir);
    assert_eq!(all.len(), 2 + 2 + 2 + 4, "config, key, snapshots, index files, packs of chunks and of trees");
    proptest!(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }, |(
        file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>())| {
        let path = file.get(&all);
        let bit = at.index(path.metadata().unwrap().len() as usize * 8) as u64;
        flip(path, bit);
        let found = runtime.block_on(verify_anew(&dir, Depth::Full));
        flip(path, bit);
        let name = name_in(&dir, path);
        // Without a config or a key, it cannot even be opened.
        let opens = !name.starts_with("config") && !name.starts_with("keys");
        prop_assert!(found.is_some() || !opens, "bit {bit} of {name}");
        if let Some(report) = found {
            prop_assert!(report.damaged.iter().any(|file| file.name == name), "bit {bit} of {name}: {report:#?}");
        }
    });
    let report = runtime.block_on(verify(&fixture.repo, Depth::Full));
    assert!(report.is_clean(), "all was put back: {report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_finds_what_we_find() {
    let (fixture, _) = small_repository().await;
    let dir = fixture.dir();
    for path in contents(&dir) {
        let name = name_in(&dir, &path);
        let len = path.metadata().unwrap().len();
        flip(&path, len * 8 / 2 + 3);
        let ours = verify_anew(&dir, Depth::Full).await.is_none_or(|report| !report.is_clean());
        let theirs = !restic_raw(&dir, PASSWORD, &["check", "--read-data"]).status.success();
        flip(&path, len * 8 / 2 + 3);
        assert!(ours && theirs, "{name}: we {ours}, restic {theirs}");
    }
    restic(&dir, &["check", "--read-data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_and_what_is_appended_are_found_and_harm_no_chunk() {
    let (fixture, points) = small_repository().await;
    let dir = fixture.dir();
    let path = data_pack(&dir);
    let good = fs::read(&path).unwrap();
    let header = good.len() - 4 - u32::from_le_bytes(*good.last_chunk().unwrap()) as usize;
    for at in [header, header + 20, good.len() - 5, good.len() - 4, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        fs::write(&path, bad).unwrap();
        let report = verify(&fixture.repo, Depth::Full).await;
        let file = only(&report);
        assert_eq!((file.name.as_str(), file.chunks, file.points.len()), (&*name_in(&dir, &path), 0, 0));
        assert!(file.why.contains("header") && file.remedy.contains("nothing is lost"), "{file:?}");
    }
    fs::write(&path, [good.as_slice(), b"more"].concat()).unwrap();
    for depth in [Depth::Quick, Depth::Full] {
        let report = verify(&fixture.repo, depth).await;
        assert_eq!((only(&report).chunks, only(&report).points.len()), (0, 0), "{report:#?}");
        assert!(only(&report).why.contains("should have"), "{report:#?}");
    }
    for (id, image) in &points {
        assert!(restored(&fixture.repo, id).await == *image);
    }
    fs::write(&path, &good).unwrap();
    let report = verify(&fixture.repo, Depth::Quick).await;
    assert!(report.is_clean() && report.cleared_packs == 1, "what is recorded is looked at each time: {report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_removed_or_cut_is_found_by_a_quick_look() {
    let (fixture, points) = small_repository().await;
    let dir = fixture.dir();
    for path in contents(&dir) {
        let name = name_in(&dir, &path);
        let good = fs::read(&path).unwrap();
        for cut in [None, Some(0), Some(good.len() / 2), Some(good.len() - 1)] {
            match cut {
                None => fs::remove_file(&path).unwrap(),
                Some(len) => fs::write(&path, &good[..len]).unwrap(),
            }
            // A removed snapshot is a removed point, as a removed key is a removed password.
            let gone_for_good = cut.is_none() && (name.starts_with("snapshots") || name.starts_with("keys"));
            let report = verify(&fixture.repo, Depth::Quick).await;
            assert_eq!(report.is_clean(), gone_for_good, "{name} cut at {cut:?}: {report:#?}");
            if let Some(report) = verify_anew(&dir, Depth::Quick).await {
                assert_eq!(report.is_clean(), gone_for_good, "{name} cut at {cut:?}: {report:#?}");
                let named = report.damaged.iter().any(|file| file.name == name || file.kind == FileKind::Chunks);
                assert!(named || gone_for_good, "{name} cut at {cut:?}: {report:#?}");
            }
        }
        fs::write(&path, &good).unwrap();
    }
    let report = verify(&fixture.repo, Depth::Full).await;
    assert!(report.is_clean(), "{report:#?}");
    for (id, image) in &points {
        assert!(restored(&fixture.repo, id).await == *image);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_file_is_told_with_the_points_that_need_it() {
    let (fixture, points) = small_repository().await;
    let dir = fixture.dir();
    let path = files(&dir.join("index"))[0].clone();
    let good = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let report = verify_anew(&dir, Depth::Quick).await.unwrap();
    let file = only(&report);
    assert_eq!((file.kind, report.unindexed_packs), (FileKind::Chunks, 2), "{report:#?}");
    // The other point may need chunks that both have.
    assert!(file.points.iter().any(|point| point.whole) && file.remedy.contains("restic repair index"), "{file:?}");
    fs::write(&path, "rubbish").unwrap();
    let report = verify_anew(&dir, Depth::Full).await.unwrap();
    assert_eq!(report.damaged.len(), 2, "the file, and what it should name: {report:#?}");
    fs::write(&path, good).unwrap();
    assert!(verify(&fixture.repo, Depth::Full).await.is_clean());
    assert!(restored(&fixture.repo, &points[0].0).await == points[0].1);
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_packs_are_found_by_a_full_look() {
    let fixture = Fixture::new().await;
    // Noise: equal lengths, for nothing of it shrinks.
    let mut first = None;
    for number in 0..2 {
        let mut noise = vec![0; 4 * CHUNK];
        StdRng::seed_from_u64(number).fill_bytes(&mut noise);
        let id = back_up(&fixture.repo, number as i64, &noise).await;
        first.get_or_insert((id, noise));
    }
    let dir = fixture.dir();
    let mut all = packs(&dir);
    all.sort_by_key(|path| std::cmp::Reverse(path.metadata().unwrap().len()));
    let contents: Vec<_> = all.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(contents[0].len(), contents[1].len());
    assert_ne!(contents[1].len(), contents[2].len());
    for (one, other) in [(0, 1), (1, 2)] {
        let swap = |one: usize, other: usize, at: usize, to: usize| {
            fs::write(&all[one], &contents[at]).unwrap();
            fs::write(&all[other], &contents[to]).unwrap();
        };
        swap(one, other, other, one);
        let quick = verify_anew(&dir, Depth::Quick).await.unwrap();
        assert_eq!(quick.is_clean(), (one, other) == (0, 1), "lengths tell nothing here: {quick:#?}");
        let report = verify_anew(&dir, Depth::Full).await.unwrap();
        for (path, is) in [(&all[one], &all[other]), (&all[other], &all[one])] {
            let name = name_in(&dir, path);
            let file = report.damaged.iter().find(|file| file.name == name).unwrap();
            assert!(file.why.contains(&format!("belongs into {}", name_in(&dir, is))), "{file:?}");
            // If they are the chunks and the directories of one point, nothing tells any more who needs the chunks.
            assert!(!file.remedy.contains("no point needs"), "{file:?}");
        }
        assert!(!report.affected_points().is_empty(), "{report:#?}");
        swap(one, other, one, other);
        assert!(verify(&fixture.repo, Depth::Full).await.is_clean());
    }
    let (id, noise) = first.unwrap();
    assert!(restored(&fixture.repo, &id).await == noise);
}

/// Flips a bit of the first chunk of a pack.
fn harm(path: &Path) {
    flip(path, 8 * 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_vms_and_disks_that_damage_touches_are_named_and_no_others() {
    let fixture = Fixture::new().await;
    let shared = image(1, 2 << 20);
    let other = image(2, 2 << 20);
    let mut ids_of = Vec::new();
    for (number, disks) in [(0, vec![&shared]), (1, vec![&other, &shared]), (2, vec![&other])] {
        let (writer, _) = begin(&fixture.repo).await;
        for (name, disk) in disks.iter().enumerate() {
            writer.disk(&name.to_string(), disk.len() as u64, stream_of(blocks(disk, 1))).await.unwrap();
        }
        writer.file("point.json", "{}".into()).await.unwrap();
        let meta = xenkeep_repo::Meta { root: format!("/lab/vm{number}"), ..meta(number) };
        ids_of.push(writer.commit(meta).await.unwrap());
        if number == 0 {
            harm(&data_pack(&fixture.dir()));
        }
    }
    let report = verify(&fixture.repo, Depth::Full).await;
    let file = only(&report);
    assert_eq!((file.kind, file.chunks, file.lost_chunks), (FileKind::Pack, 1, 1));
    assert!(file.why.contains("1 of") && file.remedy.contains("copy the file back"), "{file:?}");
    let mut points = file.points.clone();
    points.sort_by_key(|point| point.root.clone());
    let shown: Vec<_> = points.iter().map(|point| (point.root.as_str(), point.disks.join(","), point.whole)).collect();
    assert_eq!(shown, [("/lab/vm0", "0".to_owned(), false), ("/lab/vm1", "1".to_owned(), false)]);
    assert_eq!(points[0].id, ids_of[0]);
    assert!(points.iter().all(|point| point.files.is_empty()));
    assert_eq!(report.affected_points().len(), 2);

    // A directory that is lost takes all with it; a quick look reads directories.
    fs::remove_dir_all(fixture.dir().join("xenkeep/damage")).unwrap();
    let tree_packs: Vec<_> =
        packs(&fixture.dir()).into_iter().filter(|path| path.metadata().unwrap().len() < 50_000).collect();
    harm(&tree_packs[0]);
    let report = verify(&fixture.reopened().await, Depth::Quick).await;
    assert!(!only(&report).points.is_empty(), "{report:#?}");
    assert_eq!(only(&report).name, name_in(&fixture.dir(), &tree_packs[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_backup_heals_what_it_reads_again() {
    let fixture = Fixture::new().await;
    let dir = fixture.dir();
    let image = image(1, 3 << 20);
    let first = back_up(&fixture.repo, 0, &image).await;
    let second = back_up(&fixture.repo, 1, &image).await;
    let pack = data_pack(&dir);
    harm(&pack);
    let report = verify(&fixture.repo, Depth::Full).await;
    assert_eq!(ids(only(&report)), {
        let mut ids = vec![first, second];
        ids.sort();
        ids
    });
    let disk = fixture.repo.open_point(&first).await.unwrap().disk("0").await.unwrap();
    assert!(read_blocks(disk).await.is_err());

    // Another process, which has seen nothing but the record.
    let other = fixture.reopened().await;
    let (writer, counters) = begin(&other).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(&image, 3))).await.unwrap();
    let third = writer.commit(meta(2)).await.unwrap();
    assert_eq!(counters.new_bytes(), CHUNK as u64, "the one chunk that was damaged");
    for repo in [&other, &fixture.repo, &fixture.reopened().await] {
        for id in [first, second, third] {
            assert!(restored(repo, &id).await == image);
        }
    }
    let report = verify(&fixture.repo, Depth::Full).await;
    let file = only(&report);
    assert_eq!((file.chunks, file.lost_chunks, report.healed_chunks, file.points.len()), (1, 0, 1, 0), "{report:#?}");
    assert!(file.remedy.contains("nothing is lost"));

    // It is enough to store it once.
    let (writer, counters) = begin(&fixture.reopened().await).await;
    writer.disk("0", image.len() as u64, stream_of(blocks(&image, 4))).await.unwrap();
    writer.commit(meta(3)).await.unwrap();
    assert_eq!(counters.new_bytes(), 0);

    // Whoever finds the pack again, and puts it back, ends it.
    harm(&pack);
    let report = verify(&fixture.repo, Depth::Quick).await;
    assert!(report.is_clean() && report.cleared_packs == 1, "{report:#?}");
    assert!(files(&dir.join("xenkeep/damage")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_are_missing_are_stored_again() {
    let fixture = Fixture::new().await;
    let image = image(1, 3 << 20);
    let first = back_up(&fixture.repo, 0, &image).await;
    for pack in packs(&fixture.dir()) {
        fs::remove_file(pack).unwrap();
    }
    let report = verify(&fixture.repo, Depth::Quick).await;
    assert_eq!((report.damaged.len(), report.affected_points().len()), (2, 1), "{report:#?}");
    assert!(report.affected_points()[0].whole);
    let second = back_up(&fixture.reopened().await, 0, &image).await;
    for id in [first, second] {
        assert!(restored(&fixture.repo, &id).await == image, "all that the first point needs is there again");
    }
    assert!(verify(&fixture.repo, Depth::Full).await.affected_points().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_not_taken_for_damage() {
    let (fixture, _) = small_repository().await;
    let away = fixture.path("away");
    fs::rename(fixture.dir(), &away).unwrap();
    assert!(fixture.repo.verify(VerifyOptions::default()).await.is_err());
    fs::rename(&away, fixture.dir()).unwrap();
    assert!(!fixture.dir().join("xenkeep/damage").exists());
    assert!(verify(&fixture.repo, Depth::Full).await.is_clean());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_told_and_go() {
    let (fixture, _) = small_repository().await;
    verify(&fixture.repo, Depth::Full).await;
    harm(&data_pack(&fixture.dir()));
    assert!(!verify(&fixture.repo, Depth::Full).await.is_clean());
    harm(&data_pack(&fixture.dir()));
    for name in ["damage", "verified"] {
        let path = files(&fixture.dir().join("xenkeep").join(name))[0].clone();
        flip(&path, 77);
        let report = verify(&fixture.repo, Depth::Quick).await;
        assert_eq!(
            (only(&report).kind, only(&report).name.as_str()),
            (FileKind::Ours, &*name_in(&fixture.dir(), &path))
        );
        assert!(verify(&fixture.repo, Depth::Quick).await.is_clean());
    }
    let report = verify(&fixture.repo, Depth::Quick).await;
    assert_eq!(report.never_verified_packs, report.packs_total);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn backups_removals_and_prunes_meanwhile_are_no_damage() {
    let fixture = Fixture::new().await;
    back_up(&fixture.repo, 0, &image(0, 3 << 20)).await;
    let done = Arc::new(AtomicBool::new(false));
    let verifier = tokio::spawn({
        // Another process, as far as the repository can tell.
        let (repo, done) = (fixture.reopened().await, done.clone());
        async move {
            let mut rounds = 0;
            while !done.load(Ordering::Relaxed) || rounds < 4 {
                let report = verify(&repo, if rounds % 2 == 0 { Depth::Full } else { Depth::Quick }).await;
                assert!(report.is_clean(), "{report:#?}");
                rounds += 1;
            }
        }
    });
    let mut last = None;
    for number in 1..12 {
        let id = back_up(&fixture.repo, number, &image(number as u64 % 4, 3 << 20)).await;
        if let Some(last) = last.replace(id) {
            fixture.repo.remove_point(&last).await.unwrap();
        }
        let options = PruneOptions { grace: Duration::ZERO, max_unused_percent: 0.0, ..PruneOptions::default() };
        fixture.repo.prune(options).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    verifier.await.unwrap();
    gone(&fixture.dir().join("locks")).await;
    restic(&fixture.dir(), &["check", "--read-data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_clears_up_what_was_healed() {
    let fixture = Fixture::new().await;
    let image = image(1, 3 << 20);
    let mut points = vec![back_up(&fixture.repo, 0, &image).await];
    harm(&data_pack(&fixture.dir()));
    verify(&fixture.repo, Depth::Full).await;
    points.push(back_up(&fixture.repo, 1, &image).await);
    for _ in 0..2 {
        let options = PruneOptions { grace: Duration::ZERO, ..PruneOptions::default() };
        fixture.repo.prune(options).await.unwrap();
    }
    restic(&fixture.dir(), &["check", "--read-data"]);
    let report = verify(&fixture.repo, Depth::Full).await;
    assert!(report.is_clean(), "{report:#?}");
    assert!(files(&fixture.dir().join("xenkeep/damage")).is_empty());
    for id in &points {
        assert!(restored(&fixture.repo, id).await == image);
    }
}
