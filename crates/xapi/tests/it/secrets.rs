//! Nothing secret is told to the log, however much is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};

use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use xapi::{Export, Pool, params};

use crate::fake::{Fake, Identity, Reply, task, task_event};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn neither_password_nor_session_is_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let identity = Identity::new();
    let host = Fake::tls(&identity, |request| match (request.path.as_str(), request.call.as_str()) {
        ("/export", _) => Reply::Raw(b"HTTP/1.0 500 No OpaqueRef:session\r\n\r\n<html>OpaqueRef:session".to_vec()),
        (_, "VM.get_uuid") => Reply::failure("SESSION_INVALID", ["OpaqueRef:session"]),
        (_, "VM.start") => Reply::failure("INTERNAL_ERROR", ["bad session_id=OpaqueRef:session&more"]),
        (_, "event.from") => Reply::Value(task_event(&task("success", "", &[]))),
        (_, "task.get_record") => Reply::Value(task("success", "", &[])),
        _ => Reply::Usual,
    })
    .await;
    let pool = Pool::login(host.endpoint(), "root", &"pa55word".to_string().into()).await.unwrap();
    let mut shown = format!("{pool:?}");
    shown += &format!("{:?}", pool.run("VM.get_uuid", params![]).await.unwrap_err());
    shown += &format!("{:?}", pool.run("VM.start", params![]).await.unwrap_err());
    match pool.export(Export::new("OpaqueRef:vm".into())).await {
        Ok(mut export) => drop(export.read_to_end(&mut Vec::new()).await),
        Err(error) => shown += &format!("{error:?}"),
    }
    pool.task("OpaqueRef:task".into()).wait(&CancellationToken::new(), |_| {}).await.unwrap();
    pool.logout().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("logging in again"), "the log was listened to: {log}");
    for secret in ["pa55word", "OpaqueRef:session"] {
        assert!(!log.contains(secret), "{log}");
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("(session)"));
}
