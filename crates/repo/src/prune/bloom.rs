use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::id::Id;

/// Bits of a block: a cache line, so that asking for an id costs one access to memory.
const BLOCK_WORDS: usize = 8;
const BLOCK_BITS: u64 = 64 * BLOCK_WORDS as u64;

/// Bits of memory for an id, and bits that are set for it. One in some 300 000 ids that were never inserted is taken for one
/// that was.
const BITS: u64 = 32;
const SET_BITS: u32 = 14;

/// A set of ids that may take an id for inserted that was not, but never the other way round.
///
/// Which ids that happens to is another matter in each run: so what is kept by mistake goes with the next one.
pub(super) struct Bloom {
    words: Vec<AtomicU64>,
    seeds: [RandomState; 3],
}

impl Bloom {
    /// For up to `ids` ids. With more it works, too, but errs more often.
    pub(super) fn new(ids: u64) -> Self {
        let blocks = (ids * BITS).div_ceil(BLOCK_BITS).max(1) as usize;
        let words = std::iter::repeat_with(AtomicU64::default).take(blocks * BLOCK_WORDS).collect();
        Bloom { words, seeds: std::array::from_fn(|_| RandomState::new()) }
    }

    /// The words and bits of an id.
    fn bits(&self, id: &Id) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let [block, mut low, mut high] = [0, 1, 2].map(|seed: usize| self.seeds[seed].hash_one(id.as_bytes()));
        let blocks = self.words.len() / BLOCK_WORDS;
        let block = ((u128::from(block) * blocks as u128) >> 64) as usize;
        let words = &self.words[block * BLOCK_WORDS..][..BLOCK_WORDS];
        (0..SET_BITS).map(move |number| {
            let from = if number % 2 == 0 { &mut low } else { &mut high };
            let bit = *from % BLOCK_BITS;
            *from /= BLOCK_BITS;
            (&words[(bit / 64) as usize], 1 << (bit % 64))
        })
    }

    /// True if it was not there, as far as can be told.
    pub(super) fn insert(&self, id: &Id) -> bool {
        let mut is_new = false;
        for (word, bit) in self.bits(id) {
            is_new |= word.fetch_or(bit, Ordering::Relaxed) & bit == 0;
        }
        is_new
    }

    pub(super) fn contains(&self, id: &Id) -> bool {
        self.bits(id).all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_inserted_is_there_and_hardly_anything_else() {
        let bloom = Bloom::new(100_000);
        let id = |number: u32| Id::of(&number.to_le_bytes());
        let new = (0..100_000).filter(|number| bloom.insert(&id(*number))).count();
        assert!(new > 99_990, "{new}");
        assert!((0..100_000).all(|number| bloom.contains(&id(number))));
        let mistaken = (100_000..400_000).filter(|number| bloom.contains(&id(*number))).count();
        assert!(mistaken < 20, "{mistaken} of 300000");
        assert!(!bloom.insert(&id(7)));
        assert!(!Bloom::new(0).contains(&id(7)));
    }
}
