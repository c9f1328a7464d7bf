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
    let damaged = |why: String| Error::damaged(name.to_string(), why);
    if name.id().is_some_and(|id| id != Id::of(content)) {
        return Err(damaged("its content does not match its name".to_owned()));
    }
    let mut content = content.to_vec();
    let text = key.open_in_place(&mut content).map_err(|_| damaged("its seal is broken".to_owned()))?;
    parse(text, max_bytes).map_err(damaged)
}

/// Understands what was sealed, or says why not.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8], max_bytes: u64) -> Result<T, String> {
    let parsed = match text {
        [COMPRESSED, zipped @ ..] => serde_json::from_slice(&unzip(zipped, max_bytes)?),
        json => serde_json::from_slice(json),
    };
    parsed.map_err(|error| format!("its content is not understood ({error})"))
}

fn unzip(zipped: &[u8], max_bytes: u64) -> Result<Vec<u8>, String> {
    let broken = |error: std::io::Error| format!("it cannot be unpacked ({error})");
    let mut reader = zstd::stream::read::Decoder::with_buffer(zipped).map_err(broken)?;
    reader.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
    let len = zstd::zstd_safe::get_frame_content_size(zipped).ok().flatten().unwrap_or(0);
    let mut json = Vec::with_capacity(len.min(max_bytes) as usize + 1);
    reader.take(max_bytes + 1).read_to_end(&mut json).map_err(broken)?;
    if json.len() as u64 > max_bytes {
        return Err(format!("it unpacks to more than {max_bytes} bytes"));
    }
    Ok(json)
}

/// Reads and opens a small file.
pub(crate) async fn read<T: DeserializeOwned>(store: &dyn Store, key: &Key, name: Name) -> Result<T> {
    let content = store.get(name, SMALL_FILE_BYTES).await?;
    open(key, name, &content, SMALL_FILE_BYTES)
}
