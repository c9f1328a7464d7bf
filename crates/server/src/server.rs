//! The server: a data directory, an engine, a listener.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use tokio::task::JoinHandle;
use xenkeep_catalog::Catalog;

use crate::auth::Tokens;
use crate::data_dir::{self, DataDir, ServerFile};
use crate::tls::{self, Identity};
use crate::{Engine, Error, ServerConfig, Tls, rest};

/// How long open requests may take to end when the server goes down.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may take over the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that answers. Take it down with [`Server::shutdown`]; movers should have been stopped before.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    address: SocketAddr,
    url: String,
    certificate_sha256: Option<String>,
    handle: Handle<SocketAddr>,
    /// None once it has been waited for.
    listening: Option<JoinHandle<std::io::Result<()>>>,
    dir: DataDir,
    mover: String,
}

impl Server {
    /// Takes the data directory, brings the catalogue up to date, recovers what a dead server left, and listens.
    pub async fn start(config: ServerConfig) -> Result<Self, Error> {
        let https = speaks_https(config.tls, config.listen)?;
        let dir = DataDir::take(&config.data_dir)?;
        let catalog = match &config.database_url {
            Some(url) => Catalog::connect(dir.path(), url).await?,
            None => Catalog::open(dir.path()).await?,
        };
        let mover = mover_name(&dir, &catalog, config.mover)?;
        let tokens = Tokens::load(&dir, &catalog, &mover, config.clock.now()).await?;
        let identity = match https {
            true => Some(tls::identity(&dir, config.listen.ip(), config.clock.now())?),
            false => None,
        };
        // Listens before anything is decided: a taken port must not interrupt any job's records.
        let (listener, address) = listen(config.listen)?;
        let engine =
            Engine::start(catalog, config.clock, config.limits, config.time_zone, &mover, config.has_local_mover)
                .await?;
        let router = rest::router(engine.clone(), Arc::new(tokens));
        let handle = Handle::new();
        let url = url(&identity, address);
        let certificate_sha256 = identity.as_ref().map(|identity| identity.sha256.clone());
        let listening =
            serve(listener, identity, router, handle.clone()).map_err(|source| Error::Listen { address, source })?;
        dir.announce(&ServerFile {
            url: url.clone(),
            pid: std::process::id(),
            certificate_sha256: certificate_sha256.clone(),
        })?;
        tracing::info!(%url, data_dir = %dir.path().display(), "listening");
        Ok(Self { engine, address, url, certificate_sha256, handle, listening: Some(listening), dir, mover })
    }

    /// The engine, from which movers lease their jobs.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Name of the mover in the server's own process.
    #[must_use]
    pub fn mover(&self) -> &str {
        &self.mover
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it is reached from this machine, such as `https://127.0.0.1:7443`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate that it shows (SHA-256, lower-case hex); none over plain HTTP.
    #[must_use]
    pub fn certificate_sha256(&self) -> Option<&str> {
        self.certificate_sha256.as_deref()
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Stops listening, ends what waits, waits for open requests (not for ever), and closes everything.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        self.dir.withdraw();
        self.handle.graceful_shutdown(Some(GRACE));
        self.engine.stopping().cancel();
        if let Some(listening) = self.listening.take() {
            match listening.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the listener ended with an error"),
                Err(error) => tracing::error!(%error, "the listener broke down"),
            }
        }
        self.engine.stop().await;
        Ok(())
    }
}

impl Drop for Server {
    /// The data directory is free from now on: nothing of ours may answer or decide any more.
    fn drop(&mut self) {
        self.handle.shutdown();
        self.engine.stopping().cancel();
    }
}

/// The name of the mover in this process. Where other servers share the database, each needs one of its own: by it a
/// start knows which jobs were its own. It lies in the data directory.
fn mover_name(dir: &DataDir, catalog: &Catalog, name: String) -> Result<String, Error> {
    if !catalog.is_shared() {
        return Ok(name);
    }
    let path = dir.join("mover");
    if let Some(kept) = data_dir::read(&path)? {
        return Ok(kept.trim().to_owned());
    }
    let name = format!("{name}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
    data_dir::write_private(&path, format!("{name}\n").as_bytes())?;
    Ok(name)
}

/// HTTPS on anything but loopback, and never plain HTTP where others can listen in.
fn speaks_https(tls: Tls, listen: SocketAddr) -> Result<bool, Error> {
    let loopback = match listen.ip() {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(ip.is_loopback(), |ip| ip.is_loopback()),
        IpAddr::V4(ip) => ip.is_loopback(),
    };
    match tls {
        Tls::Auto => Ok(!loopback),
        Tls::Always => Ok(true),
        Tls::Never if loopback => Ok(false),
        Tls::Never => Err(Error::PlainOffLoopback(listen)),
    }
}

fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), Error> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|source| Error::Listen { address, source })
}

fn url(identity: &Option<Identity>, mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        // Every address of the machine will do; this one it has for certain.
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("{}://{address}", if identity.is_some() { "https" } else { "http" })
}

fn serve(
    listener: std::net::TcpListener,
    identity: Option<Identity>,
    router: axum::Router,
    handle: Handle<SocketAddr>,
) -> std::io::Result<JoinHandle<std::io::Result<()>>> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    match identity {
        Some(identity) => {
            let config = RustlsConfig::from_config(identity.config);
            let mut server = axum_server::from_tcp_rustls(listener, config)?.handle(handle).http1_only();
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            Ok(tokio::spawn(server.serve(service)))
        }
        None => {
            let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
            server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            Ok(tokio::spawn(server.serve(service)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_wherever_others_could_listen_in() {
        let loopback = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
        let open = ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"];
        for address in loopback.map(|text| text.parse().unwrap()) {
            assert!(!speaks_https(Tls::Auto, address).unwrap(), "{address}");
            assert!(!speaks_https(Tls::Never, address).unwrap(), "{address}");
            assert!(speaks_https(Tls::Always, address).unwrap(), "{address}");
        }
        for address in open.map(|text| text.parse().unwrap()) {
            assert!(speaks_https(Tls::Auto, address).unwrap(), "{address}");
            let refused = speaks_https(Tls::Never, address).unwrap_err();
            assert_eq!(refused.problem().code, "server.plain_off_loopback", "{address}");
        }
    }
}
