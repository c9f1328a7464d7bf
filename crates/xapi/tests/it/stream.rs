//! Bulk streams.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use xapi::{Compression, Error, Export, ExportMetadata, Import, ImportMetadata, SrRef, VmRef};

use crate::fake::{Fake, Identity, Reply, Request, Stream, task, task_event};

const OK: &[u8] = b"HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-cache, no-store\r\n\
    task-id: OpaqueRef:task\r\nServer: xapi/26\r\nContent-Type: application/octet-stream\r\n\r\n";

fn vm() -> VmRef {
    VmRef::from("OpaqueRef:vm")
}

/// A pool that answers `path` with `reply`, and whose task ends as `ended`.
async fn host(
    path: &'static str,
    ended: serde_json::Value,
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Fake {
    Fake::plain(move |request| match (request.path.as_str(), request.call.as_str()) {
        (asked, _) if asked == path => reply(request),
        (_, "event.from") => Reply::Value(task_event(&ended)),
        (_, "task.get_record") => Reply::Value(ended.clone()),
        _ => Reply::Usual,
    })
    .await
}

#[tokio::test]
async fn an_export_is_read_to_the_end_of_the_connection() {
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let body = [OK, &data].concat();
    let host = host("/export", task("success", "", &[]), move |_| Reply::Raw(body.clone())).await;
    let pool = host.login().await;
    let mut export = pool.export(Export::new(vm())).await.unwrap();
    let mut read = Vec::new();
    export.read_to_end(&mut read).await.unwrap();
    assert!(read == data);
    assert_eq!(export.received(), 3_000_000);
    export.finish(&CancellationToken::new()).await.unwrap();
    let request = host.seen().into_iter().find(|request| request.path == "/export").unwrap();
    assert_eq!(request.query["ref"], "OpaqueRef:vm");
    assert_eq!(request.query["task_id"], "OpaqueRef:task");
    assert_eq!(request.headers["cookie"], "session_id=OpaqueRef:session");
    assert!(!request.query.contains_key("use_compression") && !request.query.contains_key("session_id"));
    assert_eq!(request.version, "HTTP/1.0");
    // as chunks, compressed
    let export = Export { compression: Compression::Zstd, ..Export::new(vm()) };
    let chunks: Vec<_> = pool.export(export).await.unwrap().chunks(1 << 20).collect().await;
    assert!(chunks.into_iter().flat_map(Result::unwrap).eq(data));
    assert_eq!(host.seen().last().unwrap().query["use_compression"], "zstd");
}

#[tokio::test]
async fn an_export_over_tls_may_end_without_farewell() {
    let identity = Identity::new();
    let host = Fake::tls(&identity, |request| match request.path.as_str() {
        "/export" => Reply::rest(|mut stream| async move {
            stream.write_all(OK).await.unwrap();
            stream.write_all(&[7; 100_000]).await.unwrap();
            stream.flush().await.unwrap();
            // dropped: the socket closes, TLS says nothing
        }),
        _ => Reply::Usual,
    })
    .await;
    let mut read = Vec::new();
    let mut export = host.login().await.export(Export::new(vm())).await.unwrap();
    export.read_to_end(&mut read).await.unwrap();
    assert_eq!(read.len(), 100_000);
}

#[tokio::test]
async fn a_refusal_is_told_as_the_task_tells_it() {
    let refused = task("failure", "", &["VM_BAD_POWER_STATE", "OpaqueRef:vm", "halted", "running"]);
    for answer in ["HTTP/1.1 500 Internal Error\r\nConnection: close\r\n\r\n<html><body>oops</body></html>", ""] {
        // the second is the host that sees no SR: the task fails, and nothing is answered at all
        let host = host("/export", refused.clone(), move |_| Reply::Raw(answer.into())).await;
        let error = host.login().await.export(Export::new(vm())).await.unwrap_err();
        assert_eq!(error.api_code(), Some("VM_BAD_POWER_STATE"), "{error:?}");
        assert_eq!(host.calls().last().unwrap(), "task.destroy");
    }
}

#[tokio::test]
async fn http_errors_are_told_when_the_task_knows_nothing_better() {
    for (status, reason) in [(401, "Unauthorised"), (403, "Forbidden"), (500, "Internal Error"), (431, "Too Large")] {
        let answer = format!(
            "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nWWW-Authenticate: Basic realm=\"xapi\"\r\n\r\n\
             <html><body><h1>HTTP {status}</h1>session OpaqueRef:session</body></html>"
        );
        let ended = task("success", "", &[]);
        let host = host("/export", ended, move |_| Reply::Raw(answer.clone().into())).await;
        let error = host.login().await.export(Export::new(vm())).await.unwrap_err();
        let shown = format!("{error:?}");
        assert!(matches!(error, Error::Http { status: found, .. } if found == status), "{shown}");
        assert!(shown.contains(&format!("HTTP {status} session (session)")), "{shown}");
    }
}

#[tokio::test]
async fn a_task_that_nobody_completes_is_given_up() {
    let host = host("/export", task("pending", "", &[]), |_| {
        Reply::Raw(b"HTTP/1.1 500 Internal Error\r\nConnection: close\r\n\r\n".to_vec())
    })
    .await;
    let error = host.login_impatiently().await.export(Export::new(vm())).await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 500, .. }), "{error:?}");
    assert_eq!(host.calls()[host.calls().len() - 2..], ["task.cancel", "task.destroy"]);
}

