//! Connections to one host: in the clear, or over TLS with a pinned certificate.
//!
//! Hosts of 6.5 to 7.6 offer only what rustls refuses (RSA key exchange with CBC, 1024-bit keys); an OpenSSL connector for
//! them would be one more implementation of [`Connector`].

mod tcp;
mod tls;

pub(crate) use tcp::TcpConnector;
pub(crate) use tls::TlsConnector;

use std::fmt::Debug;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Address, Fingerprint, Result};

/// A connection, both ways.
pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Makes connections to one host.
#[async_trait]
pub(crate) trait Connector: Debug + Send + Sync + 'static {
    /// The host.
    fn address(&self) -> &Address;

    /// Makes one more.
    async fn connect(&self) -> Result<Box<dyn Io>>;

    /// The certificate that the host showed at the last connection; none in the clear.
    fn certificate(&self) -> Option<Fingerprint>;

    /// TLS is spoken.
    fn is_tls(&self) -> bool;
}
