//! Stands between us and the server, and spoils one in so many exchanges.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// The server says that it is busy.
    Status(u16),
    /// The connection ends without an answer.
    Hangup,
    /// The connection ends so many bytes before the end of the answer.
    CutsAnswer(usize),
    /// A bit of the request's body turns over, and the server says that it does not match its signature.
    SpoilsRequest,
    /// A bit of it turns over in the server, which tells the checksum of what it has stored.
    SpoilsObject,
}

pub(super) struct Proxy {
    port: u16,
    faults: Arc<AtomicUsize>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Spoils one in `every` exchanges.
    pub(super) async fn start(server: &str, every: usize, fault: Fault) -> Self {
        let server = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let faults = Arc::new(AtomicUsize::new(0));
        let counted = faults.clone();
        let task = tokio::spawn(async move {
            let seen = Arc::new(AtomicUsize::new(0));
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = server.clone();
                let (count, seen) = (counted.clone(), seen.clone());
                // Whoever hangs up first ends it.
                tokio::spawn(async move {
                    let choose = |has_body: bool| {
                        let counts = has_body || !matches!(fault, Fault::SpoilsRequest | Fault::SpoilsObject);
                        let number = seen.fetch_add(usize::from(counts), Ordering::Relaxed) + 1;
                        let chosen = counts && number.is_multiple_of(every);
                        count.fetch_add(usize::from(chosen), Ordering::Relaxed);
                        chosen.then_some(fault)
                    };
                    drop(exchange(client, &server, choose).await);
                });
            }
        });
        Proxy { port, faults, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(super) fn faults(&self) -> usize {
        self.faults.load(Ordering::Relaxed)
    }
}

/// One request and its answer; then the connection ends, so that each request has one of its own.
async fn exchange(
    mut client: TcpStream,
    server: &str,
    choose: impl FnOnce(bool) -> Option<Fault>,
) -> std::io::Result<()> {
    let (head, mut body) = request(&mut client).await?;
    let fault = choose(!body.is_empty());
    match fault {
        Some(Fault::Status(status)) => {
            let answer = format!("HTTP/1.1 {status} Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes()).await;
        }
        Some(Fault::Hangup) => return Ok(()),
        _ => {}
    }
    assert!(body.is_empty() || head.contains(&format!("x-amz-content-sha256: {}", hex::encode(Sha256::digest(&body)))));
    if let Some(Fault::SpoilsRequest | Fault::SpoilsObject) = fault
        && !body.is_empty()
    {
        body[0] ^= 1;
    }
    if let (Some(Fault::SpoilsRequest), false) = (fault, body.is_empty()) {
        let said = "<Error><Code>XAmzContentSHA256Mismatch</Code></Error>";
        let answer = format!("HTTP/1.1 400 Bad\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{said}", said.len());
        return client.write_all(answer.as_bytes()).await;
    }
    let mut upstream = TcpStream::connect(server).await?;
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    upstream.write_all(head.as_bytes()).await?;
    upstream.write_all(&body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if let (Some(Fault::SpoilsObject), false) = (fault, body.is_empty()) {
        let stored = format!("x-amz-checksum-sha256: {}\r\n\r\n", BASE64_STANDARD.encode(Sha256::digest(&body)));
        let text = String::from_utf8_lossy(&answer).to_ascii_lowercase();
        let kept: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.contains("checksum")).collect();
        answer = (kept.join("\r\n") + "\r\n" + &stored).into_bytes();
    }
    if let Some(Fault::CutsAnswer(bytes)) = fault {
        answer.truncate(answer.len().saturating_sub(bytes));
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}

async fn request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let lower = text.to_ascii_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
    while bytes.len() < head + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((text, bytes.split_off(head)))
}