#[tokio::test]
async fn a_cut_export_is_explained_by_its_task() {
    let failed = task("failure", "", &["VDI_IO_ERROR", "Device I/O error"]);
    let host = host("/export", failed, |_| Reply::Raw([OK, b"half of it"].concat())).await;
    let mut export = host.login().await.export(Export::new(vm())).await.unwrap();
    let mut read = String::new();
    export.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "half of it", "its end says nothing");
    let cause = Error::ClosedEarly { address: export.address().to_owned(), what: "a disk" };
    let error = export.explain(cause).await;
    assert_eq!(error.api_code(), Some("VDI_IO_ERROR"), "{error:?}");
}

#[tokio::test]
async fn a_silent_export_is_left_in_the_end() {
    let host = host("/export", task("pending", "", &[]), |_| {
        Reply::rest(|mut stream| async move {
            stream.write_all(OK).await.unwrap();
            stream.write_all(b"a").await.unwrap();
            std::future::pending().await
        })
    })
    .await;
    let mut export = host.login_impatiently().await.export(Export::new(vm())).await.unwrap();
    let error = export.read_to_end(&mut Vec::new()).await.unwrap_err();
    let error = Error::from_io(error, export.address());
    assert!(matches!(error, Error::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn hostile_heads_end_in_an_error() {
    let many = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect::<String>();
    for answer in [
        "no http at all\r\n\r\n".to_owned(),
        format!("HTTP/1.0 200 OK\r\n{many}\r\n"),
        format!("HTTP/1.0 200 OK\r\nX: {}", "y".repeat(100_000)),
        "HTTP/1.0 302 Found\r\n\r\n".to_owned(),
        "HTTP/1.0 302 Found\r\nLocation: nowhere\r\n\r\n".to_owned(),
    ] {
        let shown = answer.chars().take(60).collect::<String>();
        let host = host("/export", task("success", "", &[]), move |_| Reply::Raw(answer.clone().into())).await;
        let error = host.login().await.export(Export::new(vm())).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{shown}: {error:?}");
    }
}

/// A pool of two hosts: the first sends `path` on to the second.
async fn two_hosts(path: &'static str, member: Identity, listed: bool) -> (Fake, Fake) {
    let served = Fake::tls(&member, move |request| match request.path.as_str() {
        asked if asked == path => {
            assert_eq!(request.headers["cookie"], "session_id=OpaqueRef:session");
            Reply::rest(|mut stream| async move {
                stream.write_all(OK).await.unwrap();
                stream.write_all(b"from the member").await.unwrap();
                stream.shutdown().await.unwrap();
            })
        }
        _ => Reply::Usual,
    })
    .await;
    let location = format!("https://{}{path}?whatever", served.address);
    let known = if listed { member.fingerprint() } else { Identity::new().fingerprint() };
    let known = known.with_colons();
    let identity = Identity::new();
    let master = Fake::tls(&identity, move |request| match (request.path.as_str(), request.call.as_str()) {
        (asked, _) if asked == path => {
            Reply::Raw(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nConnection: close\r\n\r\n").into())
        }
        (_, "Certificate.get_all_records") => Reply::Value(json!({
            "OpaqueRef:c": { "type": "host", "host": "OpaqueRef:h", "fingerprint_sha256": known }
        })),
        (_, "host.get_all_records") => Reply::Value(json!({ "OpaqueRef:h": {} })),
        (_, "task.get_record") => Reply::Value(task("pending", "", &[])),
        (_, "event.from") => Reply::Value(task_event(&task("success", "", &[]))),
        _ => Reply::Usual,
    })
    .await;
    (master, served)
}

#[tokio::test]
async fn a_redirect_to_a_member_is_followed() {
    let (master, member) = two_hosts("/export", Identity::new(), true).await;
    let mut export = master.login().await.export(Export::new(vm())).await.unwrap();
    let mut read = String::new();
    export.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "from the member");
    assert_eq!(export.address(), member.address);
    let (asked, followed) = (master.seen(), member.seen());
    let asked = asked.iter().find(|request| request.path == "/export").unwrap();
    assert_eq!(asked.query, followed[0].query);
}

#[tokio::test]
async fn a_redirect_to_a_stranger_is_not_followed() {
    let (master, member) = two_hosts("/export", Identity::new(), false).await;
    let error = master.login().await.export(Export::new(vm())).await.unwrap_err();
    assert!(matches!(error, Error::CertificateUnknown { .. }), "{error:?}");
    assert!(member.seen().is_empty(), "the session was not sent there");
}

/// Takes an import to the end of the client's half, into `kept`.
async fn take(mut stream: Stream, kept: Arc<Mutex<Vec<u8>>>) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    *kept.lock().unwrap() = body;
}

#[tokio::test]
async fn an_import_is_written_without_framing() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let result = "<value><array><data><value>OpaqueRef:new</value></data></array></value>";
    let host = {
        let kept = Arc::clone(&kept);
        host("/import", task("success", result, &[]), move |_| {
            let kept = Arc::clone(&kept);
            Reply::rest(move |stream| take(stream, kept))
        })
        .await
    };
    let import = Import { sr: Some(SrRef::from("OpaqueRef:sr")), restore: true, ..Import::default() };
    let mut upload = host.login().await.import(import).await.unwrap();
    let data: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    upload.write_all(&data).await.unwrap();
    assert_eq!(upload.sent(), 3_000_000);
    let result = upload.finish(&CancellationToken::new(), |_| {}).await.unwrap();
    assert_eq!(result.references::<VmRef>(), ["OpaqueRef:new".into()]);
    while kept.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(*kept.lock().unwrap() == data, "not a byte more");
    let request = host.seen().into_iter().find(|request| request.path == "/import").unwrap();
    assert_eq!((request.method.as_str(), request.query["restore"].as_str()), ("PUT", "true"));
    assert_eq!((request.query["sr_id"].as_str(), request.query.get("force")), ("OpaqueRef:sr", None));
    for header in ["content-length", "transfer-encoding", "expect"] {
        assert!(!request.headers.contains_key(header), "{header}");
    }
}

/// A host that reads until its client has said all, and answers only then.
async fn late(status: &'static str, ended: &'static str) -> (Fake, Arc<Mutex<Vec<u8>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let taken = Arc::clone(&kept);
    let host = host("/import", task(ended, "", &[]), move |_| {
        let taken = Arc::clone(&taken);
        Reply::rest(move |mut stream| async move {
            let mut body = Vec::new();
            stream.read_to_end(&mut body).await.unwrap();
            *taken.lock().unwrap() = body;
            stream.write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        })
    });
    (host.await, kept)
}

#[tokio::test]
async fn a_host_that_answers_late_is_sent_the_body_all_the_same() {
    let (host, kept) = late("200 OK", "success").await;
    let mut upload = host.login_impatiently().await.import(Import::default()).await.unwrap();
    upload.write_all(b"a body").await.unwrap();
    upload.finish(&CancellationToken::new(), |_| {}).await.unwrap();
    while kept.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*kept.lock().unwrap(), b"a body");

    let (host, _) = late("403 Forbidden", "pending").await;
    let mut upload = host.login_impatiently().await.import(Import::default()).await.unwrap();
    upload.write_all(b"a body").await.unwrap();
    let error = upload.finish(&CancellationToken::new(), |_| {}).await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 403, .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirected_import_sends_its_body_to_the_member_only() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let member = {
        let kept = Arc::clone(&kept);
        Fake::plain(move |_| {
            let kept = Arc::clone(&kept);
            Reply::rest(move |stream| take(stream, kept))
        })
        .await
    };
    let location = format!("http://{}/import", member.address);
    let master = host("/import", task("success", "", &[]), move |_| {
        Reply::Raw(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n").into())
    })
    .await;
    let mut upload = master.login().await.import(Import::default()).await.unwrap();
    upload.write_all(b"body").await.unwrap();
    upload.finish(&CancellationToken::new(), |_| {}).await.unwrap();
    while kept.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*kept.lock().unwrap(), b"body");
}

