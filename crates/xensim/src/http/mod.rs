//! The hosts' HTTP servers.
//!
//! Written on the bare stream: the answers of an XenServer host are unlike those of any HTTP library
//! (bodies without length, a second answer behind a broken body, PUTs without length).

mod answer;
mod archive;
mod conn;
mod database;
mod export;
mod head;
mod hosts;
mod import;
mod metadata;
mod objects;
mod ova;
mod route;
mod rpc;
mod stream;
mod tls;
mod transfer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::model::{Tables, Value};
use crate::rpc::Flavour;
use crate::world::World;

use answer::{Answer, Status};
use conn::Conn;
use head::{Head, HeadError};
use route::Route;
use rpc::After;

pub(crate) use tls::Identity;

/// The version that archives carry and are judged by; see also [`answer::SERVER`].
fn xapi_version(world: &World, t: &Tables) -> (u64, u64) {
    let software = t.map(world.master(), "software_version");
    let text = software.get("xapi").and_then(Value::as_str).unwrap_or_default();
    let (major, minor) = text.split_once('.').unwrap_or((text, ""));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

/// A host answers this many connections at once.
const MAX_CONNECTIONS: usize = 800;

/// Where a request arrived.
#[derive(Clone)]
struct Site {
    world: World,
    /// Position of the host in the pool.
    host: usize,
}

/// Answers all connections to one port of a host while that is up, until told to stop.
pub(crate) async fn serve(
    world: World,
    host: usize,
    mut listener: TcpListener,
    tls: TlsAcceptor,
    stop: CancellationToken,
) {
    let mut up = world.hosts_up[host].subscribe();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = answer_all(&world, host, &listener, &tls) => {}
            // The sender lives as long as the pool.
            _ = up.wait_for(|up| !up) => {}
        }
        let Ok(address) = listener.local_addr() else { return };
        drop(listener);
        // Nothing listens, so connections are refused; but the port stays ours.
        let Ok(reserved) = reserve(address).await else { return };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = up.wait_for(|up| *up) => {}
        }
        match reserved.listen(1024) {
            Ok(again) => listener = again,
            Err(_) => return,
        }
    }
}

/// A socket at an address that was listened at just now.
async fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    let mut tries = 0;
    while let Err(error) = socket.bind(address) {
        tries += 1;
        if tries == 100 {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(socket)
}

async fn answer_all(world: &World, host: usize, listener: &TcpListener, tls: &TlsAcceptor) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Dropping the set ends what still runs.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(listener, &room) => accepted,
        };
        let Ok((stream, permit)) = accepted else {
            // Out of file descriptors, most likely: others must end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (site, tls) = (Site { world: world.clone(), host }, tls.clone());
        connections.spawn(async move {
            if let Ok(conn) = Conn::accept(stream, &tls).await {
                converse(site, conn).await;
            }
            drop(permit);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

/// Answers the requests of a connection, one after the other.
async fn converse(site: Site, mut conn: Conn) {
    let mut first = true;
    loop {
        let head = match Head::read(&mut conn, first).await {
            Ok(head) => head,
            Err(HeadError::Gone) => return,
            Err(HeadError::Refused(status)) => {
                return refuse(conn, 1, status, "The request can't be read.").await;
            }
        };
        first = false;
        tracing::debug!(method = head.method, path = head.path(), host = site.host, "request");
        let after = match Route::find(&head.method, head.path()) {
            Ok(Route::XmlRpc) => rpc::answer(&site, &mut conn, &head, Flavour::Xml).await,
            Ok(Route::JsonRpc) => rpc::answer(&site, &mut conn, &head, Flavour::Json).await,
            Ok(Route::Preflight) => rpc::preflight(&mut conn, &head).await,
            Ok(Route::File) => return refuse(conn, head.minor, Status::NotFound, "There is no such file.").await,
            Ok(Route::Export) => return transfer::serve(site, conn, head, transfer::Kind::Export).await,
            Ok(Route::ExportMetadata) => {
                return transfer::serve(site, conn, head, transfer::Kind::ExportMetadata).await;
            }
            Ok(Route::Import) => return transfer::serve(site, conn, head, transfer::Kind::Import).await,
            Ok(Route::ImportMetadata) => {
                return transfer::serve(site, conn, head, transfer::Kind::ImportMetadata).await;
            }
            Ok(Route::DumpDatabase) => return transfer::serve(site, conn, head, transfer::Kind::DumpDatabase).await,
            Ok(Route::RestoreDatabase) => {
                return transfer::serve(site, conn, head, transfer::Kind::RestoreDatabase).await;
            }
            Ok(Route::HostBackup) => return transfer::serve(site, conn, head, transfer::Kind::HostBackup).await,
            Ok(Route::HostRestore) => return transfer::serve(site, conn, head, transfer::Kind::HostRestore).await,
            Ok(Route::Missing) => {
                let text = "Single disks can't be exported or imported here.";
                return refuse(conn, head.minor, Status::NotImplemented, text).await;
            }
            Err(status) => return refuse(conn, head.minor, status, "There is nobody to answer this.").await,
        };
        match after {
            After::KeepAlive => {}
            After::Close => return conn.close().await,
            After::Reset => return conn.reset(),
        }
    }
}

async fn refuse(mut conn: Conn, minor: u8, status: Status, text: &str) {
    if Answer::send_error(minor, status, text, &mut conn).await.is_ok() {
        conn.close().await;
    }
}
