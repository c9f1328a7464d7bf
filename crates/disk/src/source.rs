//! A stream that is read from the start to the end, and may break off with the answer of a server in its midst.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::Error;

/// How much of what came last is kept, to find the answer of a server that gave up.
const TAIL_BYTES: usize = 8 << 10;
/// How much is read to see that answer whole.
const ANSWER_BYTES: usize = 4 << 10;

/// The stream as it arrives. Gives back the bytes that were looked at first, and remembers the last ones.
pub(crate) struct Source<R> {
    unread: Bytes,
    inner: R,
    tail: Vec<u8>,
    /// Was it this stream that failed, and not what uncompresses it?
    broken: bool,
}

impl<R> Source<R> {
    pub(crate) fn new(inner: R) -> Self {
        Source { unread: Bytes::new(), inner, tail: Vec::with_capacity(TAIL_BYTES), broken: false }
    }

    /// Takes back all that was read so far.
    pub(crate) fn give_back(&mut self, bytes: Bytes) {
        self.unread = bytes;
        self.tail.clear();
    }

    /// Was it this stream that failed, and not what reads it?
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    fn remember(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let excess = (self.tail.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        self.tail.extend_from_slice(bytes);
    }
}

impl<R: AsyncRead + Unpin> Source<R> {
    /// Turns an error that may come from a server's second answer in mid-stream (xapi: `http_svr.ml`) into one that
    /// says so. For that it reads a little further.
    pub(crate) async fn explain(&mut self, error: Error) -> Error {
        let suspicious = matches!(
            error,
            Error::Truncated { .. }
                | Error::Damaged(_)
                | Error::Unsupported(_)
                | Error::Checksum { .. }
                | Error::TooLarge { .. }
                | Error::Trailing
        );
        if !suspicious {
            return error;
        }
        let mut rest = BytesMut::with_capacity(ANSWER_BYTES);
        while rest.len() < ANSWER_BYTES && matches!(self.read_buf(&mut rest).await, Ok(1..)) {}
        error_status(&self.tail).map_or(error, |status| Error::SenderFailed { status })
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Source<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.unread.has_remaining() {
            let some = this.unread.len().min(buf.remaining());
            buf.put_slice(&this.unread.split_to(some));
        } else {
            match ready!(Pin::new(&mut this.inner).poll_read(cx, buf)) {
                // TLS that was not closed properly, as stunnel does it. The format itself says where it ends.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => {
                    this.broken = true;
                    return Poll::Ready(Err(error));
                }
                Ok(()) => {}
            }
        }
        this.remember(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

/// The last status line of HTTP in these bytes that tells of an error.
fn error_status(tail: &[u8]) -> Option<String> {
    let mut lines = tail.windows(8).enumerate().rev().filter(|(_, window)| window.starts_with(b"HTTP/1."));
    lines.find_map(|(at, _)| {
        let line = tail[at..].split(|byte| *byte == b'\r' || *byte == b'\n').next()?;
        let line = std::str::from_utf8(line.get(..line.len().min(200))?).ok()?;
        let (_, status) = line.split_once(' ')?;
        matches!(status.as_bytes(), [b'4' | b'5', b'0'..=b'9', b'0'..=b'9', ..]).then(|| status.to_owned())
    })
}
