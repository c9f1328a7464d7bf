//! The RPC endpoints: their bodies and heads; what is in them is no business of ours.

use tokio::io::AsyncReadExt;

use crate::fault::FaultKind;
use crate::rpc::{self, ASK_THUMBPRINT, Flavour, RpcReply};

use super::Site;
use super::answer::{Answer, Status};
use super::conn::Conn;
use super::head::Head;

/// RPC bodies may have this many bytes (xapi: `Constants.http_limit_max_rpc_size`).
const MAX_BODY_BYTES: u64 = 300 << 10;

/// What becomes of the connection after a call.
pub(super) enum After {
    KeepAlive,
    Close,
    Reset,
}

/// Answers one call.
pub(super) async fn answer(site: &Site, conn: &mut Conn, head: &Head, flavour: Flavour) -> After {
    let length = match head.content_length() {
        Some(length) if length <= MAX_BODY_BYTES => length,
        Some(_) => return refuse(conn, head, "The request is too large.").await,
        None => return refuse(conn, head, "The request has no length.").await,
    };
    let mut body = vec![0; length as usize];
    if conn.read_exact(&mut body).await.is_err() {
        return After::Reset;
    }
    if site.world.faults.strike(FaultKind::DropRpc).is_some() {
        return After::Reset;
    }
    let call = rpc::handle(&site.world, site.host, flavour, head.header(ASK_THUMBPRINT), &body);
    let Some(reply) = unless_gone(conn, call).await else { return After::Reset };
    match send(conn, head, reply).await {
        Ok(()) if head.keeps_alive() => After::KeepAlive,
        Ok(()) => After::Close,
        Err(_) => After::Reset,
    }
}

/// Waits for the reply, but not longer than the client does: `event.from` may block for a minute.
async fn unless_gone(conn: &mut Conn, call: impl Future<Output = RpcReply>) -> Option<RpcReply> {
    let mut call = std::pin::pin!(call);
    loop {
        tokio::select! {
            reply = &mut call => return Some(reply),
            read = conn.read_ahead(), if conn.ahead.is_empty() => match read {
                Ok(count) if count > 0 => {}
                _ => return None,
            },
        }
    }
}

async fn send(conn: &mut Conn, head: &Head, reply: RpcReply) -> std::io::Result<()> {
    let status = if reply.status == 200 { Status::Ok } else { Status::InternalError };
    let connection = if head.keeps_alive() { "keep-alive" } else { "close" };
    let mut answer = Answer::new(head.minor, status)
        .header("Connection", connection)
        .uncached()
        .header("Content-Type", reply.content_type)
        .header("Access-Control-Allow-Origin", "*")
        .header("Access-Control-Allow-Headers", "X-Requested-With");
    for (name, value) in &reply.headers {
        answer = answer.header(name, value);
    }
    answer.send(conn, reply.body.as_bytes()).await
}

/// Answers the question of a browser whether it may call.
pub(super) async fn preflight(conn: &mut Conn, head: &Head) -> After {
    let connection = if head.keeps_alive() { "keep-alive" } else { "close" };
    let answer = Answer::new(head.minor, Status::Ok)
        .header("Connection", connection)
        .uncached()
        .header("Access-Control-Allow-Origin", "*")
        .header("Access-Control-Allow-Headers", "X-Requested-With, Content-Type")
        .header("Access-Control-Allow-Methods", "POST, OPTIONS");
    match answer.send(conn, b"").await {
        Ok(()) if head.keeps_alive() => After::KeepAlive,
        _ => After::Close,
    }
}

async fn refuse(conn: &mut Conn, head: &Head, text: &str) -> After {
    let _ = Answer::send_error(head.minor, Status::InternalError, text, conn).await;
    After::Close
}
