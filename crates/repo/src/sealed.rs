//! Files that hold one sealed JSON document: config, index, snapshots, locks.
//!
//! The plaintext is the byte 2 and zstd-compressed JSON, or (config, and what older restics wrote) bare JSON.

use std::io::Read;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::crypto::{Key, NONCE_BYTES, SEAL_BYTES};
use crate::id::Id;
use crate::store::{Name, Store};
use crate::{Error, Result, work};

#[cfg(test)]
mod tests;

/// First byte of a compressed document.
const COMPRESSED: u8 = 2;

/// A small file is never longer than this, sealed or unpacked.
pub(crate) const SMALL_FILE_BYTES: u64 = 8 << 20;

/// Frames of zstd may ask for a window of at most 2^27 bytes.
pub(crate) const MAX_WINDOW_LOG: u32 = 27;

/// Seals a document without compressing it.
pub(crate) fn seal_plain(key: &Key, document: &impl Serialize) -> Bytes {
    key.seal(&to_json(document)).into()
}

/// Compresses and seals a document: its file's name and content.
pub(crate) fn seal(key: &Key, document: &impl Serialize) -> (Id, Bytes) {
    let json = to_json(document);
    let sealed = work::with_scratch(|scratch| {
        let mut sealed =
            vec![0; NONCE_BYTES + 1 + zstd::zstd_safe::compress_bound(json.len()) + SEAL_BYTES - NONCE_BYTES];
        sealed[NONCE_BYTES] = COMPRESSED;
        let room = &mut sealed[NONCE_BYTES + 1..];
        let len = scratch.compressor.compress_to_buffer(&json, room).expect("the buffer has zstd's upper bound");
        sealed.truncate(1 + len + SEAL_BYTES);
        key.seal_in_place(&mut sealed);
        sealed
    });
    (Id::of(&sealed), sealed.into())
}

fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("our documents have string keys and finite numbers")
}

/// Opens a sealed file. `id` is its name, where it has one that is the hash of the content.
pub(crate) fn open<T: DeserializeOwned>(key: &Key, name: Name, content: &[u8], max_bytes: u64) -> Result<T> {
    open_in(&mut Room::default(), key, name, content, max_bytes)
}

/// Memory in which files are opened one after the other. Large buffers that come and go in many threads would leave holes.
#[derive(Default)]
pub(crate) struct Room {
    text: Vec<u8>,
    json: Vec<u8>,
}

/// As [`open`], with memory that is used again.
pub(crate) fn open_in<T: DeserializeOwned>(
    room: &mut Room,
    key: &Key,
    name: Name,
    content: &[u8],
    max_bytes: u64,
) -> Result<T> {
    let damaged = |why: String| Error::damaged(name.to_string(), why);
    if name.id().is_some_and(|id| id != Id::of(content)) {
        return Err(damaged("its content does not match its name".to_owned()));
    }
    room.text.clear();
    room.text.extend_from_slice(content);
    let text = key.open_in_place(&mut room.text).map_err(|_| damaged("its seal is broken".to_owned()))?;
    parse_in(&mut room.json, text, max_bytes).map_err(damaged)
}

/// Understands what was sealed, or says why not.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8], max_bytes: u64) -> Result<T, String> {
    parse_in(&mut Vec::new(), text, max_bytes)
}

fn parse_in<T: DeserializeOwned>(json: &mut Vec<u8>, text: &[u8], max_bytes: u64) -> Result<T, String> {
    let parsed = match text {
        [COMPRESSED, zipped @ ..] => {
            unzip(json, zipped, max_bytes)?;
            serde_json::from_slice(json)
        }
        json => serde_json::from_slice(json),
    };
    parsed.map_err(|error| format!("its content is not understood ({error})"))
}

fn unzip(json: &mut Vec<u8>, zipped: &[u8], max_bytes: u64) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("it cannot be unpacked ({error})");
    let mut reader = zstd::stream::read::Decoder::with_buffer(zipped).map_err(broken)?;
    reader.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
    let len = zstd::zstd_safe::get_frame_content_size(zipped).ok().flatten().unwrap_or(0);
    json.clear();
    json.reserve(len.min(max_bytes) as usize + 1);
    reader.take(max_bytes + 1).read_to_end(json).map_err(broken)?;
    if json.len() as u64 > max_bytes {
        return Err(format!("it unpacks to more than {max_bytes} bytes"));
    }
    Ok(())
}

/// Reads and opens a small file.
pub(crate) async fn read<T: DeserializeOwned>(store: &dyn Store, key: &Key, name: Name) -> Result<T> {
    let content = store.get(name, SMALL_FILE_BYTES).await?;
    open(key, name, &content, SMALL_FILE_BYTES)
}
