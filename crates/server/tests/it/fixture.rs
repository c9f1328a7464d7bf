//! A server in a directory of its own, and somebody who asks it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use xenkeep_api::{Job, LeasedJob, Problem};
use xenkeep_server::{Clock, Engine, Server, ServerConfig};

use crate::mover;

pub(crate) struct Rig {
    pub(crate) dir: Arc<TempDir>,
    pub(crate) clock: Arc<TestClock>,
    server: Option<Server>,
    http: reqwest::Client,
    token: String,
}

/// The machine's clock, which tests push on.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Mutex<Duration>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock().unwrap()
    }
}

pub(crate) fn http() -> reqwest::ClientBuilder {
    // Another test of this process may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60))
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self::start_in(dir, Arc::default(), change).await
    }

    pub(crate) async fn start_in(
        dir: Arc<TempDir>,
        clock: Arc<TestClock>,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Self {
        let mut config = ServerConfig::new(dir.path(), "127.0.0.1:0".parse().unwrap());
        config.clock = clock.clone();
        change(&mut config);
        let server = Server::start(config).await.unwrap();
        let token = std::fs::read_to_string(dir.path().join("token")).unwrap().trim().to_owned();
        Self { dir, clock, server: Some(server), http: http().build().unwrap(), token }
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.server().engine()
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Takes the server down in order and starts it again on the same directory.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}, |_| {}).await
    }

    /// Takes the server down; something happens; and it starts again on the same directory.
    pub(crate) async fn restart_with(
        mut self,
        change: impl FnOnce(&mut ServerConfig),
        meanwhile: impl FnOnce(&Self),
    ) -> Self {
        self.server.take().unwrap().shutdown().await.unwrap();
        meanwhile(&self);
        Self::start_in(self.dir.clone(), self.clock.clone(), change).await
    }

    /// As after a SIGKILL: a new server on a copy of what lies on disk at this moment, nothing closed.
    pub(crate) async fn crash_and_start(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for name in ["xenkeep.db", "xenkeep.db-wal", "key", "token"] {
            std::fs::copy(self.dir.path().join(name), copy.path().join(name)).unwrap();
        }
        Self::start_in(Arc::new(copy), self.clock.clone(), |_| {}).await
    }

    pub(crate) async fn shutdown(mut self) {
        self.server.take().unwrap().shutdown().await.unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.server().url())
    }

    /// A request without token.
    pub(crate) fn stranger(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.stranger(method, path).bearer_auth(&self.token)
    }

    pub(crate) async fn send(&self, method: Method, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        answer(self.send(Method::GET, path).await, StatusCode::OK).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.request(Method::POST, path).json(&body).send().await.unwrap()
    }

    /// A started job.
    pub(crate) async fn start_job(&self, path: &str, body: Value) -> Job {
        answer(self.post(path, body).await, StatusCode::ACCEPTED).await
    }

    /// A client and a datastore that are ready.
    pub(crate) async fn furnish(&self) {
        self.furnish_for(json!([])).await;
    }

    /// The same, with a datastore that every mover reaches.
    pub(crate) async fn furnish_anywhere(&self) {
        self.furnish_for(json!(["any"])).await;
    }

    async fn furnish_for(&self, movers: Value) {
        let mover = mover::obliging(self.engine());
        let client = self.post("/clients", new_client("lab")).await;
        assert_eq!(client.status(), StatusCode::CREATED, "{}", client.text().await.unwrap());
        let store = self.post("/datastores", json!({"name": "store", "path": "/srv/store", "movers": movers})).await;
        assert_eq!(store.status(), StatusCode::CREATED, "{}", store.text().await.unwrap());
        mover.stop().await;
    }

    /// A backup of a VM that waits in the queue.
    pub(crate) async fn queue_backup(&self, vm: &str) -> Job {
        self.start_job("/backups", json!({"client": "lab", "vm": vm, "datastore": "store"})).await
    }

    /// The next job, which must be there at once.
    pub(crate) async fn lease(&self) -> LeasedJob {
        self.engine().lease("local").await.unwrap().expect("a job is ready")
    }

    pub(crate) async fn job(&self, job: impl std::fmt::Display) -> Job {
        self.get(&format!("/jobs/{job}")).await
    }
}

pub(crate) fn new_client(name: &str) -> Value {
    json!({"name": name, "address": "pool.example", "user": "root", "password": "secret-of-the-pool"})
}

pub(crate) async fn answer<T: DeserializeOwned>(response: Response, status: StatusCode) -> T {
    let (found, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap()
}

/// The problem of an answer that must be one, in the right form.
pub(crate) async fn problem(response: Response, status: StatusCode) -> Problem {
    let content_type = response.headers().get("content-type").map(|value| value.to_str().unwrap().to_owned());
    let body: Value = answer(response, status).await;
    assert_eq!(content_type.as_deref(), Some("application/problem+json"), "{body}");
    assert_eq!(body["status"], status.as_u16(), "{body}");
    serde_json::from_value(body).unwrap()
}

/// As [`problem`], with its code.
pub(crate) async fn refused(response: Response, status: StatusCode, code: &str) -> Problem {
    let problem = problem(response, status).await;
    assert_eq!(problem.code, code, "{problem:?}");
    problem
}

/// Polls until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen in 30 seconds: {what}");
}
