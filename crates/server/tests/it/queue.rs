//! A group of a hundred tasks at a drive with eight channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use xenkeep_api::{DriveState, Job, JobResult, JobSpec, JobState, PowerState, Selected, SelectedVm, Source, Started};

use crate::fixture::{Rig, answer, eventually, refused};
use crate::mover::{self, FakeMover, good};

const TASKS: usize = 100;
const CHANNELS: usize = 8;

/// A drive, and a group of tasks whose priorities and names are not in the order in which they are made.
async fn furnished() -> Rig {
    let rig = Rig::start_with(|config| {
        config.limits.jobs = 50;
        config.limits.lease_wait = Duration::from_millis(50);
    })
    .await;
    rig.furnish_anywhere().await;
    let limits = rig.request(Method::PUT, "/clients/lab/limits").json(&json!({"jobs": 50})).send().await.unwrap();
    assert_eq!(limits.status(), StatusCode::OK);
    let drive = json!({"number": 13, "datastore": "store", "channels": CHANNELS});
    assert_eq!(rig.post("/drives", drive).await.status(), StatusCode::CREATED);
    let browser = FakeMover::start(rig.engine(), |job| match &job.spec {
        JobSpec::ExpandSelection { source: Source::Vm { vm, .. }, .. } => {
            let number: u32 = vm.trim_start_matches("vm").parse().unwrap();
            let uuid = format!("0f1e2d3c-0000-4000-8000-{number:012x}");
            let vm = SelectedVm { uuid, name: vm.clone(), power_state: PowerState::Running, tags: Vec::new() };
            good(JobResult::Selected { selected: Selected { vms: vec![vm], hosts: Vec::new() } })
        }
        _ => good(mover::result(job)),
    });
    let mut names = Vec::new();
    for number in 0..TASKS {
        let number = number * 37 % TASKS;
        let (name, vm) = (format!("task{number:03}"), format!("vm{number:03}"));
        let source = json!({"kind": "vm", "vm": vm});
        let task = json!({"name": name, "client": "lab", "source": source, "priority": number % 3});
        let made = rig.post("/tasks", task).await;
        assert!(made.status().is_success(), "{}", made.text().await.unwrap());
        names.push(name);
    }
    browser.stop().await;
    let group = rig.post("/groups", json!({"name": "vms", "tasks": names})).await;
    assert!(group.status().is_success(), "{}", group.text().await.unwrap());
    rig
}

async fn start(rig: &Rig) -> Vec<Job> {
    let response = rig.post("/groups/vms/start", json!({"drive": 13})).await;
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
    let started: Started = response.json().await.unwrap();
    assert_eq!(started.jobs.len(), TASKS);
    started.jobs
}

#[tokio::test]
async fn eight_at_once_by_priority_and_then_by_name() {
    let rig = furnished().await;
    let mut expected = start(&rig).await;
    expected.sort_by_key(|job| (std::cmp::Reverse(job.priority), job.subject.clone()));
    let mut running = Vec::new();
    for (index, next) in expected.iter().enumerate() {
        if index >= CHANNELS {
            assert!(rig.engine().lease("local").await.unwrap().is_none(), "there is no ninth channel");
            let leased: xenkeep_api::LeasedJob = running.remove(index * 5 % CHANNELS);
            rig.engine().finish(leased.id, leased.fence, &good(mover::result(&leased))).await.unwrap();
        }
        let leased = rig.lease().await;
        assert_eq!(rig.job(leased.id).await.subject, next.subject, "number {index}");
        running.push(leased);
        if index == CHANNELS {
            whoever_waits_is_told_why(&rig, &expected, &running).await;
        }
    }
    for leased in running {
        rig.engine().finish(leased.id, leased.fence, &good(mover::result(&leased))).await.unwrap();
    }
    for job in expected {
        assert_eq!(rig.job(job.id).await.state, JobState::Success);
    }
    let removed = rig.send(Method::DELETE, "/drives/13").await;
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
}

