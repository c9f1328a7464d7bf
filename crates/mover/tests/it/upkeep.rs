//! Removing, protecting, verifying, copying, pruning: against real repositories.

use std::path::{Path, PathBuf};

use xenkeep_api::*;

use crate::rig::{Rig, code_of};

fn forget(rig: &Rig, points: &[&Point]) -> JobSpec {
    JobSpec::ForgetPoints { datastore: rig.datastore.id, points: points.iter().map(|point| point.id.clone()).collect() }
}

fn protect(rig: &Rig, point: &Point, reason: Option<&str>) -> JobSpec {
    let reason = reason.map(str::to_owned);
    JobSpec::ProtectPoint { datastore: rig.datastore.id, point: point.id.clone(), reason }
}

async fn prune(rig: &Rig, dry_run: bool) -> PruneSummary {
    let request = PruneRequest { dry_run, grace_seconds: 0, max_unused_percent: 0.0 };
    let (id, report) = rig.run(JobSpec::PruneDatastore { datastore: rig.datastore.id, request }).await;
    let Some(JobResult::Pruned { prune }) = report.result else {
        panic!("{report:#?} {:#?}", rig.desk.log(id));
    };
    prune
}

async fn verify(rig: &Rig, depth: VerifyDepth) -> (JobReport, VerifySummary) {
    let request = VerifyRequest { depth, ..VerifyRequest::default() };
    let (id, report) = rig.run(JobSpec::VerifyDatastore { datastore: rig.datastore.id, request }).await;
    let Some(JobResult::Verified { verify }) = report.result.clone() else {
        panic!("{report:#?} {:#?}", rig.desk.log(id));
    };
    (report, verify)
}

