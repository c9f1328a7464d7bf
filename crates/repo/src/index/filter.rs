use crate::id::Id;

/// Words of a block: what one look-up touches lies together in memory.
const BLOCK_WORDS: usize = 8;
const BITS_PER_BLOB: u64 = 10;
/// Bits that are set for a blob, each by 9 bits of its id.
const PROBES: usize = 7;

/// Says of most blobs that are not in a run that they are not: a Bloom filter in blocks. One in a hundred gets through.
pub(super) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// Number of words for so many blobs.
    pub(super) fn words_for(blobs: u64) -> u64 {
        (blobs * BITS_PER_BLOB).div_ceil(64 * BLOCK_WORDS as u64).max(1) * BLOCK_WORDS as u64
    }

    pub(super) fn new(blobs: u64) -> Self {
        Filter { words: vec![0; Filter::words_for(blobs) as usize] }
    }

    /// `None` if this is no whole number of blocks.
    pub(super) fn from_words(words: Vec<u64>) -> Option<Self> {
        (!words.is_empty() && words.len().is_multiple_of(BLOCK_WORDS)).then_some(Filter { words })
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn insert(&mut self, id: &Id) {
        let (block, bits) = self.place(id);
        for (word, bit) in bits {
            self.words[block + word] |= bit;
        }
    }

    pub(super) fn may_contain(&self, id: &Id) -> bool {
        let (block, mut bits) = self.place(id);
        bits.all(|(word, bit)| self.words[block + word] & bit != 0)
    }

    /// First word of a blob's block, and which bits of which words of it are set. Ids are hashes: parts of them will do.
    fn place(&self, id: &Id) -> (usize, impl Iterator<Item = (usize, u64)> + use<>) {
        let part = |number: usize| {
            let bytes = id.as_bytes()[8 * number..].first_chunk();
            bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        let blocks = (self.words.len() / BLOCK_WORDS) as u128;
        let block = ((u128::from(part(1)) * blocks) >> 64) as usize * BLOCK_WORDS;
        let mut rest = part(2);
        let probe = move |_| {
            let found = ((rest & 7) as usize, 1 << (rest >> 3 & 63));
            rest >>= 9;
            found
        };
        (block, (0..PROBES).map(probe))
    }
}
