use super::IdMap;
use super::run::Record;
use crate::id::Id;
use crate::pack::{BlobKind, Entry};

/// Bit of [`Slot::pack`] that is set for trees.
const TREE: u32 = 1 << 31;

/// A place in a pack, in 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The pack's number, and the blob's kind.
    pack: u32,
    pub(super) offset: u32,
    pub(super) sealed_len: u32,
    /// Zero if stored as it is.
    pub(super) raw_len: u32,
}

impl Slot {
    pub(super) fn new(pack: u32, entry: &Entry) -> Self {
        let kind = if entry.kind == BlobKind::Tree { TREE } else { 0 };
        let Entry { offset, sealed_len, raw_len, .. } = *entry;
        Slot { pack: pack | kind, offset, sealed_len, raw_len: raw_len.unwrap_or(0) }
    }

    pub(super) fn words(&self) -> [u32; 4] {
        [self.pack, self.offset, self.sealed_len, self.raw_len]
    }

    pub(super) fn from_words([pack, offset, sealed_len, raw_len]: [u32; 4]) -> Self {
        Slot { pack, offset, sealed_len, raw_len }
    }

    /// The same place, with the pack numbered anew.
    pub(super) fn renumbered(self, pack: u32) -> Self {
        Slot { pack: pack | self.pack & TREE, ..self }
    }

    pub(super) fn pack(&self) -> u32 {
        self.pack & !TREE
    }

    pub(super) fn kind(&self) -> BlobKind {
        if self.pack & TREE == 0 { BlobKind::Data } else { BlobKind::Tree }
    }
}

/// Blobs that were taken in lately.
#[derive(Default)]
pub(super) struct Recent {
    slots: IdMap<Slot>,
    /// Further copies of blobs, which are few.
    copies: IdMap<Vec<Slot>>,
}

impl Recent {
    pub(super) fn add(&mut self, id: Id, slot: Slot) {
        if let Some(first) = self.slots.insert(id, slot) {
            self.copies.entry(id).or_default().push(first);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// All places, in order.
    pub(super) fn sorted(&self) -> Vec<Record> {
        let copies = self.copies.iter().flat_map(|(id, slots)| slots.iter().map(move |slot| (id, slot)));
        let count = self.slots.len() + self.copies.values().map(Vec::len).sum::<usize>();
        let mut records: Vec<Record> = Vec::with_capacity(count);
        records.extend(self.slots.iter().chain(copies).map(|(id, slot)| Record::new(id, slot)));
        records.sort_unstable();
        records
    }

    /// Forgets everything, but keeps the memory for as much again.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.copies.clear();
    }

    pub(super) fn of(&self, id: &Id) -> impl Iterator<Item = &Slot> {
        let first = self.slots.get(id);
        let copies = first.and_then(|_| self.copies.get(id));
        first.into_iter().chain(copies.into_iter().flatten())
    }
}
