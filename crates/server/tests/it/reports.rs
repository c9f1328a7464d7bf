//! Reports, to a real mail server and to a real listener.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use xenkeep_api::{JobState, Problem, Report, ReportDelivery};
use xenkeep_server::ServerConfig;

use crate::fixture::{Rig, answer, refused};
use crate::mover;
use crate::smtp::{Smtp, Wish};

const PASSWORD: &str = "mail-password-of-the-test";

/// The engine's own loop stays out of the way: these tests ring themselves.
fn silent(config: &mut ServerConfig) {
    config.limits.tick = Duration::from_secs(3600);
    config.limits.lease_wait = Duration::from_millis(20);
}

async fn furnished() -> Rig {
    let rig = Rig::start_with(silent).await;
    rig.furnish().await;
    rig
}

/// A certificate for `localhost`, which its own authority has signed: itself.
struct Certificate {
    _dir: TempDir,
    certificate: PathBuf,
    key: PathBuf,
    pem: String,
}

impl Certificate {
    fn for_name(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key, pem) = (dir.path().join("c.pem"), dir.path().join("k.pem"), made.cert.pem());
        std::fs::write(&certificate, &pem).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { _dir: dir, certificate, key, pem }
    }

    fn server(&self) -> Smtp {
        Smtp::start(&Wish {
            tls: Some((self.certificate.clone(), self.key.clone())),
            login: Some(("backup".to_owned(), PASSWORD.to_owned())),
            refuses: 0,
        })
    }
}

fn plain(port: u16) -> Value {
    json!({"host": "127.0.0.1", "port": port, "security": "none", "from": "xenkeep <backup@example.org>", "to": ["it@example.org", "boss@example.org"]})
}

fn protected(port: u16, ca: &str) -> Value {
    json!({"host": "localhost", "port": port, "security": "starttls", "ca_certificate": ca, "user": "backup",
        "from": "backup@example.org", "to": ["it@example.org"]})
}

impl Rig {
    async fn set_mail(&self, settings: &Value, password: Option<&str>) -> reqwest::Response {
        let body = json!({"settings": settings, "password": password});
        self.request(Method::PUT, "/reports/mail").json(&body).send().await.unwrap()
    }

    async fn good_mail(&self, settings: &Value, password: Option<&str>) {
        let _: Value = answer(self.set_mail(settings, password).await, StatusCode::OK).await;
    }

    /// Ends the next job.
    async fn end_job(&self, state: JobState) {
        let job = self.lease().await;
        let problem = (!state.is_good()).then(|| Problem::new("sr.full", "SR <fast> on lab is full"));
        let result = state.is_good().then(|| mover::result(&job));
        self.engine().finish(job.id, job.fence, &mover::report(state, problem, result)).await.unwrap();
    }

    async fn tell(&self) {
        self.engine().report_endings().await.unwrap();
        self.engine().deliver_due().await.unwrap();
    }