fn gone(report: &JobReport) -> Vec<String> {
    match &report.result {
        Some(JobResult::Forgotten { points }) => points.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removed_points_are_gone_and_the_others_restore() {
    let rig = Rig::new().await;
    let vm = rig.uuid("web1").await;
    let first = rig.backup("web1").await;
    rig.scribble(&vm, 0, 5).await;
    let contents = rig.contents(&vm).await;
    let second = rig.backup("web1").await;
    let (_, report) = rig.run(forget(&rig, &[&first])).await;
    assert_eq!((report.state, gone(&report)), (JobState::Success, vec![first.id.clone()]));
    assert_eq!(rig.points().await, std::slice::from_ref(&second.id));
    // Once more, as after an interruption: what is gone is gone.
    let (_, report) = rig.run(forget(&rig, &[&first])).await;
    assert_eq!((report.state, gone(&report)), (JobState::Success, vec![first.id]));
    let restored = rig.restore(rig.beside(&second, "copy")).await;
    assert_eq!(rig.contents(&restored.uuid).await, contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_point_stays_and_the_others_are_told() {
    let rig = Rig::new().await;
    let (first, second) = (rig.backup("web1").await, rig.backup("web1").await);
    let (_, report) = rig.run(protect(&rig, &first, Some("before the upgrade"))).await;
    let Some(JobResult::Protection { point, protection: Some(protection) }) = report.result else {
        panic!("{report:?}")
    };
    assert_eq!((point, protection.reason.as_str()), (first.id.clone(), "before the upgrade"));
    let (_, report) = rig.run(forget(&rig, &[&first, &second])).await;
    assert_eq!((report.state, code_of(&report)), (JobState::Failed, "point.protected"));
    assert!(report.problem.as_ref().unwrap().message.contains("before the upgrade"), "{report:?}");
    assert_eq!(gone(&report), std::slice::from_ref(&second.id), "what was done is told");
    assert_eq!(rig.points().await, std::slice::from_ref(&first.id));
    let (_, report) = rig.run(protect(&rig, &first, None)).await;
    assert_eq!(report.result, Some(JobResult::Protection { point: first.id.clone(), protection: None }));
    let (_, report) = rig.run(forget(&rig, &[&first])).await;
    assert_eq!(report.state, JobState::Success);
    let (_, report) = rig.run(protect(&rig, &first, Some("too late"))).await;
    assert_eq!(code_of(&report), "point.not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_traced_to_vm_and_disk_and_healed_by_the_next_backup() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    for depth in [VerifyDepth::Quick, VerifyDepth::Full] {
        let (report, verify) = verify(&rig, depth).await;
        assert_eq!((report.state, verify.is_clean(), verify.points), (JobState::Success, true, 1), "{verify:#?}");
    }
    flip_a_bit(&largest_pack(&rig.datastore.path));

    let (report, found) = verify(&rig, VerifyDepth::Full).await;
    assert_eq!((report.state, code_of(&report)), (JobState::Failed, "datastore.points_damaged"));
    let message = &report.problem.as_ref().unwrap().message;
    assert_eq!(found.touched.len(), 1, "{found:#?}");
    let touched = &found.touched[0];
    assert_eq!((touched.point.as_str(), touched.source_name.as_deref()), (point.id.as_str(), Some("web1")));
    assert_eq!((touched.source_uuid.as_str(), touched.client_name.as_str()), (point.source_uuid.as_str(), "lab"));
    assert_eq!(touched.disks.len(), 1, "{touched:?}");
    assert!(message.contains("web1") && message.contains(&format!("disk {}", touched.disks[0])), "{message}");
    assert_eq!(found.files.len(), 1);
    assert!(found.files[0].name.starts_with("data/") && found.files[0].lost_chunks == 1, "{found:#?}");

    // The same VM once more: the damaged piece does not count as present, is stored again, and heals the old point, too.
    let again = rig.backup("web1").await;
    assert!(again.new_bytes > 0, "{again:?}");
    let (report, healed) = verify(&rig, VerifyDepth::Full).await;
    assert_ne!(report.state, JobState::Failed, "{report:#?}");
    assert!(healed.touched.is_empty() && healed.healed_chunks == 1, "{healed:#?}");
    let contents = rig.contents(&rig.uuid("web1").await).await;
    let restored = rig.restore(rig.beside(&point, "copy")).await;
    assert_eq!(rig.contents(&restored.uuid).await, contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_on_where_they_were_and_stand_alone() {
    let mut rig = Rig::new().await;
    let vm = rig.uuid("web1").await;
    let first = rig.backup("web1").await;
    rig.scribble(&vm, 1, 9).await;
    let contents = rig.contents(&vm).await;
    let second = rig.backup("web1").await;
    let offsite = rig.second_store().await;
    let copied = async |points: &[&Point]| {
        let points = points.iter().map(|point| point.id.clone()).collect();
        let mut job = rig.job(JobSpec::CopyPoints { datastore: rig.datastore.id, target: offsite.id, points });
        job.target = Some(offsite.clone());
        let (id, report) = rig.run_job(job).await;
        let Some(JobResult::Copied { copy }) = report.result else { panic!("{report:#?} {:#?}", rig.desk.log(id)) };
        (report.state, copy)
    };
    let (state, copy) = copied(&[&first]).await;
    assert_eq!((state, copy.points.len(), copy.present), (JobState::Success, 1, 0));
    assert!(copy.read_bytes > 0 && copy.stored_bytes > 0, "{copy:?}");
    let (state, both) = copied(&[&first, &second]).await;
    assert_eq!((state, both.points.len(), both.present), (JobState::Success, 2, 1));
    assert_eq!(both.points[0], copy.points[0]);
    assert!(both.stored_bytes < copy.stored_bytes, "only what is missing: {both:?}");
    let there = &both.points[1];
    let here = Point { id: there.id.clone(), datastore: offsite.id, ..second.clone() };
    assert_eq!(*there, here, "the same point, under another id");
    assert_ne!(there.id, second.id, "sealed with another key");
    // One that can't be read does not keep the others back, and is not kept quiet.
    let lost = Point { id: "ab".repeat(32), ..first.clone() };
    let (state, rest) = copied(&[&lost, &second]).await;
    assert_eq!((state, rest.points.len()), (JobState::Failed, 1));

    std::fs::remove_dir_all(&rig.datastore.path).unwrap();
    rig.datastore = offsite.clone();
    let restored = rig.restore(rig.beside(there, "copy")).await;
    assert_eq!(rig.contents(&restored.uuid).await, contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_frees_what_only_removed_points_held() {
    let rig = Rig::new().await;
    let vm = rig.uuid("web1").await;
    let first = rig.backup("web1").await;
    rig.scribble(&vm, 0, 7).await;
    let second = rig.backup("web1").await;
    let idle = prune(&rig, false).await;
    assert_eq!((idle.points, idle.deleted.packs, idle.unused_bytes), (2, 0, 0), "{idle:#?}");
    let (_, report) = rig.run(forget(&rig, &[&first])).await;
    assert_eq!(report.state, JobState::Success);

    let before = usage(&rig.datastore.path);
    let dry = prune(&rig, true).await;
    assert!(dry.unused_bytes > 0 && dry.reclaimable_bytes > 0 && !dry.classes.is_empty(), "{dry:#?}");
    assert_eq!(usage(&rig.datastore.path), before, "a dry run changes nothing");
    // Marked by the first, deleted by it or by the second: no one is at work, and there is no grace time.
    let mut deleted = 0;
    for _ in 0..2 {
        deleted += prune(&rig, false).await.deleted.bytes;
    }
    assert!(deleted > 0);
    assert!(usage(&rig.datastore.path) < before, "space is free again");
    let (report, found) = verify(&rig, VerifyDepth::Full).await;
    assert_eq!(report.state, JobState::Success, "{found:#?}");
    let restored = rig.restore(rig.beside(&second, "copy")).await;
    assert_eq!(rig.contents(&restored.uuid).await, rig.contents(&vm).await);
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn usage(store: &str) -> u64 {
    files(&Path::new(store).join("data")).iter().map(|file| file.metadata().unwrap().len()).sum()
}

fn largest_pack(store: &str) -> PathBuf {
    files(&Path::new(store).join("data")).into_iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap()
}

/// In the middle of a pack: a piece of a disk.
fn flip_a_bit(pack: &Path) {
    let mut bytes = std::fs::read(pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::set_permissions(pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(pack, bytes).unwrap();
}
