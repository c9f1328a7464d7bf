//! Bytes on their way from a stream to whoever looks at them with a blocking reader.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// Pieces that wait for the reader.
const PIECES: usize = 8;

/// The reading end. It blocks, so it belongs on a thread of its own.
#[derive(Debug)]
pub(crate) struct Feed {
    pieces: mpsc::Receiver<Bytes>,
    current: Bytes,
}

/// A feed, and where its pieces come from. Dropping the sender is the end of the stream.
pub(crate) fn feed() -> (mpsc::Sender<Bytes>, Feed) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (sender, Feed { pieces, current: Bytes::new() })
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for Feed {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buf.len());
        buf[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
