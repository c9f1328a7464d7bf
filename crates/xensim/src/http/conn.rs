//! One connection: plain or TLS, told apart by its first byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// How long we go on reading what a client sends after we have answered for the last time.
const LINGER: Duration = Duration::from_secs(1);

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, with what was read of it beyond the last head.
pub(super) struct Conn {
    io: Io,
    /// Bytes that were read already, but belong to what comes next.
    pub(super) ahead: BytesMut,
    /// Whether the status line of the present answer is out.
    pub(super) answered: bool,
}

impl Conn {
    /// Takes a connection, and shakes hands when the client begins with TLS.
    pub(super) async fn accept(stream: TcpStream, tls: &TlsAcceptor) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        let encrypted = stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE;
        let io = if encrypted { Io::Tls(Box::new(tls.accept(stream).await?)) } else { Io::Plain(stream) };
        Ok(Self { io, ahead: BytesMut::new(), answered: false })
    }

    /// Reads more into `ahead`; 0 at the end of the stream.
    pub(super) async fn read_ahead(&mut self) -> io::Result<usize> {
        match &mut self.io {
            Io::Plain(stream) => stream.read_buf(&mut self.ahead).await,
            Io::Tls(stream) => stream.read_buf(&mut self.ahead).await,
        }
    }

    /// Ends the connection in an orderly way.
    ///
    /// What the client still sends is read for a moment: a close with unread bytes would reset
    /// the connection, and the client might lose our answer.
    pub(super) async fn close(mut self) {
        if self.shutdown().await.is_err() {
            return;
        }
        let mut waste = vec![0; 64 << 10];
        let drain = async { while matches!(self.read(&mut waste).await, Ok(count) if count > 0) {} };
        let _ = tokio::time::timeout(LINGER, drain).await;
    }

    /// Breaks the connection as a failing network would.
    pub(super) fn reset(self) {
        let stream = match &self.io {
            Io::Plain(stream) => stream,
            Io::Tls(stream) => stream.get_ref().0,
        };
        // Without this the kernel would end the stream in an orderly way, and a client could take
        // what it has for all there is.
        let _ = stream.set_zero_linger();
    }
}

impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..count]);
            self.ahead.advance(count);
            return Poll::Ready(Ok(()));
        }
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
