use bytes::BufMut;

use super::{BlobKind, Entry, MAX_BLOB_BYTES, MAX_PACK_BYTES};
use crate::crypto::{Key, SEAL_BYTES};
use crate::id::Id;

/// The length of the header, at the very end of a pack.
const LENGTH_BYTES: usize = 4;

/// restic refuses longer ones. Ours have at most 410 KiB.
const MAX_HEADER_BYTES: usize = 16 << 20;

/// Type, sealed length and id; between the last two stands the length before compression, if there is one.
const ENTRY_BYTES: usize = 1 + 4 + 32;
const RAW_LEN_BYTES: usize = 4;

/// The plaintext of a header.
pub(crate) fn of(entries: &[Entry]) -> Vec<u8> {
    let mut header = Vec::with_capacity(entries.len() * (ENTRY_BYTES + RAW_LEN_BYTES));
    for entry in entries {
        header.put_u8(match (entry.kind, entry.raw_len) {
            (BlobKind::Data, None) => 0,
            (BlobKind::Tree, None) => 1,
            (BlobKind::Data, Some(_)) => 2,
            (BlobKind::Tree, Some(_)) => 3,
        });
        header.put_u32_le(entry.sealed_len);
        if let Some(raw_len) = entry.raw_len {
            header.put_u32_le(raw_len);
        }
        header.put_slice(entry.id.as_bytes());
    }
    header
}

/// How long a pack is that holds just these blobs.
pub(crate) fn pack_len(entries: &[Entry]) -> u64 {
    let header = |entry: &Entry| ENTRY_BYTES + if entry.raw_len.is_some() { RAW_LEN_BYTES } else { 0 };
    let lens = entries.iter().map(|entry| u64::from(entry.sealed_len) + header(entry) as u64);
    lens.sum::<u64>() + (SEAL_BYTES + LENGTH_BYTES) as u64
}

/// What a whole pack lists in its header, or what is wrong with that.
pub(crate) fn read_header(key: &Key, pack: &[u8]) -> Result<Vec<Entry>, String> {
    let (rest, length) = pack.split_last_chunk().ok_or("it is too short for a pack")?;
    let header_len = header_len(pack.len() as u64, *length)?;
    let (blobs, sealed) = rest.split_at(rest.len() - header_len);
    parse_header(key, &mut sealed.to_vec(), blobs.len() as u64)
}

/// Length of the sealed header of a pack that has `pack_len` bytes, and `last` for its last four.
///
/// The header lies directly before those.
pub(crate) fn header_len(pack_len: u64, last: [u8; LENGTH_BYTES]) -> Result<usize, String> {
    let len = u32::from_le_bytes(last) as usize;
    let room = pack_len.saturating_sub(LENGTH_BYTES as u64);
    if pack_len > u64::from(MAX_PACK_BYTES) {
        return Err(format!("it is longer than {MAX_PACK_BYTES} bytes"));
    }
    if !(SEAL_BYTES + ENTRY_BYTES..=MAX_HEADER_BYTES).contains(&len) || len as u64 > room {
        return Err(format!("it says that its header has {len} bytes"));
    }
    Ok(len)
}

/// What a sealed header lists; `blobs_len` is the length of all that lies before it. `sealed` is spoiled.
pub(crate) fn parse_header(key: &Key, sealed: &mut [u8], blobs_len: u64) -> Result<Vec<Entry>, String> {
    let text = key.open_in_place(sealed).map_err(|_| "the seal of its header is broken")?;
    parse(text, blobs_len)
}

/// Blobs lie one behind the other and fill the pack: so none of them can reach out of it.
pub(crate) fn parse(mut text: &[u8], blobs_len: u64) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::with_capacity(text.len() / ENTRY_BYTES);
    let mut offset = 0_u32;
    while !text.is_empty() {
        let entry = take_entry(&mut text, offset).ok_or("its header is cut off, or lists what we do not know")?;
        let impossible = || format!("its header says something impossible about blob {}", entry.id);
        let too_long = entry.sealed_len > MAX_BLOB_BYTES || entry.raw_len.is_some_and(|len| len > MAX_BLOB_BYTES);
        if entry.sealed_len < SEAL_BYTES as u32 || entry.raw_len == Some(0) || too_long {
            return Err(impossible());
        }
        let end = offset.checked_add(entry.sealed_len).filter(|end| u64::from(*end) <= blobs_len);
        offset = end.ok_or_else(impossible)?;
        entries.push(entry);
    }
    if u64::from(offset) != blobs_len {
        return Err(format!("its header lists {offset} bytes of blobs, it holds {blobs_len}"));
    }
    Ok(entries)
}

fn take_entry(text: &mut &[u8], offset: u32) -> Option<Entry> {
    let (kind, is_compressed) = match take::<1>(text)? {
        [0] => (BlobKind::Data, false),
        [1] => (BlobKind::Tree, false),
        [2] => (BlobKind::Data, true),
        [3] => (BlobKind::Tree, true),
        _ => return None,
    };
    let sealed_len = u32::from_le_bytes(take(text)?);
    let raw_len = if is_compressed { Some(u32::from_le_bytes(take(text)?)) } else { None };
    Some(Entry { kind, id: Id::from_bytes(take(text)?), offset, sealed_len, raw_len })
}

fn take<const N: usize>(text: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = text.split_first_chunk()?;
    *text = rest;
    Some(*taken)
}
