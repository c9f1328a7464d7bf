use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use xenkeep_api::{Client, ClientCheck, Job, JobState, PoolVm, Problem};

use crate::fixture::{Rig, answer, eventually, new_client, refused};
use crate::mover;

#[tokio::test]
async fn is_added_once_a_login_has_worked() {
    let rig = Rig::start().await;
    let mover = mover::FakeMover::start(rig.engine(), |job| {
        let access = job.client.as_ref().unwrap();
        assert_eq!((access.user.as_str(), access.password.expose()), ("root", "secret-of-the-pool"));
        assert!(job.datastore.is_none() && job.point.is_none() && job.journal.is_empty());
        mover::good(mover::result(job))
    });
    let response = rig.post("/clients", new_client("lab")).await;
    let text = response.text().await.unwrap();
    assert!(!text.contains("secret-of-the-pool"), "{text}");
    let added: Client = serde_json::from_str(&text).unwrap();
    assert_eq!((added.name.as_str(), added.pool.as_ref()), ("lab", Some(&mover::pool())));
    assert_eq!(added.certificate_sha256, mover::pool().certificate_sha256);

    assert_eq!(rig.get::<Vec<Client>>("/clients").await, std::slice::from_ref(&added));
    assert_eq!(rig.get::<Client>("/clients/lab").await, added);
    assert_eq!(rig.get::<Client>(&format!("/clients/{}", added.id)).await, added);
    assert_eq!(rig.get::<Vec<PoolVm>>("/clients/lab/vms").await[0].name, "web");
    let checked: ClientCheck = answer(rig.send(Method::POST, "/clients/lab/check").await, StatusCode::OK).await;
    assert_eq!((checked.client, checked.problem), (added, None));
    refused(rig.post("/clients", new_client("lab")).await, StatusCode::CONFLICT, "client.exists").await;
    mover.stop().await;

    let problem = refused(rig.send(Method::GET, "/clients/lob").await, StatusCode::NOT_FOUND, "client.not_found").await;
    assert_eq!(problem.hint.as_deref(), Some("there are: lab"));
    assert_eq!(rig.send(Method::DELETE, "/clients/lab").await.status(), StatusCode::NO_CONTENT);
    refused(rig.send(Method::DELETE, "/clients/lab").await, StatusCode::NOT_FOUND, "client.not_found").await;
    rig.shutdown().await;
}

#[tokio::test]
async fn a_failed_login_leaves_nothing() {
    let rig = Rig::start().await;
    let wrong = Problem::new("pool.wrong_password", "the pool refuses user root").hint("check user and password");
    let mover = mover::failing(rig.engine(), wrong.clone());
    for _ in ["once", "and the name is free again"] {
        let response = rig.post("/clients", new_client("lab")).await;
        assert_eq!(refused(response, StatusCode::UNPROCESSABLE_ENTITY, "pool.wrong_password").await, wrong);
        assert!(rig.get::<Vec<Client>>("/clients").await.is_empty());
    }
    mover.stop().await;
    rig.shutdown().await;
}

#[tokio::test]
async fn a_later_failed_check_leaves_the_client() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let mover = mover::failing(rig.engine(), Problem::new("pool.unreachable", "nobody answers"));
    let response = rig.send(Method::POST, "/clients/lab/check").await;
    refused(response, StatusCode::UNPROCESSABLE_ENTITY, "pool.unreachable").await;
    let response = rig.send(Method::GET, "/clients/lab/vms").await;
    refused(response, StatusCode::UNPROCESSABLE_ENTITY, "pool.unreachable").await;
    mover.stop().await;
    assert_eq!(rig.get::<Client>("/clients/lab").await.pool, Some(mover::pool()));
}

#[tokio::test]
async fn without_a_mover_nobody_waits_for_ever() {
    let rig = Rig::start_with(|config| config.limits.short_job_wait = Duration::from_millis(200)).await;
    let problem =
        refused(rig.post("/clients", new_client("lab")).await, StatusCode::GATEWAY_TIMEOUT, "job.too_slow").await;
    assert!(problem.hint.is_some());
    assert!(rig.get::<Vec<Client>>("/clients").await.is_empty());
    let jobs: Vec<Job> = rig.get("/jobs").await;
    assert_eq!((jobs.len(), jobs[0].state), (1, JobState::Cancelled));
}

#[tokio::test]
async fn whoever_hangs_up_leaves_no_half_client() {
    let rig = Rig::start().await;
    // Nobody works: the request is given up by who asked.
    let asked = rig.request(Method::POST, "/clients").json(&new_client("lab")).timeout(Duration::from_millis(200));
    assert!(asked.send().await.unwrap_err().is_timeout());
    assert!(rig.get::<Vec<Client>>("/clients").await.is_empty());
    // It is brought to its end all the same.
    let mover = mover::obliging(rig.engine());
    eventually("the client is added", async || rig.get::<Vec<Client>>("/clients").await.len() == 1).await;
    mover.stop().await;
    rig.shutdown().await;
}

#[tokio::test]
async fn is_kept_while_a_job_needs_it() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    let problem = refused(rig.send(Method::DELETE, "/clients/lab").await, StatusCode::CONFLICT, "client.in_use").await;
    assert!(problem.message.contains(&job.id.to_string()), "{problem:?}");
    rig.post(&format!("/jobs/{}/cancel", job.id), json!(null)).await;
    assert_eq!(rig.send(Method::DELETE, "/clients/lab").await.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anything_happens() {
    let rig = Rig::start().await;
    let with = |key: &str, value: &str| {
        let mut new = new_client("lab");
        new[key] = json!(value);
        new
    };
    for (new, code) in [
        (with("name", "../lab"), "client.bad_name"),
        (with("name", ""), "client.bad_name"),
        (with("name", "a\u{0}b"), "client.bad_name"),
        (with("name", "0f1e2d3c-0000-4000-8000-00000000000a"), "client.bad_name"),
        (with("address", "https://pool.example"), "client.bad_address"),
        (with("address", "pool:99999"), "client.bad_address"),
        (with("user", ""), "request.invalid"),
        (with("user", "root\r\nX: y"), "request.invalid"),
        (with("password", ""), "client.bad_password"),
        (with("certificate_sha256", "ab:cd"), "client.bad_fingerprint"),
        (with("transport", "ftp"), "request.invalid"),
        (with("colour", "red"), "request.invalid"),
    ] {
        let problem = refused(rig.post("/clients", new).await, StatusCode::UNPROCESSABLE_ENTITY, code).await;
        assert!(!format!("{problem:?}").contains("secret-of-the-pool"), "{problem:?}");
    }
    assert!(rig.get::<Vec<Job>>("/jobs").await.is_empty());
}