async fn whoever_waits_is_told_why(rig: &Rig, expected: &[Job], running: &[xenkeep_api::LeasedJob]) {
    let drive: DriveState = rig.get("/drives/13").await;
    assert_eq!((drive.running.len(), drive.waiting), (CHANNELS, (TASKS - CHANNELS - 1) as u64));
    assert_eq!(drive.next[0].job, expected[CHANNELS + 1].id);
    let waiting = rig.job(expected[TASKS - 1].id).await.waiting.unwrap();
    assert_eq!(waiting.code, "queue.drive_full");
    assert_eq!(drive.next[0].waiting.as_ref(), Some(&waiting));
    let listed: Vec<Job> = rig.get("/jobs?state=queued&limit=1000").await;
    assert!(listed.iter().all(|job| job.waiting.as_ref() == Some(&waiting)));
    assert_eq!(rig.job(running[0].id).await.waiting, None);
    refused(rig.send(Method::DELETE, "/drives/13").await, StatusCode::CONFLICT, "drive.in_use").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn never_nine_however_many_ask() {
    let rig = furnished().await;
    start(&rig).await;
    let (now, most, done) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let movers: Vec<_> = (0..20)
        .map(|number| {
            let (engine, now, most, done) = (rig.engine().clone(), now.clone(), most.clone(), done.clone());
            tokio::spawn(async move {
                while done.load(Ordering::SeqCst) < TASKS {
                    let Some(job) = engine.lease(&format!("mover{number}")).await.unwrap() else { continue };
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(3)).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    engine.finish(job.id, job.fence, &good(mover::result(&job))).await.unwrap();
                    done.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    eventually("all are done", async || done.load(Ordering::SeqCst) == TASKS).await;
    for mover in movers {
        mover.await.unwrap();
    }
    let most = most.load(Ordering::SeqCst);
    assert!((2..=CHANNELS).contains(&most), "{most} at once");
}

#[tokio::test]
async fn drives_and_limits_that_make_no_sense_are_refused() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let drive = |number: u64, channels: u64| json!({"number": number, "datastore": "store", "channels": channels});
    let invalid = StatusCode::UNPROCESSABLE_ENTITY;
    refused(rig.post("/drives", drive(0, 8)).await, invalid, "drive.bad_number").await;
    refused(rig.post("/drives", drive(1, 1001)).await, invalid, "drive.bad_channels").await;
    let nowhere = json!({"number": 1, "datastore": "nowhere", "channels": 1});
    refused(rig.post("/drives", nowhere).await, StatusCode::NOT_FOUND, "datastore.not_found").await;
    let made: Value = answer(rig.post("/drives", drive(1, 8)).await, StatusCode::CREATED).await;
    assert_eq!((made["number"].as_u64(), made["waiting"].as_u64()), (Some(1), Some(0)));
    refused(rig.post("/drives", drive(1, 8)).await, StatusCode::CONFLICT, "drive.exists").await;
    let limits = rig.request(Method::PUT, "/clients/lab/limits").json(&json!({"jobs": 0})).send().await.unwrap();
    refused(limits, invalid, "client.bad_limit").await;
}

#[tokio::test]
async fn two_servers_on_one_database_share_the_queue_and_a_start_leaves_the_others_jobs_alone() {
    let url = tokio::task::spawn_blocking(|| xenkeep_tests::Postgres::shared().database().unwrap()).await.unwrap();
    let url = xenkeep_api::Secret::new(url);
    let on_it = |config: &mut xenkeep_server::ServerConfig| config.database_url = Some(url.clone());
    let one = Rig::start_with(on_it).await;
    one.furnish_anywhere().await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    std::fs::copy(one.dir.path().join("key"), dir.path().join("key")).unwrap();
    let job = one.queue_backup("web").await;
    let mine = one.engine().lease(one.server().mover()).await.unwrap().unwrap();
    let other = Rig::start_in(dir, Arc::default(), on_it).await;
    assert_ne!(one.server().mover(), other.server().mover());
    let seen = other.job(job.id).await;
    assert_eq!((seen.state, seen.mover.as_deref()), (JobState::Running, Some(one.server().mover())));
    // What one queues, the other hands out.
    let second = one.queue_backup("db").await;
    let lent = other.engine().lease(other.server().mover()).await.unwrap().unwrap();
    assert_eq!(lent.id, second.id);
    one.engine().finish(mine.id, mine.fence, &good(mover::result(&mine))).await.unwrap();
    assert_eq!(other.job(mine.id).await.state, JobState::Success);
    // The second comes back under its own name, and knows what it had left.
    let other = other.restart_with(on_it, |_| {}).await;
    assert_eq!(one.job(lent.id).await.state, JobState::Interrupted);
    other.shutdown().await;
    one.shutdown().await;
}
