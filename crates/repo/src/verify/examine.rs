//! A pack in memory: is every byte of it what was written? Everything here computes.

use std::mem;

use rayon::prelude::*;

use super::packs::Summary;
use crate::crypto::Key;
use crate::id::Id;
use crate::pack::{self, Entry};
use crate::{blob, work};

/// What is wrong with a pack.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// What is wrong with the file as a whole.
    pub(super) file: Option<String>,
    /// The blobs that cannot be read, and what is wrong with the first of them.
    pub(super) blobs: Vec<Id>,
    pub(super) blob: Option<String>,
    /// Hash of the file.
    pub(super) hash: Option<Id>,
}

impl Faults {
    pub(super) fn is_empty(&self) -> bool {
        self.file.is_none() && self.blobs.is_empty()
    }
}

/// Judges a pack by itself and by the summary of what index files say: hash of the file, header, and each blob.
pub(super) fn is_good(key: &Key, id: &Id, summary: &Summary, file: &[u8]) -> bool {
    let Ok(header) = pack::read_header(key, file) else { return false };
    let blobs = || header.par_iter().all(|entry| check_blob(key, entry, file).is_ok());
    let (hash, blobs) = rayon::join(|| Id::of(file), blobs);
    hash == *id && blobs && Summary::of(&header).agrees(summary)
}

/// Finds out what exactly is wrong with a pack in which index files say these blobs are.
pub(super) fn examine(key: &Key, id: &Id, entries: &[Entry], file: &[u8]) -> Faults {
    let broken = |entry: &Entry| check_blob(key, entry, file).err().map(|why| (entry.id, why));
    let (hash, blobs) = rayon::join(|| Id::of(file), || entries.par_iter().filter_map(broken).collect::<Vec<_>>());
    let first = blobs.first().map(|(_, why)| why.clone());
    let mut faults = Faults { blob: first, hash: Some(hash), ..Faults::default() };
    faults.blobs = blobs.into_iter().map(|(id, _)| id).collect();
    let (expected, found) = (pack::pack_len(entries), file.len() as u64);
    let sorted = |mut entries: Vec<Entry>| {
        entries.sort_unstable_by_key(|entry| entry.offset);
        entries
    };
    faults.file = match pack::read_header(key, file) {
        _ if found < expected => Some(format!("it has {found} bytes, and should have {expected}: it is cut off")),
        _ if found > expected => Some(format!("it has {found} bytes, and should have {expected}")),
        Err(why) => Some(why),
        Ok(header) if sorted(header.clone()) != sorted(entries.to_vec()) => {
            Some("its header does not name the chunks that the index names".to_owned())
        }
        Ok(_) => (hash != *id).then(|| "its content does not match its name".to_owned()),
    };
    faults
}

/// Opens, unpacks and hashes a blob.
pub(super) fn check_blob(key: &Key, entry: &Entry, file: &[u8]) -> Result<(), String> {
    let start = entry.offset as usize;
    let sealed = file.get(start..start.saturating_add(entry.sealed_len as usize)).ok_or("it lies behind the end")?;
    // In a buffer of its own, for the file must stay as it is.
    let mut buffer = work::with_scratch(|scratch| mem::take(&mut scratch.buf));
    if buffer.len() < sealed.len() {
        buffer.resize(sealed.len(), 0);
    }
    let copy = &mut buffer[..sealed.len()];
    copy.copy_from_slice(sealed);
    let text = key.open_in_place(copy).map_err(|_| "its seal is broken".to_owned());
    let checked = text.and_then(|text| blob::check_text(&entry.id, entry.raw_len, text));
    work::with_scratch(|scratch| scratch.buf = buffer);
    checked
}
