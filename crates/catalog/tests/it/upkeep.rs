use xenkeep_api::{
    CopySummary, JobResult, JobSpec, JobState, PackCount, PointProtection, PruneRequest, PruneSummary, TouchedPoint,
    VerifyDepth, VerifyRequest, VerifySummary,
};
use xenkeep_catalog::{Catalog, Error, PointQuery};

use super::fixture::{NO_RECOVERY, add_point, at, catalog, new_job, point, ready_client, ready_datastore, report, run};

async fn end(catalog: &Catalog, spec: JobSpec, state: JobState, result: JobResult) -> Result<(), Error> {
    let claimed = run(catalog, spec).await;
    catalog.finish(claimed.id, claimed.fence, &report(state, Some(result)), at(20), NO_RECOVERY).await
}

async fn ids(catalog: &Catalog) -> Vec<String> {
    let points = catalog.points(&PointQuery::default(), 100).await.unwrap();
    points.into_iter().map(|point| point.id[..2].to_owned()).collect()
}

#[tokio::test]
async fn what_was_removed_is_gone_though_the_job_failed() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let (store, other) = (ready_datastore(&catalog, "store").await, ready_datastore(&catalog, "other").await);
    let (a, b) = (add_point(&catalog, "aa", &lab, store, 1).await, add_point(&catalog, "bb", &lab, store, 2).await);
    let copy = add_point(&catalog, "aa", &lab, other, 1).await;
    let spec = JobSpec::ForgetPoints { datastore: store, points: vec![a.id.clone(), b.id.clone()] };
    let gone = |point: &str| JobResult::Forgotten { points: vec![point.to_owned()] };
    end(&catalog, spec.clone(), JobState::Failed, gone(&a.id)).await.unwrap();
    assert_eq!(ids(&catalog).await, ["bb", "aa"], "the one in the other datastore stays");
    assert_eq!(catalog.find_point("aa").await.unwrap(), copy);
    end(&catalog, spec.clone(), JobState::Success, JobResult::Forgotten { points: vec![a.id, b.id] }).await.unwrap();
    assert_eq!(ids(&catalog).await, ["aa"]);
    // Nothing else than what was asked for.
    let error = end(&catalog, spec, JobState::Success, gone(&"c".repeat(64))).await.unwrap_err();
    assert!(matches!(error, Error::Contradiction { .. }), "{error:?}");
}

#[tokio::test]
async fn a_point_is_not_removed_while_it_is_read_nor_read_while_it_is_removed() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let (store, other) = (ready_datastore(&catalog, "store").await, ready_datastore(&catalog, "other").await);
    let a = add_point(&catalog, "aa", &lab, store, 1).await;
    let forget = |datastore| JobSpec::ForgetPoints { datastore, points: vec![a.id.clone()] };
    let copy = JobSpec::CopyPoints { datastore: store, target: other, points: vec![a.id.clone()] };
    let export = JobSpec::Export {
        datastore: store,
        point: a.id.clone(),
        format: xenkeep_api::ExportFormat::Xva,
        disk: None,
        compression: None,
    };
    for reader in [copy, export] {
        let reading = new_job(reader.clone());
        catalog.insert_job(&reading, at(0)).await.unwrap();
        assert!(catalog.points_in_use().await.unwrap().contains(&(store, a.id.clone())));
        let Err(Error::InUse(problem)) = catalog.insert_job(&new_job(forget(store)), at(0)).await else { panic!() };
        assert_eq!(problem.code, "point.in_use");
        assert!(problem.message.contains(&reading.id.to_string()), "{problem:?}");
        // A point of that id in another datastore is another one.
        let elsewhere = new_job(forget(other));
        catalog.insert_job(&elsewhere, at(0)).await.unwrap();
        catalog.cancel_job(elsewhere.id, at(0)).await.unwrap();
        catalog.cancel_job(reading.id, at(0)).await.unwrap();

        let removing = new_job(forget(store));
        catalog.insert_job(&removing, at(0)).await.unwrap();
        let Err(Error::InUse(problem)) = catalog.insert_job(&new_job(reader), at(0)).await else { panic!() };
        assert_eq!(problem.code, "point.being_removed");
        catalog.cancel_job(removing.id, at(0)).await.unwrap();
    }
    assert!(catalog.points_in_use().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_datastore_that_is_copied_to_is_not_forgotten() {
    let (catalog, _dir) = catalog().await;
    let (store, other) = (ready_datastore(&catalog, "store").await, ready_datastore(&catalog, "other").await);
    let job = new_job(JobSpec::CopyPoints { datastore: store, target: other, points: Vec::new() });
    catalog.insert_job(&job, at(0)).await.unwrap();
    for name in ["store", "other"] {
        let datastore = catalog.datastore(name).await.unwrap();
        assert!(matches!(catalog.remove_datastore(&datastore).await, Err(Error::InUse(_))), "{name}");
    }
}

#[tokio::test]
async fn protection_comes_and_goes() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let store = ready_datastore(&catalog, "store").await;
    let a = add_point(&catalog, "aa", &lab, store, 1).await;
    let protection = PointProtection { reason: "before the upgrade".to_owned(), since: at(5) };
    for protection in [Some(protection), None] {
        let reason = protection.as_ref().map(|protection| protection.reason.clone());
        let spec = JobSpec::ProtectPoint { datastore: store, point: a.id.clone(), reason };
        let result = JobResult::Protection { point: a.id.clone(), protection: protection.clone() };
        end(&catalog, spec, JobState::Success, result).await.unwrap();
        assert_eq!(catalog.find_point("aa").await.unwrap().protection, protection);
    }
}