#[tokio::test]
async fn a_failing_import_is_explained_by_its_task() {
    let failed = task("failure", "", &["SR_BACKEND_FAILURE_44", "", "no space", ""]);
    let host = host("/import", failed, |_| {
        Reply::rest(|mut stream| async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await.unwrap();
            stream.read_exact(&mut [0; 1000]).await.unwrap();
            stream.write_all(b"HTTP/1.1 500 Internal Error\r\n\r\n<html>").await.unwrap();
        })
    })
    .await;
    let mut upload = host.login().await.import(Import::default()).await.unwrap();
    let error = loop {
        if let Err(error) = upload.write_all(&[0; 100_000]).await {
            break Error::from_io(error, upload.address());
        }
    };
    assert!(error.is_connection(), "{error:?}");
    assert!(upload.explain(error).await.is_sr_full());
}

#[tokio::test]
async fn an_import_that_nobody_reads_is_left_in_the_end() {
    let host = host("/import", task("pending", "", &[]), |_| {
        Reply::rest(|mut stream| async move {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            std::future::pending().await
        })
    })
    .await;
    let mut upload = host.login_impatiently().await.import(Import::default()).await.unwrap();
    let error = loop {
        if let Err(error) = upload.write_all(&[0; 100_000]).await {
            break Error::from_io(error, upload.address());
        }
    };
    assert!(matches!(error, Error::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn an_abandoned_import_is_cancelled_first() {
    let hung_up_after = Arc::new(AtomicUsize::new(usize::MAX));
    let calls = Arc::new(AtomicUsize::new(0));
    let host = {
        let (hung_up_after, calls) = (Arc::clone(&hung_up_after), Arc::clone(&calls));
        Fake::plain(move |request| match (request.path.as_str(), request.call.as_str()) {
            ("/import", _) => {
                let (hung_up_after, calls) = (Arc::clone(&hung_up_after), Arc::clone(&calls));
                Reply::rest(move |mut stream| async move {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                    hung_up_after.store(calls.load(Ordering::SeqCst), Ordering::SeqCst);
                })
            }
            (_, "task.cancel") => {
                calls.fetch_add(1, Ordering::SeqCst);
                Reply::Usual
            }
            (_, "event.from") => Reply::Value(task_event(&task("failure", "", &["TASK_CANCELLED", "OpaqueRef:task"]))),
            _ => Reply::Usual,
        })
        .await
    };
    let mut upload = host.login().await.import(Import::default()).await.unwrap();
    upload.write_all(b"half").await.unwrap();
    assert_eq!(upload.abandon().await.unwrap(), None);
    while hung_up_after.load(Ordering::SeqCst) == usize::MAX {
        tokio::task::yield_now().await;
    }
    assert!(hung_up_after.load(Ordering::SeqCst) >= 1);
}

#[tokio::test]
async fn metadata_has_a_length_that_must_be_met() {
    let answer = |said: usize| format!("HTTP/1.0 200 OK\r\nContent-Length: {said}\r\nConnection: close\r\n\r\novaxml");
    let exact = host("/export_metadata", task("success", "", &[]), move |_| Reply::Raw(answer(6).into())).await;
    let pool = exact.login().await;
    assert_eq!(&pool.export_metadata(ExportMetadata::new(vm())).await.unwrap()[..], b"ovaxml");
    assert_eq!(exact.seen().iter().find(|r| r.path == "/export_metadata").unwrap().query["export_snapshots"], "false");
    for said in [7, usize::MAX / 2] {
        let host = host("/export_metadata", task("success", "", &[]), move |_| Reply::Raw(answer(said).into())).await;
        let error = host.login().await.export_metadata(ExportMetadata::new(vm())).await.unwrap_err();
        assert!(matches!(error, Error::ClosedEarly { .. } | Error::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn metadata_is_imported_over_disks_that_exist() {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let host = {
        let kept = Arc::clone(&kept);
        host("/import_metadata", task("success", "", &[]), move |_| {
            let kept = Arc::clone(&kept);
            Reply::rest(move |stream| take(stream, kept))
        })
        .await
    };
    let vdis = [("old-uuid".to_owned(), "new-uuid".to_owned())].into();
    let import = ImportMetadata { restore: true, vdis, ..ImportMetadata::default() };
    let pool = host.login().await;
    pool.import_metadata(b"tar", import).await.unwrap();
    while kept.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(*kept.lock().unwrap(), b"tar");
    let request = host.seen().into_iter().find(|request| request.path == "/import_metadata").unwrap();
    assert_eq!((request.query["vdi:old-uuid"].as_str(), request.query["restore"].as_str()), ("new-uuid", "true"));
    assert_eq!(request.headers["content-length"], "3");
    let vdis = (0..20).map(|n| (format!("{n:036}"), format!("{n:036}"))).collect();
    let error = pool.import_metadata(b"tar", ImportMetadata { vdis, ..ImportMetadata::default() }).await.unwrap_err();
    assert!(matches!(error, Error::HeadTooLong { .. }), "{error:?}");
}
