use super::recent::Slot;
use super::{IdMap, IdSet, Location, PackEntries};
use crate::id::Id;
use crate::pack::Entry;

/// Most packs that can be numbered: 64 PiB of them.
const MAX_PACKS: usize = 1 << 31;

/// Numbers packs, and knows which index files name them.
#[derive(Default)]
pub(super) struct Packs {
    /// By number.
    packs: Vec<Pack>,
    numbers: IdMap<u32>,
    /// Which packs an index file names.
    files: IdMap<Box<[u32]>>,
}

struct Pack {
    id: Id,
    /// How many index files name it. If none does, it is dead.
    named: u32,
    /// What is known to be in it.
    contents: u64,
}

impl Packs {
    /// Names of files that are not known yet, and of known ones that are not among these.
    pub(super) fn compare(&self, listed: &IdSet) -> (Vec<Id>, Vec<Id>) {
        let new = listed.iter().filter(|file| !self.files.contains_key(file)).copied().collect();
        let vanished = self.files.keys().filter(|file| !listed.contains(file)).copied().collect();
        (new, vanished)
    }

    /// Numbers the packs of an index file. Gives back those whose entries are not known yet.
    pub(super) fn add_file<'a>(&mut self, file: Id, packs: &'a [PackEntries]) -> Vec<(u32, &'a PackEntries)> {
        if self.files.contains_key(&file) {
            return Vec::new();
        }
        let mut unknown = Vec::new();
        let mut named = Vec::with_capacity(packs.len());
        for entries in packs {
            let contents = contents(&entries.entries);
            let next = self.packs.len();
            assert!(next < MAX_PACKS, "an index of 64 PiB");
            let number = *self.numbers.entry(entries.id).or_insert(next as u32);
            if number as usize == next {
                self.packs.push(Pack { id: entries.id, named: 0, contents: !contents });
            }
            let pack = &mut self.packs[number as usize];
            pack.named += 1;
            if pack.contents != contents {
                pack.contents = contents;
                unknown.push((number, entries));
            }
            named.push(number);
        }
        self.files.insert(file, named.into());
        unknown
    }

    pub(super) fn remove_file(&mut self, file: &Id) {
        for number in self.files.remove(file).into_iter().flatten() {
            self.packs[number as usize].named -= 1;
        }
    }

    /// A place, if it is in a pack that is not dead.
    pub(super) fn locate(&self, slot: &Slot) -> Option<Location> {
        let pack = self.packs.get(slot.pack() as usize).filter(|pack| pack.named > 0)?;
        let raw_len = (slot.raw_len > 0).then_some(slot.raw_len);
        Some(Location { pack: pack.id, offset: slot.offset, sealed_len: slot.sealed_len, raw_len })
    }
}

/// A number that tells what an index file says about a pack, whatever the order. Packs don't change, but index files may
/// name parts of them.
fn contents(entries: &[Entry]) -> u64 {
    let of = |entry: &Entry| {
        let id = entry.id.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        (id ^ (u64::from(entry.offset) << 32 | u64::from(entry.sealed_len))).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    };
    entries.iter().map(of).fold(entries.len() as u64, u64::wrapping_add)
}
