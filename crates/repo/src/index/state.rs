//! The file `state` of a cache: which packs have which numbers, which index files name them, and which runs there are.
//!
//! `magic (16) ‖ packs ‖ (id, contents) … ‖ files ‖ (id, packs, number …) … ‖ runs ‖ (name, records) … ‖ XXH64`, with
//! counts and numbers as u64 and u32, little endian.

use uuid::Uuid;
use xxhash_rust::xxh64::xxh64;

use super::packs::Packs;
use crate::id::Id;

const MAGIC: &[u8; 16] = b"xenkeep index 1\n";

/// What a cache holds.
pub(super) struct State {
    pub(super) packs: Packs,
    /// Names of the runs and number of their records, oldest first.
    pub(super) runs: Vec<(Uuid, u64)>,
}

pub(super) fn encode(packs: &Packs, runs: &[(Uuid, u64)]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    packs.encode(&mut out);
    out.extend((runs.len() as u64).to_le_bytes());
    for (name, records) in runs {
        out.extend(name.as_bytes());
        out.extend(records.to_le_bytes());
    }
    let sum = xxh64(&out, 0);
    out.extend(sum.to_le_bytes());
    out
}

/// `None` if it is torn, or of another version.
pub(super) fn decode(bytes: &[u8]) -> Option<State> {
    let (content, sum) = bytes.split_last_chunk()?;
    if xxh64(content, 0) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut input = Input(content.strip_prefix(MAGIC)?);
    let packs = Packs::decode(&mut input)?;
    let runs = input.u64()?;
    let runs = (0..runs).map(|_| Some((Uuid::from_bytes(*input.take()?), input.u64()?))).collect::<Option<_>>()?;
    input.0.is_empty().then_some(State { packs, runs })
}

/// Bytes that are still to be read.
pub(super) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn id(&mut self) -> Option<Id> {
        self.take().map(|bytes| Id::from_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(|bytes| u64::from_le_bytes(*bytes))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// A count of things that have at least so many bytes each: no more than can be there.
    pub(super) fn count(&mut self, bytes_each: usize) -> Option<usize> {
        usize::try_from(self.u64()?).ok().filter(|count| *count <= self.0.len() / bytes_each)
    }
}
