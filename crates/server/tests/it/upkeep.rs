//! Pruning, verifying, copying: what is asked reaches the mover, what it found is kept.

use reqwest::StatusCode;
use serde_json::json;
use xenkeep_api::{
    CopySummary, Datastore, Job, JobResult, JobSpec, JobState, Point, Problem, PruneRequest, TouchedPoint, VerifyDepth,
    VerifySummary,
};

use crate::fixture::{Rig, answer, refused};
use crate::mover;

async fn furnished() -> (Rig, Vec<Point>) {
    let rig = Rig::start().await;
    rig.furnish().await;
    let mover = mover::obliging(rig.engine());
    let other = rig.post("/datastores", json!({"name": "offsite", "path": "/srv/offsite"})).await;
    assert_eq!(other.status(), StatusCode::CREATED);
    mover.stop().await;
    for vm in ["web", "db"] {
        rig.queue_backup(vm).await;
        let job = rig.lease().await;
        rig.engine().finish(job.id, job.fence, &mover::good(mover::result(&job))).await.unwrap();
    }
    let points: Vec<Point> = rig.get("/points").await;
    assert_eq!(points.len(), 2);
    (rig, points)
}

#[tokio::test]
async fn a_prune_gets_what_was_asked_for() {
    let (rig, _) = furnished().await;
    let job = rig.start_job("/datastores/store/prune", json!({"dry_run": true, "grace_seconds": 0})).await;
    let JobSpec::PruneDatastore { request, .. } = rig.lease().await.spec else { panic!("{job:?}") };
    assert_eq!(request, PruneRequest { dry_run: true, grace_seconds: 0, max_unused_percent: 5.0 });
    // One at a time on a datastore.
    rig.start_job("/datastores/store/prune", json!({})).await;
    rig.start_job("/datastores/offsite/prune", json!({})).await;
    assert_eq!(rig.lease().await.datastore.unwrap().name, "offsite");
    for body in
        [json!({"max_unused_percent": 101}), json!({"max_unused_percent": -1}), json!({"grace_seconds": 1u64 << 40})]
    {
        let response = rig.post("/datastores/store/prune", body).await;
        refused(response, StatusCode::UNPROCESSABLE_ENTITY, "request.invalid").await;
    }
    let response = rig.post("/datastores/stare/prune", json!({})).await;
    refused(response, StatusCode::NOT_FOUND, "datastore.not_found").await;
}

#[tokio::test]
async fn what_a_verification_found_is_kept_though_its_job_fails() {
    let (rig, points) = furnished().await;
    let job = rig.start_job("/datastores/store/verify", json!({"depth": "full", "share_percent": 10})).await;
    let leased = rig.lease().await;
    let JobSpec::VerifyDatastore { request, .. } = leased.spec else { panic!("{job:?}") };
    assert_eq!((request.depth, request.share_percent), (VerifyDepth::Full, Some(10.0)));
    let touched = TouchedPoint {
        point: points[0].id.clone(),
        client_name: "lab".to_owned(),
        source_uuid: points[0].source_uuid.clone(),
        source_name: Some(points[0].source_name.clone()),
        taken_at: points[0].taken_at,
        disks: vec!["0".to_owned()],
        files: Vec::new(),
        whole: false,
    };
    let verify = VerifySummary { request, touched: vec![touched], ..VerifySummary::default() };
    let result = Some(JobResult::Verified { verify });
    let problem = Some(Problem::new("datastore.points_damaged", "1 point can't be restored whole"));
    let report = mover::report(JobState::Failed, problem, result.clone());
    rig.engine().finish(job.id, leased.fence, &report).await.unwrap();
    let ended: Job = rig.job(job.id).await;
    assert_eq!((ended.state, ended.result), (JobState::Failed, result));
    let damaged: Point = rig.get(&format!("/points/{}", points[0].id)).await;
    assert_eq!(damaged.damage.unwrap().disks, ["0"]);
    let store: Datastore = rig.get("/datastores/store").await;
    assert_eq!(store.state.verified_full.unwrap().touched_points, 1);
    assert_eq!((store.state.points, store.state.verified_quick), (2, None));
    for body in [
        json!({"share_percent": 10}),
        json!({"depth": "quick", "older_than_seconds": 1}),
        json!({"depth": "full", "share_percent": 0}),
        json!({"depth": "full", "share_percent": 100.5}),
    ] {
        assert_eq!(rig.post("/datastores/store/verify", body).await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn copies_are_points_of_their_own() {
    let (rig, points) = furnished().await;
    let job = rig.start_job("/datastores/store/copy", json!({"target": "offsite", "vm": "web"})).await;
    let leased = rig.lease().await;
    assert_eq!(leased.datastore.as_ref().unwrap().name, "store");
    let target = leased.target.as_ref().unwrap();
    assert_eq!(target.name, "offsite");
    let JobSpec::CopyPoints { points: ids, .. } = &leased.spec else { panic!("{job:?}") };
    let web = points.iter().find(|point| point.source_name == "web").unwrap();
    assert_eq!(ids, std::slice::from_ref(&web.id));
    let copy = Point { id: "c".repeat(64), datastore: target.id, ..web.clone() };
    let summary = CopySummary { points: vec![copy.clone()], ..CopySummary::default() };
    let report = mover::good(JobResult::Copied { copy: summary });
    rig.engine().finish(job.id, leased.fence, &report).await.unwrap();
    assert_eq!(rig.get::<Vec<Point>>("/points?vm=web").await.len(), 2);
    assert_eq!(rig.get::<Vec<Point>>("/points?datastore=offsite").await, std::slice::from_ref(&copy));

    let all = rig.start_job("/datastores/store/copy", json!({"target": "offsite", "all": true})).await;
    let JobSpec::CopyPoints { points: ids, .. } = &all.spec else { panic!("{all:?}") };
    assert_eq!(ids.len(), 2);
    for (body, code) in [
        (json!({"target": "offsite"}), "request.invalid"),
        (json!({"target": "offsite", "all": true, "vm": "web"}), "request.invalid"),
        (json!({"target": "store", "all": true}), "copy.same_datastore"),
        (json!({"target": "offsite", "points": [copy.id]}), "copy.wrong_datastore"),
    ] {
        refused(rig.post("/datastores/store/copy", body).await, StatusCode::UNPROCESSABLE_ENTITY, code).await;
    }
    let response = rig.post("/datastores/store/copy", json!({"target": "offsite", "vm": "wob"})).await;
    refused(response, StatusCode::NOT_FOUND, "point.none").await;
    let response = rig.post("/points/forget", json!({"points": [web.id]})).await;
    refused(response, StatusCode::CONFLICT, "point.in_use").await;
    let _: serde_json::Value = answer(rig.send(reqwest::Method::GET, "/datastores").await, StatusCode::OK).await;
}