fn found(depth: VerifyDepth, share_percent: Option<f64>, touched: &[&str]) -> VerifySummary {
    let touched = touched.iter().map(|id| TouchedPoint {
        point: id.repeat(32),
        client_name: "lab".to_owned(),
        source_uuid: String::new(),
        source_name: None,
        taken_at: at(0),
        disks: vec!["0".to_owned()],
        files: Vec::new(),
        whole: false,
    });
    VerifySummary {
        request: VerifyRequest { depth, share_percent, older_than_seconds: None },
        bytes_total: 1000,
        unindexed_bytes: 24,
        touched: touched.collect(),
        ..VerifySummary::default()
    }
}

#[tokio::test]
async fn damage_stays_with_a_point_until_a_verification_that_would_have_seen_it() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let store = ready_datastore(&catalog, "store").await;
    add_point(&catalog, "aa", &lab, store, 1).await;
    add_point(&catalog, "bb", &lab, store, 2).await;
    let verify = async |verify: VerifySummary| {
        let spec = JobSpec::VerifyDatastore { datastore: store, request: verify.request.clone() };
        end(&catalog, spec, JobState::Failed, JobResult::Verified { verify }).await.unwrap();
        let points = catalog.points(&PointQuery::default(), 100).await.unwrap();
        points.into_iter().filter(|point| point.damage.is_some()).map(|point| point.id[..2].to_owned()).collect()
    };
    use VerifyDepth::{Full, Quick};
    let none: [&str; 0] = [];
    let damaged: Vec<String> = verify(found(Full, Some(10.0), &["aa"])).await;
    assert_eq!(damaged, ["aa"]);
    let damaged: Vec<String> = verify(found(Full, Some(10.0), &["bb"])).await;
    assert_eq!(damaged, ["bb", "aa"], "a part says nothing about the rest");
    let damaged: Vec<String> = verify(found(Quick, None, &[])).await;
    assert_eq!(damaged, ["bb", "aa"], "a quick look does not see it");
    let damaged: Vec<String> = verify(found(Full, None, &["bb"])).await;
    assert_eq!(damaged, ["bb"]);
    let damaged: Vec<String> = verify(found(Full, None, &[])).await;
    assert_eq!(damaged, none);
    verify(found(Quick, None, &["aa"])).await as Vec<String>;
    let damaged: Vec<String> = verify(found(Quick, None, &[])).await;
    assert_eq!(damaged, none, "what a quick look found, a quick look may clear");

    let state = catalog.datastore("store").await.unwrap().state;
    assert_eq!((state.points, state.stored_bytes), (2, Some(1024)));
    let (quick, full) = (state.verified_quick.unwrap(), state.verified_full.unwrap());
    assert_eq!((quick.touched_points, quick.at, full.touched_points), (0, at(20), 0));
    assert_ne!(quick.job, full.job);
}

#[tokio::test]
async fn bytes_are_counted_on_until_they_are_measured() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let (store, other) = (ready_datastore(&catalog, "store").await, ready_datastore(&catalog, "other").await);
    let state = async |name: &str| catalog.datastore(name).await.unwrap().state;
    assert_eq!((state("store").await.points, state("store").await.stored_bytes), (0, Some(0)));
    add_point(&catalog, "aa", &lab, store, 1).await;
    let b = add_point(&catalog, "bb", &lab, store, 2).await;
    assert_eq!((state("store").await.points, state("store").await.stored_bytes), (2, Some(1 << 30)));

    let prune = PruneSummary {
        deleted: PackCount { packs: 1, bytes: 50 },
        stored_bytes: 1034,
        reclaimable_bytes: 34,
        ..PruneSummary::default()
    };
    let spec = JobSpec::PruneDatastore { datastore: store, request: PruneRequest::default() };
    end(&catalog, spec, JobState::Success, JobResult::Pruned { prune }).await.unwrap();
    let pruned = state("store").await;
    assert_eq!(pruned.stored_bytes, Some(1034));
    let last = pruned.pruned.unwrap();
    assert_eq!((last.deleted_bytes, last.reclaimable_bytes), (50, 34));

    let there = point("cc", &lab, other, b.job, 2);
    let spec = JobSpec::CopyPoints { datastore: store, target: other, points: vec![b.id.clone()] };
    let copied =
        |points| JobResult::Copied { copy: CopySummary { points, stored_bytes: 77, ..CopySummary::default() } };
    end(&catalog, spec.clone(), JobState::Cancelled, copied(vec![there.clone()])).await.unwrap();
    assert_eq!((state("other").await.points, state("other").await.stored_bytes), (1, Some(77)));
    assert_eq!(catalog.find_point("cc").await.unwrap(), there);
    let error = end(&catalog, spec, JobState::Success, copied(vec![b])).await.unwrap_err();
    assert!(matches!(error, Error::Contradiction { .. }), "{error:?}");
}