    async fn deliveries(&self) -> Vec<ReportDelivery> {
        self.get("/reports").await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_over_starttls_with_login() {
    let rig = furnished().await;
    let certificate = Certificate::for_name("localhost");
    let smtp = certificate.server();
    rig.good_mail(&protected(smtp.port, &certificate.pem), Some(PASSWORD)).await;
    assert_eq!(rig.send(Method::POST, "/reports/mail/test").await.status(), StatusCode::NO_CONTENT);
    let mail = smtp.mail();
    assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!(true)), "{mail}");
    let text = mail["data"].as_str().unwrap();
    for part in [
        "Subject: [xenkeep] test of reports: good",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "Auto-Submitted: auto-generated",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Nobody is told the password, and without another word it stays.
    let shown: Value = rig.get("/reports/mail").await;
    assert!(!shown.to_string().contains(PASSWORD));
    rig.good_mail(&protected(smtp.port, &certificate.pem), None).await;
    assert_eq!(rig.send(Method::POST, "/reports/mail/test").await.status(), StatusCode::NO_CONTENT);
    let database = std::fs::read(rig.dir.path().join("xenkeep.db-wal")).unwrap();
    assert!(!database.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_certificate_or_password_is_refused() {
    let rig = furnished().await;
    let certificate = Certificate::for_name("localhost");
    let smtp = certificate.server();
    // Signed by somebody else; for another name; with a wrong password.
    let stranger = Certificate::for_name("localhost");
    rig.good_mail(&protected(smtp.port, &stranger.pem), Some(PASSWORD)).await;
    let refusal = rig.send(Method::POST, "/reports/mail/test").await;
    refused(refusal, StatusCode::UNPROCESSABLE_ENTITY, "mail.certificate").await;
    let mut elsewhere = protected(smtp.port, &certificate.pem);
    elsewhere["host"] = json!("127.0.0.1");
    rig.good_mail(&elsewhere, Some(PASSWORD)).await;
    let refusal = rig.send(Method::POST, "/reports/mail/test").await;
    refused(refusal, StatusCode::UNPROCESSABLE_ENTITY, "mail.certificate").await;
    rig.good_mail(&protected(smtp.port, &certificate.pem), Some("wrong")).await;
    let problem =
        refused(rig.send(Method::POST, "/reports/mail/test").await, StatusCode::UNPROCESSABLE_ENTITY, "mail.login")
            .await;
    assert!(!problem.message.contains("wrong"), "{problem}");
    // A server that has no TLS to offer gets nothing.
    let open = Smtp::start(&Wish::default());
    rig.good_mail(&protected(open.port, &certificate.pem), Some(PASSWORD)).await;
    assert_eq!(rig.send(Method::POST, "/reports/mail/test").await.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(smtp.is_empty() && open.is_empty());
    // And a password without TLS is not even kept.
    let mut clear = plain(open.port);
    clear["user"] = json!("backup");
    refused(rig.set_mail(&clear, Some(PASSWORD)).await, StatusCode::UNPROCESSABLE_ENTITY, "mail.invalid").await;
    clear["user"] = Value::Null;
    clear["to"] = json!(["it@example.org\r\nBcc: all@example.org"]);
    refused(rig.set_mail(&clear, None).await, StatusCode::UNPROCESSABLE_ENTITY, "mail.bad_address").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_job_is_told_of_once() {
    let rig = furnished().await;
    let smtp = Smtp::start(&Wish::default());
    let mut settings = plain(smtp.port);
    settings["when"] = json!("problems");
    settings["language"] = json!("de");
    rig.good_mail(&settings, None).await;
    rig.queue_backup("web").await;
    rig.end_job(JobState::Success).await;
    rig.tell().await;
    assert!(rig.deliveries().await.is_empty(), "nobody wants to hear of what is good");
    rig.queue_backup("db").await;
    rig.end_job(JobState::Failed).await;
    rig.tell().await;
    rig.tell().await;
    let mail = smtp.mail();
    assert_eq!(mail["to"], json!(["it@example.org", "boss@example.org"]));
    assert_eq!(mail["subject"], "[xenkeep] db: fehlgeschlagen");
    assert!(mail["plain"].as_str().unwrap().contains("SR <fast> on lab is full"), "{mail}");
    assert!(mail["html"].as_str().unwrap().contains("SR &lt;fast&gt; on lab is full"), "{mail}");
    assert!(smtp.is_empty());
    assert_eq!(rig.deliveries().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_waits_for_its_mail_server_and_outlives_its_own() {
    let mut rig = furnished().await;
    let smtp = Smtp::start(&Wish { refuses: 1, ..Wish::default() });
    rig.good_mail(&plain(smtp.port), None).await;
    rig.queue_backup("web").await;
    rig.end_job(JobState::Failed).await;
    // It dies after the job has ended and before anybody has looked; then again with the report written and refused.
    rig = rig.restart_with(silent, |_| {}).await;
    rig.tell().await;
    let waiting = rig.deliveries().await.remove(0);
    assert_eq!((waiting.attempts, waiting.sent_at), (1, None));
    assert_eq!(waiting.problem.unwrap().code, "mail.later");
    rig = rig.restart_with(silent, |_| {}).await;
    rig.tell().await;
    assert!(smtp.is_empty(), "it is not tried again before its time");
    rig.clock.advance(Duration::from_secs(61));
    rig.tell().await;
    assert!(smtp.mail()["data"].as_str().unwrap().contains("Subject: [xenkeep] web: failed"));
    rig.clock.advance(Duration::from_secs(3600));
    rig.tell().await;
    assert!(smtp.is_empty());
    let sent = rig.deliveries().await.remove(0);
    assert_eq!((sent.attempts, sent.sent_at.is_some(), sent.next_try), (2, true, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_jobs_of_a_start_are_one_report() {
    let rig = furnished().await;
    let hook = Hook::start(&["204 No Content"]).await;
    rig.add_webhook(&hook, "always").await;
    let settings = json!({"when": "daily at 22:00", "time_zone": "UTC", "targets": [
        {"kind": "verify", "datastore": "store"}, {"kind": "prune", "datastore": "store"}]});
    let made = rig.post("/schedules", json!({"name": "nightly", "settings": settings})).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    rig.clock.advance(Duration::from_secs(24 * 3600));
    // Whatever time it is, one of the starts of the last hour at most is made: go to the very minute.
    let planned: Vec<Value> = rig.get("/planned-starts?days=2").await;
    let at: jiff::Timestamp = planned[0]["at"].as_str().unwrap().parse().unwrap();
    let left = at.duration_since(xenkeep_server::Clock::now(&*rig.clock));
    rig.clock.advance(Duration::try_from(left).unwrap() + Duration::from_millis(50));
    rig.engine().start_due().await.unwrap();
    rig.end_job(JobState::Success).await;
    rig.tell().await;
    assert!(
        rig.deliveries().await.iter().all(|one| one.subject != "nightly" || one.outcome == JobState::Failed),
        "the start before was missed"
    );
    rig.end_job(JobState::Success).await;
    rig.tell().await;
    let told: Vec<ReportDelivery> = rig.deliveries().await;
    let runs: Vec<_> = told.iter().filter(|one| one.outcome == JobState::Success).collect();
    assert_eq!(runs.len(), 1, "{told:?}");
    let reports: Vec<Report> = hook.reports().await;
    assert_eq!(reports.iter().find(|report| report.run.is_some()).unwrap().jobs.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_signed_json_and_keeps_its_address_to_itself() {
    let rig = furnished().await;
    let hook = Hook::start(&["503 Service Unavailable", "200 OK"]).await;
    rig.add_webhook(&hook, "always").await;
    let shown: Vec<Value> = rig.get("/reports/webhooks").await;
    assert_eq!(shown[0]["url"], format!("http://127.0.0.1:{}/…", hook.port));
    rig.queue_backup("web").await;
    rig.end_job(JobState::Success).await;
    rig.tell().await;
    assert_eq!(rig.deliveries().await[0].problem.as_ref().unwrap().code, "webhook.refused");
    rig.clock.advance(Duration::from_secs(61));
    rig.tell().await;
    let [first, second] = hook.requests().await.try_into().unwrap();
    let header = |request: &str, name: &str| {
        let line = request.lines().find(|line| line.to_ascii_lowercase().starts_with(name)).unwrap().to_owned();
        line.split_once(": ").unwrap().1.to_owned()
    };
    assert!(first.starts_with("POST /hooks/secret-path?x=1 HTTP/1.1"), "{first}");
    assert_eq!(header(&first, "xenkeep-delivery"), header(&second, "xenkeep-delivery"));
    let body = second.split_once("\r\n\r\n").unwrap().1;
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"hush");
    let signature = hex::encode(aws_lc_rs::hmac::sign(&key, body.as_bytes()));
    assert_eq!(header(&second, "xenkeep-signature"), format!("sha256={signature}"));
    let report: Report = serde_json::from_str(body).unwrap();
    assert_eq!((report.subject.as_str(), report.outcome), ("web", JobState::Success));
    // Neither answer nor log of deliveries tells the address.
    assert!(!serde_json::to_string(&rig.deliveries().await).unwrap().contains("secret-path"));
    rig.send(Method::DELETE, "/reports/webhooks/chat").await;
    refused(rig.send(Method::POST, "/reports/webhooks/chat/test").await, StatusCode::NOT_FOUND, "webhook.not_found")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daily_summary_names_vms_without_a_good_point() {
    let rig = furnished().await;
    let smtp = Smtp::start(&Wish::default());
    rig.good_mail(&plain(smtp.port), None).await;
    for (vm, state) in [("web", JobState::Success), ("db", JobState::Failed)] {
        rig.queue_backup(vm).await;
        rig.end_job(state).await;
    }
    rig.tell().await;
    smtp.mail();
    smtp.mail();
    let report: Report = answer(rig.send(Method::POST, "/reports/summary/send").await, StatusCode::OK).await;
    let findings = report.summary.unwrap();
    let named: Vec<_> =
        findings.without_point.iter().map(|vm| (vm.client.as_str(), vm.vm.as_str(), vm.last_point)).collect();
    assert!(named.contains(&("lab", "db", None)), "{named:?}");
    assert_eq!((findings.good_jobs, findings.bad_jobs), (1, 1));
    rig.engine().deliver_due().await.unwrap();
    let text = smtp.mail()["data"].as_str().unwrap().to_owned();
    assert!(text.contains("Subject: [xenkeep] daily summary: failed") && text.contains("lab/db: never one"), "{text}");

    // Every day at its time, once.
    let at = json!({"at": "07:00", "time_zone": "UTC", "max_age_hours": 26});
    let set = rig.request(Method::PUT, "/reports/summary").json(&at).send().await.unwrap();
    assert_eq!(set.status(), StatusCode::OK);
    rig.clock.advance(Duration::from_secs(24 * 3600));
    for _ in 0..2 {
        rig.engine().summary_due().await.unwrap();
        rig.engine().deliver_due().await.unwrap();
    }
    let due = rig.deliveries().await.iter().filter(|one| one.subject == "daily summary").count();
    // Between seven in the evening and seven in the morning the last one is more than half a day old.
    assert!((1..=2).contains(&due), "{due}");
    let bad = rig.request(Method::PUT, "/reports/summary").json(&json!({"at": "7 am"})).send().await.unwrap();
    refused(bad, StatusCode::UNPROCESSABLE_ENTITY, "summary.bad_time").await;
}

/// A listener that answers each request with the next of its answers.
struct Hook {
    port: u16,
    requests: tokio::sync::Mutex<tokio::sync::mpsc::Receiver<String>>,
}

impl Hook {
    async fn start(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, requests) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            for answer in answers.iter().chain(std::iter::repeat(answers.last().unwrap())) {
                let (mut socket, _) = listener.accept().await.unwrap();
                let request = read_request(&mut socket).await;
                let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                socket.write_all(answer.as_bytes()).await.unwrap();
                if sender.send(request).await.is_err() {
                    return;
                }
            }
        });
        Self { port, requests: tokio::sync::Mutex::new(requests) }
    }

    /// All requests that have come.
    async fn requests(&self) -> Vec<String> {
        let mut requests = self.requests.lock().await;
        let mut all = Vec::new();
        while let Ok(request) = requests.try_recv() {
            all.push(request);
        }
        all
    }

    async fn reports(&self) -> Vec<Report> {
        let requests = self.requests().await;
        requests
            .iter()
            .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
            .collect()
    }
}

async fn read_request(socket: &mut tokio::net::TcpStream) -> String {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = socket.read(&mut piece).await.unwrap();
        request.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if n == 0 || body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
                return text;
            }
        }
    }
}

impl Rig {
    async fn add_webhook(&self, hook: &Hook, when: &str) {
        let url = format!("http://127.0.0.1:{}/hooks/secret-path?x=1", hook.port);
        let webhook = json!({"webhook": {"name": "chat", "url": url, "when": when}, "secret": "hush"});
        let added: Value = answer(self.post("/reports/webhooks", webhook).await, StatusCode::CREATED).await;
        assert_eq!(added["name"], "chat");
    }
}
