//! The stream under an XVA: uncompressed on the way, handed out in pieces without copying them.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader, ReadBuf};

use super::header::BLOCK_BYTES;
use crate::source::Source;
use crate::{Error, is_zero};

const ZSTD_MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];
/// How many zeros may follow the end of the archive.
const MAX_PADDING_BYTES: usize = 1 << 20;
const PADDING_READ_BYTES: usize = 8 << 10;
const COMPRESSED_BUFFER_BYTES: usize = 256 << 10;

pub(super) struct Input<R> {
    stream: Stream<R>,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin + Send> Input<R> {
    /// Looks at the first bytes to find out how the stream is compressed.
    pub(super) async fn open(inner: R) -> Result<Self, Error> {
        let mut source = Stream::Plain(Source::new(inner));
        let mut head = BytesMut::with_capacity(BLOCK_BYTES);
        while head.len() < ZSTD_MAGIC.len() && read_some(&mut source, &mut head, BLOCK_BYTES).await? {}
        let Stream::Plain(mut source) = source else { unreachable!("it was made plain above") };
        source.give_back(head.clone().freeze());
        let stream = if head.starts_with(ZSTD_MAGIC) {
            let mut decoder = ZstdDecoder::new(BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, source));
            decoder.multiple_members(true);
            Stream::Zstd(Box::new(decoder))
        } else if head.starts_with(GZIP_MAGIC) {
            let mut decoder = GzipDecoder::new(BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, source));
            decoder.multiple_members(true);
            Stream::Gzip(Box::new(decoder))
        } else {
            Stream::Plain(source)
        };
        Ok(Input { stream, buffer: BytesMut::new() })
    }

    /// Sees to it that `need` bytes lie in the buffer, and takes up to `want` if they come along.
    async fn fill(&mut self, need: usize, want: usize, what: &str) -> Result<(), Error> {
        while self.buffer.len() < need {
            if !read_some(&mut self.stream, &mut self.buffer, want).await? {
                return Err(Error::truncated(what));
            }
        }
        Ok(())
    }

    /// Takes `len` bytes. `ahead` more, that must follow anyway, may be fetched in the same go.
    pub(super) async fn take(&mut self, len: usize, ahead: usize, what: &str) -> Result<Bytes, Error> {
        self.fill(len, len + ahead, what).await?;
        Ok(self.buffer.split_to(len).freeze())
    }

    pub(super) async fn skip(&mut self, mut len: u64, what: &str) -> Result<(), Error> {
        while len > 0 {
            let some = len.min(64 << 10) as usize;
            self.fill(some, some, what).await?;
            self.buffer.advance(some);
            len -= some as u64;
        }
        Ok(())
    }

    /// Takes one block of tar.
    pub(super) async fn block(&mut self, what: &str) -> Result<[u8; BLOCK_BYTES], Error> {
        self.fill(BLOCK_BYTES, BLOCK_BYTES, what).await?;
        let mut block = [0; BLOCK_BYTES];
        self.buffer.copy_to_slice(&mut block);
        Ok(block)
    }

    /// Reads up to the end of the stream; nothing but zeros may come.
    pub(super) async fn expect_end(&mut self) -> Result<(), Error> {
        let mut padding = 0;
        loop {
            if !is_zero(&self.buffer) || padding > MAX_PADDING_BYTES {
                return Err(Error::Trailing);
            }
            padding += self.buffer.len();
            self.buffer.clear();
            if !read_some(&mut self.stream, &mut self.buffer, PADDING_READ_BYTES).await? {
                return Ok(());
            }
        }
    }

    /// Turns an error that may come from a server's second answer in mid-stream into one that says so.
    pub(super) async fn explain(&mut self, error: Error) -> Error {
        self.stream.source().explain(error).await
    }
}

/// Reads until the buffer holds at most `want` bytes; false at the end of the stream.
async fn read_some<R>(stream: &mut Stream<R>, buffer: &mut BytesMut, want: usize) -> Result<bool, Error>
where
    R: AsyncRead + Unpin,
{
    let missing = want.saturating_sub(buffer.len()).max(1);
    buffer.reserve(missing);
    match (&mut *stream).take(missing as u64).read_buf(buffer).await {
        Ok(count) => Ok(count > 0),
        Err(error) if stream.source().is_broken() => Err(Error::Stream(error)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::truncated("compressed data")),
        Err(error) => Err(Error::Damaged(format!("compressed data are broken: {error}"))),
    }
}

enum Stream<R> {
    Plain(Source<R>),
    Gzip(Box<GzipDecoder<BufReader<Source<R>>>>),
    Zstd(Box<ZstdDecoder<BufReader<Source<R>>>>),
}

impl<R: AsyncRead + Unpin> Stream<R> {
    fn source(&mut self) -> &mut Source<R> {
        match self {
            Stream::Plain(source) => source,
            Stream::Gzip(decoder) => decoder.get_mut().get_mut(),
            Stream::Zstd(decoder) => decoder.get_mut().get_mut(),
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Stream<R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(source) => Pin::new(source).poll_read(cx, buf),
            Stream::Gzip(decoder) => Pin::new(decoder).poll_read(cx, buf),
            Stream::Zstd(decoder) => Pin::new(decoder).poll_read(cx, buf),
        }
    }
}
