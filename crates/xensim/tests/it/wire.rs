//! The HTTP server itself, over raw sockets.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pool::Pool;

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_limited() {
    let pool = Pool::start().await;
    let head = |len: usize| {
        let fixed = "GET /nothing HTTP/1.1\r\nX: \r\n\r\n".len();
        format!("GET /nothing HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(len - fixed))
    };
    assert_eq!(head(1024).len(), 1024);
    assert_eq!(pool.send(0, head(1024).as_bytes()).await.status(), 404);
    let answer = pool.send(0, head(1025).as_bytes()).await;
    assert_eq!((answer.status(), answer.header("content-type").as_deref()), (431, Some("text/html")));
    let endless = format!("GET /{}", "a".repeat(1100));
    assert_eq!(pool.send(0, endless.as_bytes()).await.status(), 431);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_answers_is_told_in_html() {
    let pool = Pool::start().await;
    for (request, status) in [
        ("GET /nothing HTTP/1.1\r\n\r\n", 404),
        ("DELETE / HTTP/1.1\r\n\r\n", 501),
        ("GET /export_raw_vdi/?vdi=x HTTP/1.1\r\n\r\n", 501),
        ("PUT /import_raw_vdi?vdi=x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 501),
        ("what is this\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\n\r\n", 500),
        ("POST /jsonrpc HTTP/1.1\r\nContent-Length: 307201\r\n\r\n", 500),
        ("GET /export HTTP/1.1\r\n\r\n", 401),
    ] {
        let answer = pool.send(0, request.as_bytes()).await;
        assert_eq!(answer.status(), status, "{request}");
        assert_eq!(answer.header("content-type").as_deref(), Some("text/html"), "{request}");
        assert_eq!(answer.header("connection").as_deref(), Some("close"), "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_may_ask_first() {
    let pool = Pool::start().await;
    for path in ["/", "/json", "/jsonrpc"] {
        let request = format!("OPTIONS {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
        let answer = pool.send(0, request.as_bytes()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("access-control-allow-origin").as_deref(), Some("*"));
    }
}

/// Reads one answer with a length from a connection that goes on.
async fn next_answer(stream: &mut tokio::net::TcpStream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_many_calls() {
    let pool = Pool::start().await;
    let mut stream = pool.connect(0).await;
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "VM.get_all", "params": [pool.session] }).to_string();
    let call = format!("POST /jsonrpc HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // The second one is sent before the first is answered.
    stream.write_all(format!("{call}{call}").as_bytes()).await.unwrap();
    for _ in 0..2 {
        let (head, body) = next_answer(&mut stream).await;
        assert!(head.contains("Content-Type: application/json\r\n"), "{head}");
        assert!(head.contains("Connection: keep-alive\r\n"), "{head}");
        assert!(head.contains("Access-Control-Allow-Origin: *\r\n"), "{head}");
        let reply: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(reply["id"], 7);
    }
    let call = "POST /RPC2 HTTP/1.0\r\nContent-Length: 5\r\n\r\n12345";
    stream.write_all(call.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.starts_with(b"HTTP/1.0 500 "), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_client_that_went_away_is_dropped() {
    let pool = Pool::start().await;
    pool.control("POST", "/faults", Some(json!({ "kind": "stall_call", "method": "VM.get_all", "when": "before" })))
        .await;
    let body = json!({ "jsonrpc": "2.0", "id": 7, "method": "VM.get_all", "params": [pool.session] }).to_string();
    let call = format!("POST /jsonrpc HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = pool.connect(0).await;
    stream.write_all(call.as_bytes()).await.unwrap();
    while pool.sim.faults().stalled().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.control("GET", "/stalled", None).await.1, json!([{ "method": "VM.get_all", "when": "before" }]));
    drop(stream);
    while !pool.sim.faults().stalled().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_nothing_is_sent_away() {
    let pool = Pool::start().await;
    let mut stream = pool.connect(0).await;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    assert!(all.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&all));
}
