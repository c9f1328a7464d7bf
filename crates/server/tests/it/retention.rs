//! Removing points by hand and by a policy, and protecting them.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xenkeep_api::{Job, JobSpec, JobState, KeepReason, Point, RetentionPlan, RetentionStarted};

use crate::fixture::{Rig, answer, eventually, refused};
use crate::mover;

/// Backups of VMs at times of the form `day hour`, as if the pool had made them then. Returns the points by order.
async fn back_up(rig: &Rig, vms: &[(&str, &str)]) -> Vec<Point> {
    let mut points = Vec::new();
    for (vm, taken_at) in vms {
        rig.queue_backup(vm).await;
        let job = rig.lease().await;
        let source_uuid = format!("0f1e2d3c-0000-4000-8000-{:012x}", vm.bytes().map(u64::from).sum::<u64>());
        let point = Point { taken_at: taken_at.parse().unwrap(), source_uuid, ..mover::point(&job, vm) };
        let report = mover::good(xenkeep_api::JobResult::Point { point: point.clone() });
        rig.engine().finish(job.id, job.fence, &report).await.unwrap();
        points.push(point);
    }
    points
}

const WEB: [(&str, &str); 4] = [
    ("web", "2026-11-20T10:00:00Z"),
    ("web", "2026-11-20T23:30:00Z"),
    ("web", "2026-11-21T10:00:00Z"),
    ("web", "2026-11-22T10:00:00Z"),
];

async fn preview(rig: &Rig, body: Value) -> RetentionPlan {
    answer(rig.post("/retention/preview", body).await, StatusCode::OK).await
}

fn removed(plan: &RetentionPlan) -> Vec<&str> {
    plan.removed().map(|point| point.id.as_str()).collect()
}

async fn listed(rig: &Rig) -> Vec<String> {
    let mut ids: Vec<String> = rig.get::<Vec<Point>>("/points").await.into_iter().map(|point| point.id).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_policy_is_shown_before_it_is_applied() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let web = back_up(&rig, &WEB).await;
    let db = back_up(&rig, &[("db", "2026-11-22T09:00:00Z")]).await;
    let body = json!({"policy": {"keep_daily": 2}, "time_zone": "UTC"});
    let plan = preview(&rig, body.clone()).await;
    assert_eq!((plan.time_zone.as_str(), plan.groups.len()), ("UTC", 2));
    assert_eq!((plan.groups[0].source_name.as_str(), plan.groups[1].source_name.as_str()), ("db", "web"));
    assert_eq!(removed(&plan), [&web[1].id, &web[0].id]);
    assert_eq!(plan.groups[1].points[0].kept, [KeepReason::Daily]);
    // 23:30 UTC is the next day in Vienna.
    let vienna = json!({"policy": {"keep_daily": 3}, "time_zone": "Europe/Vienna", "vm": "web"});
    assert_eq!(removed(&preview(&rig, vienna).await), [&web[1].id]);
    assert_eq!(listed(&rig).await.len(), 5, "a preview removes nothing");

    // Only what was agreed to.
    let mut agreed = body;
    agreed["agreed"] = json!([web[0].id, db[0].id]);
    let started: RetentionStarted = answer(rig.post("/retention", agreed).await, StatusCode::ACCEPTED).await;
    assert_eq!(started.jobs.len(), 1);
    let JobSpec::ForgetPoints { points, .. } = &started.jobs[0].spec else { panic!("{started:?}") };
    assert_eq!(points, &[web[0].id.clone()]);
    let mover = mover::obliging(rig.engine());
    eventually("it is gone", async || listed(&rig).await.len() == 4).await;
    mover.stop().await;
    assert!(!listed(&rig).await.contains(&web[0].id));

    let nothing: RetentionStarted =
        answer(rig.post("/retention", json!({"policy": {"keep_last": 9}})).await, StatusCode::ACCEPTED).await;
    assert!(nothing.jobs.is_empty());
}

