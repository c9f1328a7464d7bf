//! Movers on other machines: tokens, registration, leases over HTTP, and who gets what.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use xenkeep_api::{AddedMover, Client, Directive, JobState, LeasedJob, Mover, MoverWelcome, Renewed};

use crate::fixture::{Rig, answer, eventually, refused};
use crate::mover;

/// A mover that is known, and its token.
struct Remote<'a> {
    rig: &'a Rig,
    token: String,
}

impl<'a> Remote<'a> {
    async fn add(rig: &'a Rig, name: &str) -> Self {
        let added: AddedMover = answer(rig.post("/movers", json!({ "name": name })).await, StatusCode::CREATED).await;
        assert_eq!(added.mover.name, name);
        Self { rig, token: added.token.expose().to_owned() }
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Response {
        let request = self.rig.stranger(method, &format!("/mover{path}")).bearer_auth(&self.token);
        request.json(&body).send().await.unwrap()
    }

    async fn hello(&self, body: Value) -> Response {
        self.send(Method::POST, "/hello", body).await
    }

    async fn lease(&self) -> Option<LeasedJob> {
        let response = self.send(Method::POST, "/lease", hello()).await;
        if response.status() == StatusCode::NO_CONTENT {
            return None;
        }
        Some(answer(response, StatusCode::OK).await)
    }
}

fn hello() -> Value {
    json!({"version": env!("CARGO_PKG_VERSION"), "addresses": ["192.0.2.7"], "capacity": 4})
}

/// A server with a client, a datastore that all movers reach, and short waits.
async fn site() -> Rig {
    let rig = Rig::start_with(|config| config.limits.lease_wait = Duration::from_millis(300)).await;
    rig.furnish().await;
    let any = json!({"movers": ["any"]});
    let set = rig.request(Method::PUT, "/datastores/store/movers").json(&any).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    rig
}

#[tokio::test]
async fn a_token_opens_the_calls_of_its_mover_and_no_others() {
    let rig = site().await;
    let remote = Remote::add(&rig, "far").await;
    assert!(remote.token.starts_with("xkm_") && remote.token.len() > 40);
    let welcome: MoverWelcome = answer(remote.hello(hello()).await, StatusCode::OK).await;
    assert_eq!((welcome.name.as_str(), welcome.lease_ms), ("far", 30_000));

    for path in ["/clients", "/movers", "/jobs", "/datastores/store/recovery-sheet"] {
        let response = rig.stranger(Method::GET, path).bearer_auth(&remote.token).send().await.unwrap();
        refused(response, StatusCode::UNAUTHORIZED, "auth.wrong_token").await;
    }
    for token in [rig.token(), "xkm_wrong", &format!("{}x", remote.token), &"x".repeat(5000)] {
        let stranger = Remote { rig: &rig, token: token.to_owned() };
        refused(stranger.hello(hello()).await, StatusCode::UNAUTHORIZED, "auth.wrong_token").await;
        let lease = stranger.send(Method::POST, "/lease", hello()).await;
        refused(lease, StatusCode::UNAUTHORIZED, "auth.wrong_token").await;
    }
    // Hashed, and never shown again.
    for name in ["xenkeep.db", "xenkeep.db-wal"] {
        let bytes = std::fs::read(rig.dir.path().join(name)).unwrap();
        assert!(!bytes.windows(20).any(|window| window == &remote.token.as_bytes()[..20]), "{name}");
    }
    let listed: Vec<Value> = rig.get("/movers").await;
    assert!(!format!("{listed:?}").contains("xkm_"));

    assert_eq!(rig.send(Method::DELETE, "/movers/far").await.status(), StatusCode::NO_CONTENT);
    refused(remote.hello(hello()).await, StatusCode::UNAUTHORIZED, "auth.wrong_token").await;
    refused(rig.send(Method::DELETE, "/movers/far").await, StatusCode::NOT_FOUND, "mover.not_found").await;
}

#[tokio::test]
async fn names_are_unique_and_local_is_taken() {
    let rig = site().await;
    Remote::add(&rig, "far").await;
    refused(rig.post("/movers", json!({"name": "far"})).await, StatusCode::CONFLICT, "mover.exists").await;
    for name in ["local", "any", "a/b", ""] {
        let response = rig.post("/movers", json!({ "name": name })).await;
        refused(response, StatusCode::UNPROCESSABLE_ENTITY, "mover.bad_name").await;
    }
}

#[tokio::test]
async fn a_job_is_done_over_the_wire_and_by_its_holder_alone() {
    let rig = site().await;
    let (remote, other) = (Remote::add(&rig, "far").await, Remote::add(&rig, "other").await);
    let queued = rig.queue_backup("web").await;
    let job = remote.lease().await.expect("a job waits");
    assert_eq!((job.id, job.client.as_ref().unwrap().password.expose()), (queued.id, "secret-of-the-pool"));
    assert_eq!(rig.job(job.id).await.mover.as_deref(), Some("far"));

    let path = format!("/jobs/{}", job.id);
    let progress = json!({"step": "read", "disks": [], "total_bytes": 0, "done_bytes": 0, "moved_bytes": 0, "new_bytes": 0, "stored_bytes": 0});
    let line = json!({"at": "2026-11-25T00:00:00Z", "level": "info", "step": "read", "text": "\u{1b}[2Jone"});
    let renewal = |fence: i64| json!({"fence": fence, "progress": progress, "log": [line]});
    let entry = Uuid::new_v4();
    let journal = format!("{path}/journal/{entry}");
    let report = serde_json::to_value(mover::good(mover::result(&job))).unwrap();

    // Another's token, or an old fence: neither reads nor writes anything.
    for (who, fence) in [(&other, job.fence), (&remote, job.fence - 1), (&remote, job.fence + 1)] {
        let calls = [
            who.send(Method::POST, &format!("{path}/renew"), renewal(fence)).await,
            who.send(Method::PUT, &journal, json!({"fence": fence, "what": {}})).await,
            who.send(Method::DELETE, &format!("{journal}?fence={fence}"), json!({})).await,
            who.send(Method::POST, &format!("{path}/occupy"), json!({"fence": fence, "places": {"srs": []}})).await,
            who.send(Method::POST, &format!("{path}/reader"), json!({"fence": fence})).await,
            who.send(Method::PUT, &format!("{path}/content?fence={fence}"), json!({})).await,
            who.send(Method::POST, &format!("{path}/finish"), json!({"fence": fence, "report": report})).await,
        ];
        for call in calls {
            refused(call, StatusCode::CONFLICT, "job.lease_lost").await;
        }
    }
    let renewed: Renewed =
        answer(remote.send(Method::POST, &format!("{path}/renew"), renewal(job.fence)).await, StatusCode::OK).await;
    assert_eq!(renewed.directive, Directive::Continue);
    let log: Vec<Value> = rig.get(&format!("/jobs/{}/log", job.id)).await;
    assert_eq!(log.last().unwrap()["text"], " [2Jone", "no escape for anybody's terminal");
    let written = remote.send(Method::PUT, &journal, json!({"fence": job.fence, "what": {"made": "x"}})).await;
    assert_eq!(written.status(), StatusCode::NO_CONTENT);
    let cleared = remote.send(Method::DELETE, &format!("{journal}?fence={}", job.fence), json!({})).await;
    assert_eq!(cleared.status(), StatusCode::NO_CONTENT);
    // Said twice, since the first answer may be lost on its way.
    for _ in 0..2 {
        let body = json!({"fence": job.fence, "report": report});
        let finished = remote.send(Method::POST, &format!("{path}/finish"), body).await;
        assert_eq!(finished.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(rig.job(job.id).await.state, JobState::Success);
}

#[tokio::test]
async fn whoever_was_given_up_is_told_to_stop() {
    let rig = site().await;
    let remote = Remote::add(&rig, "far").await;
    rig.queue_backup("web").await;
    let job = remote.lease().await.unwrap();
    rig.clock.advance(Duration::from_secs(31));
    eventually("it is interrupted", async || rig.job(job.id).await.state == JobState::Interrupted).await;
    let report = serde_json::to_value(mover::good(mover::result(&job))).unwrap();
    let body = json!({"fence": job.fence, "report": report});
    let late = remote.send(Method::POST, &format!("/jobs/{}/finish", job.id), body).await;
    refused(late, StatusCode::CONFLICT, "job.lease_lost").await;
    let points: Vec<Value> = rig.get("/points").await;
    assert!(points.is_empty());
}

#[tokio::test]
async fn a_start_of_the_server_leaves_the_jobs_of_others_alone() {
    let rig = site().await;
    let (token, job) = {
        let remote = Remote::add(&rig, "far").await;
        rig.queue_backup("web").await;
        (remote.token.clone(), remote.lease().await.unwrap())
    };
    // It stayed down for longer than a lease lasts.
    rig.clock.advance(Duration::from_secs(120));
    let rig = rig.crash_and_start().await;
    assert_eq!(rig.job(job.id).await.state, JobState::Running);
    let remote = Remote { rig: &rig, token };
    let report = serde_json::to_value(mover::good(mover::result(&job))).unwrap();
    let body = json!({"fence": job.fence, "report": report});
    let finished = remote.send(Method::POST, &format!("/jobs/{}/finish", job.id), body).await;
    assert_eq!(finished.status(), StatusCode::NO_CONTENT);
    assert_eq!(rig.job(job.id).await.state, JobState::Success);
}

#[tokio::test]
async fn two_movers_that_race_get_one_job_each() {
    let rig = site().await;
    let (a, b) = (Remote::add(&rig, "a").await, Remote::add(&rig, "b").await);
    let first = rig.queue_backup("web").await;
    let (one, two) = tokio::join!(a.lease(), b.lease());
    assert_eq!(one.iter().chain(&two).map(|job| job.id).collect::<Vec<_>>(), [first.id]);
    // The next one is for whoever has less to do, though the other asks as well.
    let (busy, free) = if one.is_some() { (&a, &b) } else { (&b, &a) };
    let second = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        rig.queue_backup("db").await
    };
    let (of_busy, of_free, second) = tokio::join!(busy.lease(), free.lease(), second);
    assert!(of_busy.is_none(), "{of_busy:?}");
    assert_eq!(of_free.unwrap().id, second.id);
}

#[tokio::test]
async fn client_and_datastore_choose_their_movers() {
    let rig = site().await;
    let (a, b) = (Remote::add(&rig, "a").await, Remote::add(&rig, "b").await);
    let put = async |path: &str, movers: Value| {
        rig.request(Method::PUT, path).json(&json!({ "movers": movers })).send().await.unwrap()
    };
    let client: Client = answer(put("/clients/lab/movers", json!(["b"])).await, StatusCode::OK).await;
    assert_eq!(client.mover.as_deref(), Some("b"));
    let job = rig.queue_backup("web").await;
    assert!(a.lease().await.is_none());
    assert_eq!(b.lease().await.unwrap().id, job.id);

    // A datastore that is elsewhere: nobody can do it, and the job says so.
    assert_eq!(put("/datastores/store/movers", json!(["a"])).await.status(), StatusCode::OK);
    let job = rig.queue_backup("db").await;
    assert!(a.lease().await.is_none() && b.lease().await.is_none());
    let waiting = rig.job(job.id).await.waiting.unwrap();
    assert_eq!(waiting.code, "queue.no_mover");
    assert!(waiting.message.contains("client lab is for mover b") && waiting.message.contains("store"), "{waiting}");
    refused(rig.send(Method::DELETE, "/movers/b").await, StatusCode::CONFLICT, "mover.in_use").await;
    assert_eq!(put("/datastores/store/movers", json!(["a", "b"])).await.status(), StatusCode::OK);
    assert_eq!(b.lease().await.unwrap().id, job.id);

    refused(put("/clients/lab/movers", json!(["c"])).await, StatusCode::NOT_FOUND, "mover.not_found").await;
    let two = put("/clients/lab/movers", json!(["a", "b"])).await;
    refused(two, StatusCode::UNPROCESSABLE_ENTITY, "client.movers").await;
    let none = put("/clients/lab/movers", json!([])).await;
    refused(none, StatusCode::UNPROCESSABLE_ENTITY, "mover.none_named").await;
}

#[tokio::test]
async fn another_version_or_a_host_of_a_pool_gets_nothing() {
    let rig = site().await;
    let remote = Remote::add(&rig, "far").await;
    let old = json!({"version": "99.0.0", "addresses": [], "capacity": 1});
    for path in ["/hello", "/lease"] {
        let problem =
            refused(remote.send(Method::POST, path, old.clone()).await, StatusCode::FORBIDDEN, "mover.version");
        assert!(problem.await.message.contains("99.0.0"));
    }
    // The pool says of itself that it has a host at this address.
    let engine = rig.engine().clone();
    let mut pool = mover::pool();
    pool.members = vec![xenkeep_api::PoolHost { address: "192.0.2.7".to_owned(), ..xenkeep_api::PoolHost::default() }];
    let checking = mover::FakeMover::start(&engine, move |_| {
        mover::good(xenkeep_api::JobResult::Pool { pool: Some(pool.clone()), checks: Vec::new() })
    });
    let checked = rig.send(Method::POST, "/clients/lab/check").await;
    assert_eq!(checked.status(), StatusCode::OK);
    checking.stop().await;
    rig.queue_backup("web").await;
    for path in ["/hello", "/lease"] {
        let response = remote.send(Method::POST, path, hello()).await;
        let problem = refused(response, StatusCode::FORBIDDEN, "mover.on_pool_host").await;
        assert!(problem.message.contains("192.0.2.7") && problem.message.contains("lab"), "{problem}");
    }
    let movers: Vec<Mover> = rig.get("/movers").await;
    let far = movers.iter().find(|mover| mover.name == "far").unwrap();
    assert_eq!(far.refused.as_ref().unwrap().code, "mover.on_pool_host");
}

#[tokio::test]
async fn what_a_mover_sends_is_bounded() {
    let rig = site().await;
    let remote = Remote::add(&rig, "far").await;
    rig.queue_backup("web").await;
    let job = remote.lease().await.unwrap();
    let renew = async |step: String, disks: usize, lines: usize| {
        let disk = json!({"position": "0", "total_bytes": 1, "done_bytes": 1});
        let line = json!({"at": "2026-11-25T00:00:00Z", "level": "info", "step": "", "text": "x"});
        let progress = json!({"step": step, "disks": vec![disk; disks], "total_bytes": 0, "done_bytes": 0, "moved_bytes": 0, "new_bytes": 0, "stored_bytes": 0});
        let body = json!({"fence": job.fence, "progress": progress, "log": vec![line; lines]});
        remote.send(Method::POST, &format!("/jobs/{}/renew", job.id), body).await.status()
    };
    assert_eq!(renew("read".into(), 16, 500).await, StatusCode::OK);
    for (step, disks, lines) in [("x".repeat(300), 1, 1), (String::new(), 5000, 1), (String::new(), 1, 5000)] {
        assert_eq!(renew(step, disks, lines).await, StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert_eq!(renew("x".repeat(2 << 20), 1, 1).await, StatusCode::PAYLOAD_TOO_LARGE);
    let entry = |bytes: usize| json!({"fence": job.fence, "what": "x".repeat(bytes)});
    let path = format!("/jobs/{}/journal/{}", job.id, Uuid::new_v4());
    assert_eq!(remote.send(Method::PUT, &path, entry(4 << 20)).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(remote.send(Method::PUT, &path, entry(17 << 20)).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    for garbage in [json!(null), json!([]), json!({"fence": "x"}), json!({"fence": 1, "progress": 7})] {
        let status = remote.send(Method::POST, &format!("/jobs/{}/renew", job.id), garbage).await.status();
        assert!(status.is_client_error(), "{status}");
    }
    assert_eq!(rig.job(job.id).await.state, JobState::Running);
}

#[tokio::test]
async fn an_export_is_streamed_up_and_handed_through() {
    let rig = site().await;
    let remote = Remote::add(&rig, "far").await;
    rig.queue_backup("web").await;
    let backup = remote.lease().await.unwrap();
    let report = mover::good(mover::result(&backup));
    rig.engine().finish(backup.id, backup.fence, &report).await.unwrap();
    let points: Vec<Value> = rig.get("/points").await;
    let spec = json!({"point": points[0]["id"], "format": "xva"});
    rig.start_job("/exports", spec).await;
    let job = remote.lease().await.unwrap();
    let path = format!("/jobs/{}", job.id);
    let up = async {
        let met = remote.send(Method::POST, &format!("{path}/reader"), json!({"fence": job.fence})).await;
        assert_eq!(met.status(), StatusCode::NO_CONTENT);
        let request = rig.stranger(Method::PUT, &format!("/mover{path}/content?fence={}", job.fence));
        let sent = request.bearer_auth(&remote.token).body(vec![7; 3_000_000]).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NO_CONTENT);
        let report = serde_json::to_value(mover::good(mover::result(&job))).unwrap();
        let body = json!({"fence": job.fence, "report": report});
        remote.send(Method::POST, &format!("{path}/finish"), body).await
    };
    let down = async { rig.send(Method::GET, &format!("{path}/content")).await.bytes().await.unwrap() };
    let (bytes, finished) = tokio::join!(down, up);
    assert_eq!(finished.status(), StatusCode::NO_CONTENT);
    assert!(bytes.len() == 3_000_000 && bytes.iter().all(|byte| *byte == 7));
}
