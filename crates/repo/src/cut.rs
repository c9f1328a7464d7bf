//! Cutting a stream by its content: where bytes were put in or taken out, only the chunks around that place are new.
//!
//! FastCDC (2020) with the gear table of its authors. Algorithm and numbers are part of the format of the repository:
//! were they changed, nothing that was stored before would be found again. Disks are cut otherwise (`layout`): they
//! change in place.

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::{FastCDC, Normalization};

#[cfg(test)]
mod tests;

/// No chunk is shorter, but for the last one of a stream.
pub(crate) const MIN_BYTES: usize = 64 << 10;
/// What most chunks come close to.
pub(crate) const AVERAGE_BYTES: usize = 256 << 10;
/// No chunk is longer.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// How strongly lengths are drawn to the average.
const NORMALIZATION: Normalization = Normalization::Level1;
/// The gear table as it is.
const SEED: u64 = 0;

/// Cuts a stream that comes in pieces. Where the pieces end makes no difference.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    pending: BytesMut,
}

impl Cutter {
    /// Takes the next bytes of the stream in.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next chunk, if its end is certain: that takes [`MAX_BYTES`] of the stream.
    pub(crate) fn next_chunk(&mut self) -> Option<Bytes> {
        (self.pending.len() >= MAX_BYTES).then(|| self.cut())
    }

    /// The next chunk of a stream that has ended.
    pub(crate) fn last_chunk(&mut self) -> Option<Bytes> {
        (!self.pending.is_empty()).then(|| self.cut())
    }

    fn cut(&mut self) -> Bytes {
        let looked_at = self.pending.len().min(MAX_BYTES);
        let source = &self.pending[..looked_at];
        let chunker = FastCDC::with_level_and_seed(source, MIN_BYTES, AVERAGE_BYTES, MAX_BYTES, NORMALIZATION, SEED);
        let (_, end) = chunker.cut(0, looked_at);
        self.pending.split_to(end).freeze()
    }
}
