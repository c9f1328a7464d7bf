//! A wire between mover and pool that can be cut at any call.
//!
//! Calls (`POST`) are counted; at the chosen one the mover is struck dead, or its connection cut, before the call reaches
//! the pool or after the pool has done it and before the mover hears.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// When, in respect to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

/// What happens to the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Everything stands still: the mover is about to be killed.
    Freeze,
    /// This connection breaks.
    Break,
}

#[derive(Clone, Copy)]
struct Plan {
    call: usize,
    moment: Moment,
    cut: Cut,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Option<Plan>>,
    calls: Mutex<Vec<String>>,
    frozen: Mutex<bool>,
    changed: Notify,
}

pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

impl Tap {
    pub(crate) async fn start(pool: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((mover, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                tokio::spawn(async move {
                    if let Ok(pool) = TcpStream::connect(pool).await {
                        let _ = relay(mover, pool, &shared).await;
                    }
                });
            }
        });
        Self { address, shared }
    }

    /// Counts from now on; cuts at call number `call` (from 1).
    pub(crate) fn plan(&self, call: usize, moment: Moment, cut: Cut) {
        self.shared.calls.lock().unwrap().clear();
        *self.shared.frozen.lock().unwrap() = false;
        *self.shared.plan.lock().unwrap() = Some(Plan { call, moment, cut });
    }

    /// Cuts no more; the methods called since [`Tap::plan`].
    pub(crate) fn no_plan(&self) -> Vec<String> {
        *self.shared.plan.lock().unwrap() = None;
        self.shared.calls.lock().unwrap().clone()
    }

    /// Waits until the wire is frozen.
    pub(crate) async fn frozen(&self) {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if *self.shared.frozen.lock().unwrap() {
                return;
            }
            changed.await;
        }
    }
}

impl Shared {
    /// Counts a call; what is to happen to it.
    fn count(&self, method: String) -> Option<Plan> {
        let mut calls = self.calls.lock().unwrap();
        calls.push(method);
        self.plan.lock().unwrap().filter(|plan| plan.call == calls.len())
    }

    async fn cut(&self, cut: Cut) {
        if cut == Cut::Freeze {
            *self.frozen.lock().unwrap() = true;
            self.changed.notify_waiters();
            std::future::pending::<()>().await;
        }
    }
}

async fn relay(mut mover: TcpStream, mut pool: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let Some(request) = message(&mut mover).await? else { return Ok(()) };
        if !request.starts_with(b"POST") {
            pool.write_all(&request).await?;
            tokio::io::copy_bidirectional(&mut mover, &mut pool).await?;
            return Ok(());
        }
        let plan = shared.count(method(&request));
        if let Some(plan) = plan.filter(|plan| plan.moment == Moment::Before) {
            shared.cut(plan.cut).await;
            return Ok(());
        }
        pool.write_all(&request).await?;
        let Some(answer) = message(&mut pool).await? else { return Ok(()) };
        if let Some(plan) = plan {
            shared.cut(plan.cut).await;
            return Ok(());
        }
        mover.write_all(&answer).await?;
    }
}

/// A head, with the body that its Content-Length announces. The body of anything but a call is left to be streamed.
async fn message(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    if bytes.starts_with(b"GET") || bytes.starts_with(b"PUT") {
        return Ok(Some(bytes));
    }
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let end = head + length.unwrap_or(0);
    while bytes.len() < end {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(bytes))
}

fn method(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let rest = text.split("\"method\":\"").nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default().to_owned()
}
