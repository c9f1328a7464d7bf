//! What nobody who means well would send.

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{Rig, problem, refused};

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let rig = Rig::start().await;
    for path in ["/", "/nothing", "/clients/", "/clients/a/b/c", "/%00", "/..%2f..%2fetc/passwd", "//clients"] {
        let response = rig.send(Method::GET, path).await;
        refused(response, StatusCode::NOT_FOUND, "request.no_such_path").await;
    }
    for (method, path) in [(Method::PUT, "/clients"), (Method::PATCH, "/jobs/x"), (Method::POST, "/health")] {
        let response = rig.send(method, path).await;
        refused(response, StatusCode::METHOD_NOT_ALLOWED, "request.no_such_method").await;
    }
    // Outside of the API, too.
    let response = reqwest::get(rig.server().url()).await.unwrap();
    refused(response, StatusCode::NOT_FOUND, "request.no_such_path").await;
}

#[tokio::test]
async fn bodies_that_are_none_are_problems() {
    let rig = Rig::start().await;
    let send = async |content_type: &'static str, body: Vec<u8>| {
        rig.request(Method::POST, "/backups").header(CONTENT_TYPE, content_type).body(body).send().await.unwrap()
    };
    let json = "application/json";
    let nested = [vec![b'['; 60_000], vec![b']'; 10]].concat();
    for (content_type, body, status, code) in [
        (json, b"{".to_vec(), 400, "request.not_json"),
        (json, Vec::new(), 400, "request.not_json"),
        (json, b"\xff\xfe\x00".to_vec(), 400, "request.not_json"),
        (json, nested, 422, "request.invalid"),
        (json, b"null".to_vec(), 422, "request.invalid"),
        (json, b"[]".to_vec(), 422, "request.invalid"),
        (json, b"{\"client\": 1}".to_vec(), 422, "request.invalid"),
        (json, b"{\"client\": \"a\", \"client\": \"b\"}".to_vec(), 422, "request.invalid"),
        ("text/plain", b"{}".to_vec(), 415, "request.not_json"),
        (json, vec![b' '; (1 << 20) + 1], 413, "request.too_large"),
    ] {
        let response = send(content_type, body.clone()).await;
        let shown: String = body.iter().take(20).map(|byte| char::from(*byte)).collect();
        let problem = problem(response, StatusCode::from_u16(status).unwrap()).await;
        assert_eq!(problem.code, code, "{shown}: {problem:?}");
        assert!(problem.message.len() < 400, "{problem:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_not_read_to_its_end() {
    let rig = Rig::start().await;
    let mut socket = TcpStream::connect(rig.server().local_addr()).await.unwrap();
    let head = format!(
        "POST /api/v1/backups HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: 1000000000000\r\n\r\n",
        rig.token()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = socket.into_split();
    let flood = tokio::spawn(async move {
        let junk = vec![b' '; 64 << 10];
        for _ in 0..8192 {
            if writing.write_all(&junk).await.is_err() {
                return true;
            }
        }
        false
    });
    let mut answer = Vec::new();
    // The server hangs up while we are still sending, so the end may be a reset.
    let _ = reading.read_to_end(&mut answer).await;
    assert!(flood.await.unwrap(), "it read 512 MiB of it");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn garbage_on_the_wire_harms_nobody() {
    let rig = Rig::start().await;
    let oversized = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(2 << 20)).into_bytes();
    for garbage in [b"\x16\x03\x01\x02\x00\x01".to_vec(), b"GET\r\n\r\n".to_vec(), vec![0; 100_000], oversized] {
        let mut socket = TcpStream::connect(rig.server().local_addr()).await.unwrap();
        // The server may hang up in the middle of it.
        let _ = socket.write_all(&garbage).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    let health: Value = rig.get("/health").await;
    assert_eq!(health["status"], "ok");
}
