//! Tasks, groups, and what their starts make.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xenkeep_api::{Group, Job, JobKind, JobSpec, JobState, Point, Run, Started, Task};

use crate::fixture::{Rig, answer, refused};
use crate::mover;

const WEB: &str = "0f1e2d3c-0000-4000-8000-000000000010";

/// A client, a datastore and drive 13 into it.
async fn furnished() -> Rig {
    let rig = Rig::start().await;
    rig.furnish().await;
    let drive = rig.post("/drives", json!({"number": 13, "datastore": "store", "channels": 8})).await;
    assert_eq!(drive.status(), StatusCode::CREATED, "{}", drive.text().await.unwrap());
    rig
}

async fn create(rig: &Rig, task: Value) -> Task {
    let mover = mover::obliging(rig.engine());
    let task = answer(rig.post("/tasks", task).await, StatusCode::CREATED).await;
    mover.stop().await;
    task
}

async fn start(rig: &Rig, path: &str, body: Value) -> Started {
    answer(rig.post(path, body).await, StatusCode::ACCEPTED).await
}

#[tokio::test]
async fn a_vm_is_found_once_and_followed_by_its_uuid() {
    let rig = furnished().await;
    let by_name = json!({"name": "web", "client": "lab", "source": {"kind": "vm", "vm": "web"}, "backup_type": "DIFF",
        "expert": "-a http=https", "drive": 13, "retry": {"retries": 2}, "time_limit_minutes": 5});
    let task = create(&rig, by_name).await;
    assert_eq!(serde_json::to_value(&task.source).unwrap(), json!({"kind": "vm", "vm": "web", "uuid": WEB}));
    assert_eq!(serde_json::to_value(&task.options).unwrap()["transport"], "https");
    let started = start(&rig, "/tasks/web/start", json!({})).await;
    let job = rig.lease().await;
    assert_eq!(job.id, started.jobs[0].id);
    assert!(matches!(&job.spec, JobSpec::Backup { vm, .. } if vm == WEB), "{:?}", job.spec);
    let seen: Job = rig.job(job.id).await;
    assert_eq!(
        (seen.drive, seen.origin.task_name.as_deref(), seen.origin.run),
        (Some(13), Some("web"), Some(started.run))
    );
    // The VM has got another name meanwhile; the task shows it from now on.
    let point = Point { source_uuid: WEB.to_owned(), source_name: "shop".to_owned(), ..mover::point(&job, "web") };
    let report = mover::good(xenkeep_api::JobResult::Point { point });
    rig.engine().finish(job.id, job.fence, &report).await.unwrap();
    let task: Task = rig.get("/tasks/web").await;
    assert_eq!(task.source.to_string(), "vm:shop");
    let run: Run = rig.get(&format!("/runs/{}", started.run)).await;
    assert_eq!((run.ended, run.state, run.counts.success), (true, Some(JobState::Success), 1));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_said_why() {
    let rig = furnished().await;
    let mover = mover::obliging(rig.engine());
    let vm = |vm: &str| json!({"kind": "vm", "vm": vm});
    let of = |source: Value| json!({"name": "t", "client": "lab", "source": source});
    let with = |more: Value| {
        let mut task = of(vm("web"));
        task.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        task
    };
    let twins = refused(rig.post("/tasks", of(vm("twin"))).await, StatusCode::CONFLICT, "vm.name_ambiguous").await;
    for uuid in ["0f1e2d3c-0000-4000-8000-000000000012", "0f1e2d3c-0000-4000-8000-000000000013"] {
        assert!(twins.message.contains(uuid), "{twins:?}");
    }
    refused(rig.post("/tasks", of(vm("gone"))).await, StatusCode::NOT_FOUND, "vm.not_found").await;
    let host = json!({"kind": "host-backup", "host": "host9"});
    let host = refused(rig.post("/tasks", of(host)).await, StatusCode::NOT_FOUND, "host.not_found").await;
    assert!(host.hint.unwrap().contains("host1"));
    refused(rig.post("/tasks", with(json!({"drive": 14}))).await, StatusCode::NOT_FOUND, "drive.not_found").await;
    for (task, code) in [
        (of(json!({"kind": "selection"})), "task.empty_selection"),
        (with(json!({"expert": "-a vmware=1"})), "task.unknown_expert_option"),
        (with(json!({"options": {"transport": "http"}})), "task.http_not_trusted"),
        (with(json!({"options": {"before": {"command": "../x"}}})), "task.bad_command"),
        (with(json!({"options": {"offline_wait_seconds": 0}})), "task.out_of_range"),
        (with(json!({"retention": {}})), "retention.keeps_nothing"),
        (with(json!({"name": "a b"})), "task.bad_name"),
    ] {
        refused(rig.post("/tasks", task.clone()).await, StatusCode::UNPROCESSABLE_ENTITY, code).await;
    }
    assert!(rig.get::<Vec<Task>>("/tasks").await.is_empty());
    mover.stop().await;
    // A client with a task stays; a start needs a drive, and a task that is on.
    create(&rig, of(vm("web"))).await;
    refused(rig.send(Method::DELETE, "/clients/lab").await, StatusCode::CONFLICT, "client.in_use").await;
    let none =
        refused(rig.post("/tasks/t/start", json!({})).await, StatusCode::UNPROCESSABLE_ENTITY, "task.no_drive").await;
    assert!(none.hint.unwrap().contains("13 (store)"));
    let off = rig.request(Method::PATCH, "/tasks/t").json(&json!({"enabled": false})).send().await.unwrap();
    assert!(!answer::<Task>(off, StatusCode::OK).await.enabled);
    refused(rig.post("/tasks/t/start", json!({"drive": 13})).await, StatusCode::CONFLICT, "task.disabled").await;
}

#[tokio::test]
async fn a_selection_queues_the_vms_that_it_takes_when_it_starts() {
    let rig = furnished().await;
    let all = json!({"name": "all", "client": "lab", "source": {"kind": "selection", "all": true}, "priority": 3});
    create(&rig, all).await;
    let started = start(&rig, "/tasks/all/start", json!({"drive": 13, "backup_type": "FULL", "priority": 9})).await;
    assert_eq!(started.jobs[0].spec.kind(), JobKind::ExpandSelection);
    let expansion = rig.lease().await;
    assert!(expansion.datastore.is_none(), "it needs no secret of the datastore");
    rig.engine().finish(expansion.id, expansion.fence, &mover::good(mover::result(&expansion))).await.unwrap();
    let run: Run = rig.get(&format!("/runs/{}", started.run)).await;
    let backups: Vec<(&str, i32, Option<u32>)> =
        run.jobs[1..].iter().map(|job| (job.subject.as_str(), job.priority, job.drive)).collect();
    assert_eq!(backups, [("db", 9, Some(13)), ("web", 9, Some(13))]);
    assert_eq!((run.ended, run.counts.queued, run.counts.success), (false, 2, 1));
}

#[tokio::test]
async fn a_group_starts_its_tasks_together_or_not_at_all() {
    let rig = furnished().await;
    for name in ["b", "a", "off"] {
        let task = json!({"name": name, "client": "lab", "source": {"kind": "meta-data"}, "enabled": name != "off"});
        create(&rig, task).await;
    }
    let group: Group =
        answer(rig.post("/groups", json!({"name": "vms", "tasks": ["b", "off"]})).await, StatusCode::CREATED).await;
    assert_eq!(group.tasks, ["b", "off"]);
    let change = rig.request(Method::PATCH, "/groups/vms").json(&json!({"add": ["a"]})).send().await.unwrap();
    assert_eq!(answer::<Group>(change, StatusCode::OK).await.tasks, ["a", "b", "off"]);
    refused(rig.post("/groups/vms/start", json!({})).await, StatusCode::UNPROCESSABLE_ENTITY, "task.no_drive").await;
    let started = start(&rig, "/groups/vms/start", json!({"drive": 13})).await;
    assert_eq!(started.jobs.len(), 2);
    assert_eq!(started.left_out[0].code, "task.disabled");
    assert!(started.jobs.iter().all(|job| job.origin.group.as_deref() == Some("vms")));
    // A task that goes leaves its groups; a group that goes leaves its tasks.
    assert_eq!(rig.send(Method::DELETE, "/tasks/a").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(rig.get::<Group>("/groups/vms").await.tasks, ["b", "off"]);
    assert_eq!(rig.send(Method::DELETE, "/groups/vms").await.status(), StatusCode::NO_CONTENT);
    assert_eq!(rig.get::<Vec<Task>>("/tasks").await.len(), 2);
    refused(rig.post("/groups/vms/start", json!({"drive": 13})).await, StatusCode::NOT_FOUND, "group.not_found").await;
}

#[tokio::test]
async fn a_good_backup_of_a_task_applies_its_retention() {
    let rig = furnished().await;
    let task = json!({"name": "web", "client": "lab", "source": {"kind": "vm", "vm": "web"}, "drive": 13,
        "retention": {"keep_last": 2}});
    create(&rig, task).await;
    let mut points = Vec::new();
    for hour in 1..=3 {
        let started = start(&rig, "/tasks/web/start", json!({})).await;
        let job = rig.lease().await;
        let taken_at = format!("2026-11-20T0{hour}:00:00Z").parse().unwrap();
        let point = Point { taken_at, source_uuid: WEB.to_owned(), ..mover::point(&job, "web") };
        points.push(point.id.clone());
        let report = mover::good(xenkeep_api::JobResult::Point { point });
        rig.engine().finish(job.id, job.fence, &report).await.unwrap();
        let run: Run = rig.get(&format!("/runs/{}", started.run)).await;
        assert_eq!(run.jobs.len(), if hour < 3 { 1 } else { 2 }, "{run:#?}");
    }
    let removal = rig.lease().await;
    assert!(matches!(&removal.spec, JobSpec::ForgetPoints { points: gone, .. } if *gone == points[..1]), "{removal:?}");
    rig.engine().finish(removal.id, removal.fence, &mover::good(mover::result(&removal))).await.unwrap();
    assert_eq!(rig.get::<Vec<Point>>("/points").await.len(), 2);
}
