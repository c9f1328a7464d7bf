//! Plain TCP.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::{Connector, Io};
use crate::{Address, Error, Fingerprint, Result};

/// A silent peer is asked whether it lives after this time, so that firewalls keep the connection and a dead peer is found.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 8;
/// What we sent must be acknowledged within this time.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5 * 60);

/// Connects in the clear.
#[derive(Debug)]
pub(crate) struct TcpConnector {
    address: Address,
    patience: Duration,
}

impl TcpConnector {
    pub(crate) fn new(address: Address, patience: Duration) -> Self {
        Self { address, patience }
    }

    /// Tries every address of the name in turn; the last error counts.
    pub(crate) async fn open(&self) -> Result<TcpStream> {
        let fail = |source| Error::Unreachable { address: self.address.to_string(), source };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer in time");
        let found = timeout(self.patience, lookup_host((self.address.host.as_str(), self.address.port)));
        let found = found.await.map_err(|_| fail(late()))?.map_err(fail)?;
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in found {
            match timeout(self.patience, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    tune(&stream).map_err(fail)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = late(),
            }
        }
        Err(fail(last))
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    Ok(())
}

#[async_trait]
impl Connector for TcpConnector {
    fn address(&self) -> &Address {
        &self.address
    }

    async fn connect(&self) -> Result<Box<dyn Io>> {
        Ok(Box::new(self.open().await?))
    }

    fn certificate(&self) -> Option<Fingerprint> {
        None
    }

    fn is_tls(&self) -> bool {
        false
    }
}
