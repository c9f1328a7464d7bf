use super::recent::Slot;
use super::state::Input;
use super::{IdMap, IdSet, Location, PackEntries};
use crate::id::Id;
use crate::pack::Entry;

/// Most packs that can be numbered: 64 PiB of them.
const MAX_PACKS: usize = 1 << 31;

/// Bytes of a pack in the file `state`, and at least of an index file.
const PACK_BYTES: usize = 40;
const FILE_BYTES: usize = 40;

/// Numbers packs, and knows which index files name them.
#[derive(Default)]
pub(super) struct Packs {
    /// By number.
    packs: Vec<Pack>,
    numbers: IdMap<u32>,
    /// Which packs an index file names.
    files: IdMap<Box<[u32]>>,
}

#[derive(Clone, Copy)]
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
            let number = match self.numbers.get(&entries.id) {
                Some(number) => *number,
                None => {
                    assert!(self.packs.len() < MAX_PACKS, "packs of more than 64 PiB");
                    self.push(Pack { id: entries.id, named: 0, contents: !contents })
                }
            };
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

    pub(super) fn len(&self) -> usize {
        self.packs.len()
    }

    /// Number of packs that no index file names.
    pub(super) fn dead(&self) -> usize {
        self.packs.iter().filter(|pack| pack.named == 0).count()
    }

    /// Names of all index files that are known.
    pub(super) fn file_names(&self) -> IdSet {
        self.files.keys().copied().collect()
    }

    pub(super) fn files(&self) -> usize {
        self.files.len()
    }

    /// The same without the dead ones, and for each old number the new one.
    pub(super) fn without_dead(&self) -> (Packs, Vec<Option<u32>>) {
        let mut kept = Packs::default();
        let mut numbers = Vec::with_capacity(self.packs.len());
        for pack in &self.packs {
            let number = (pack.named > 0).then(|| kept.push(*pack));
            numbers.push(number);
        }
        let renumber = |old: &[u32]| old.iter().filter_map(|old| numbers[*old as usize]).collect();
        kept.files = self.files.iter().map(|(file, packs)| (*file, renumber(packs))).collect();
        (kept, numbers)
    }

    fn push(&mut self, pack: Pack) -> u32 {
        let number = self.packs.len() as u32;
        self.numbers.insert(pack.id, number);
        self.packs.push(pack);
        number
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.packs.len() * (PACK_BYTES + 4));
        out.extend((self.packs.len() as u64).to_le_bytes());
        for pack in &self.packs {
            out.extend(pack.id.as_bytes());
            out.extend(pack.contents.to_le_bytes());
        }
        out.extend((self.files.len() as u64).to_le_bytes());
        for (file, packs) in &self.files {
            out.extend(file.as_bytes());
            out.extend((packs.len() as u64).to_le_bytes());
            packs.iter().for_each(|number| out.extend(number.to_le_bytes()));
        }
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Option<Self> {
        let count = input.count(PACK_BYTES)?;
        let mut all = Packs::default();
        all.packs.reserve_exact(count);
        all.numbers.reserve(count);
        for _ in 0..count {
            all.push(Pack { id: input.id()?, contents: input.u64()?, named: 0 });
        }
        for _ in 0..input.count(FILE_BYTES)? {
            let (file, count) = (input.id()?, input.count(4)?);
            let numbers = (0..count).map(|_| input.u32()).collect::<Option<Box<[u32]>>>()?;
            for number in &numbers {
                all.packs.get_mut(*number as usize)?.named += 1;
            }
            all.files.insert(file, numbers);
        }
        Some(all)
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