#[tokio::test]
async fn a_vm_that_was_renamed_is_one_vm() {
    let rig = Rig::start().await;
    rig.furnish().await;
    rig.queue_backup("old-name").await;
    let job = rig.lease().await;
    let old = Point { taken_at: "2026-11-01T00:00:00Z".parse().unwrap(), ..mover::point(&job, "old-name") };
    rig.engine()
        .finish(job.id, job.fence, &mover::good(xenkeep_api::JobResult::Point { point: old.clone() }))
        .await
        .unwrap();
    rig.queue_backup("new-name").await;
    let job = rig.lease().await;
    rig.engine().finish(job.id, job.fence, &mover::good(mover::result(&job))).await.unwrap();
    for name in ["old-name", "new-name", &old.source_uuid.to_uppercase()] {
        let plan = preview(&rig, json!({"policy": {"keep_last": 1}, "vm": name, "client": "lab"})).await;
        assert_eq!((plan.groups.len(), plan.groups[0].source_name.as_str()), (1, "new-name"), "{name}");
        assert_eq!(removed(&plan), [&old.id], "{name}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let rig = Rig::start().await;
    rig.furnish().await;
    back_up(&rig, &WEB[..1]).await;
    for (path, body, status, code) in [
        ("/retention/preview", json!({"policy": {}}), 422, "retention.keeps_nothing"),
        ("/retention", json!({"policy": {"keep_last": 0}}), 422, "retention.keeps_nothing"),
        (
            "/retention",
            json!({"policy": {"keep_last": 1}, "time_zone": "Mars/Base"}),
            422,
            "retention.unknown_time_zone",
        ),
        (
            "/retention",
            json!({"policy": {"keep_last": 1}, "time_zone": "../../etc/passwd"}),
            422,
            "retention.unknown_time_zone",
        ),
        ("/retention", json!({"policy": {"keep_lats": 1}}), 422, "request.invalid"),
        ("/retention", json!({"policy": {"keep_within": "soon"}}), 422, "request.invalid"),
        ("/retention", json!({"policy": {"keep_last": 1}, "vm": "wob"}), 404, "point.none"),
        ("/retention", json!({"policy": {"keep_last": 1}, "datastore": "stare"}), 404, "datastore.not_found"),
        ("/points/forget", json!({"points": []}), 422, "request.invalid"),
        ("/points/forget", json!({"points": ["ffff"]}), 404, "point.not_found"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        refused(rig.post(path, body).await, status, code).await;
    }
}

#[tokio::test]
async fn a_protected_point_is_removed_by_nobody() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let web = back_up(&rig, &WEB).await;
    let path = format!("/points/{}/protection", &web[0].id[..12]);
    let mover = mover::obliging(rig.engine());
    let protect = rig.request(Method::PUT, &path).json(&json!({"reason": " before the upgrade "}));
    let point: Point = answer(protect.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(point.protection.unwrap().reason, "before the upgrade");
    let forget = async || rig.post("/points/forget", json!({"points": [web[0].id, web[1].id]})).await;
    let problem = refused(forget().await, StatusCode::CONFLICT, "point.protected").await;
    assert!(problem.message.contains("before the upgrade"), "{problem:?}");
    assert_eq!(rig.get::<Vec<Job>>("/jobs?kind=forget-points").await.len(), 0, "not even the other one");
    let plan = preview(&rig, json!({"policy": {"keep_last": 1}})).await;
    assert_eq!(removed(&plan), [&web[2].id, &web[1].id]);
    assert_eq!(plan.groups[0].points[3].kept, [KeepReason::Protected]);

    let lifted: Point = answer(rig.send(Method::DELETE, &path).await, StatusCode::OK).await;
    assert_eq!(lifted.protection, None);
    let jobs: Vec<Job> = answer(forget().await, StatusCode::ACCEPTED).await;
    eventually("they are gone", async || listed(&rig).await.len() == 2).await;
    assert_eq!(rig.job(jobs[0].id).await.state, JobState::Success);
    mover.stop().await;
    for reason in ["", "  ", "a\nb", &"x".repeat(501)] {
        let protect = rig.request(Method::PUT, &format!("/points/{}/protection", web[2].id));
        let response = protect.json(&json!({ "reason": reason })).send().await.unwrap();
        refused(response, StatusCode::UNPROCESSABLE_ENTITY, "request.invalid").await;
    }
}

#[tokio::test]
async fn a_point_that_a_job_reads_stays() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let web = back_up(&rig, &WEB).await;
    let export = rig.start_job("/exports", json!({"point": web[0].id, "format": "xva"})).await;
    let response = rig.post("/points/forget", json!({"points": [web[0].id]})).await;
    let problem = refused(response, StatusCode::CONFLICT, "point.in_use").await;
    assert!(problem.message.contains(&export.id.to_string()), "{problem:?}");
    let plan = preview(&rig, json!({"policy": {"keep_last": 1}})).await;
    assert_eq!(removed(&plan), [&web[2].id, &web[1].id]);
    assert_eq!(plan.groups[0].points[3].kept, [KeepReason::InUse]);
    rig.send(Method::POST, &format!("/jobs/{}/cancel", export.id)).await;
    let plan = preview(&rig, json!({"policy": {"keep_last": 1}})).await;
    assert_eq!(removed(&plan).len(), 3);

    // And who comes after the removal was asked for, comes too late.
    let started: RetentionStarted =
        answer(rig.post("/retention", json!({"policy": {"keep_last": 1}})).await, StatusCode::ACCEPTED).await;
    assert_eq!(started.jobs.len(), 1);
    let response = rig.post("/exports", json!({"point": web[0].id, "format": "xva"})).await;
    refused(response, StatusCode::CONFLICT, "point.being_removed").await;
    let response = rig.post("/restores", json!({"point": web[0].id, "placement": {"mode": "overwrite"}})).await;
    refused(response, StatusCode::CONFLICT, "point.being_removed").await;
}
