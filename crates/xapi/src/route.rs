//! Whether and over which way a host can be reached, before anything is said to it.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::connect::TcpConnector;
use crate::{Address, Error, Pool, Result};

impl Pool {
    /// Our address and the master's, of a connection like those that data travel over.
    ///
    /// # Errors
    /// [`Error::Unreachable`].
    pub async fn route(&self) -> Result<(SocketAddr, SocketAddr)> {
        route(self.master_connector().address(), self.options().timeouts.connect).await
    }
}

/// Opens a TCP connection and closes it again; says its two ends.
///
/// # Errors
/// [`Error::Unreachable`].
pub async fn route(address: &Address, patience: Duration) -> Result<(SocketAddr, SocketAddr)> {
    let stream = TcpConnector::new(address.clone(), patience).open().await?;
    let fail = |source: io::Error| Error::Unreachable { address: address.to_string(), source };
    Ok((stream.local_addr().map_err(fail)?, stream.peer_addr().map_err(fail)?))
}
