//! The parsers of what a hostile repository may hold, for the fuzz targets in `fuzz/`. No interface: all of it may change.
//!
//! Seals are taken for granted: a hostile owner of the key seals what he likes. Each function panics if what was
//! understood does not mean the same when it is written again.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::crypto::Key;
use crate::damage::RecordFile;
use crate::id::Id;
use crate::index::IndexFile;
use crate::layout::{self, EXTENT_DIGITS, Layout, REGION_DIGITS, SEGMENT_CHUNKS};
use crate::lock::LockFile;
use crate::protect::{Forgotten, ProtectionFile};
use crate::prune::mark::Mark;
use crate::snapshot::{self, Snapshot};
use crate::tree::Tree;
use crate::{Meta, keyfile, pack, sealed};

/// A document may unpack to this length here. More would be no other code, only slower.
const MAX_JSON_BYTES: u64 = 1 << 20;

/// A pack's header: the length of the blobs before it (u32), then the plaintext.
pub fn pack_header(input: &[u8]) {
    let Some((blobs_len, text)) = input.split_first_chunk() else { return };
    let blobs_len = u64::from(u32::from_le_bytes(*blobs_len));
    if let Ok(entries) = pack::header::parse(text, blobs_len) {
        assert_eq!(pack::header::of(&entries), text);
        let mut ends = entries.iter().map(|entry| u64::from(entry.offset) + u64::from(entry.sealed_len));
        assert_eq!(ends.next_back().unwrap_or(0), blobs_len);
    }
    // The same bytes as the frame: a pack whose seal is broken.
    let key = Key::from_bytes([7; 64].into());
    assert!(pack::read_header(&key, input).is_err());
}

/// A seed for [`pack_header`] from a pack, opened with the master key as `restic cat masterkey` prints it.
#[must_use]
pub fn header_seed(master_key: &[u8], pack: &[u8]) -> Option<Vec<u8>> {
    let entries = pack::read_header(&Key::from_json(master_key)?, pack).ok()?;
    let last = entries.last()?;
    let blobs_len = last.offset + last.sealed_len;
    Some([&blobs_len.to_le_bytes(), &*pack::header::of(&entries)].concat())
}

/// A seed for the others from a sealed file.
#[must_use]
pub fn document_seed(master_key: &[u8], file: &[u8]) -> Option<Vec<u8>> {
    Key::from_json(master_key)?.open_in_place(&mut file.to_vec()).map(|text| text.to_vec()).ok()
}

/// The plaintext of an index file.
pub fn index_file(input: &[u8]) {
    let packs = |text: &[u8]| sealed::parse::<IndexFile>(text, MAX_JSON_BYTES).and_then(IndexFile::check);
    if let Ok(found) = packs(input) {
        assert_eq!(packs(&json(&IndexFile::new(&found))), Ok(found));
    }
}

/// The plaintext of a blob that should be a directory; also as the directories that make up a disk.
pub fn tree(input: &[u8]) {
    let Ok(tree) = Tree::from_json(input) else { return };
    let again = Tree::from_json(&tree.to_json()).expect("what we write can be read");
    assert_eq!(again, tree);
    for node in &tree.nodes {
        let found = node.plain_name().and_then(|name| tree.find(name));
        assert!(node.plain_name().is_none_or(|name| name.contains('"')) || found.is_some());
    }
    for digits in [EXTENT_DIGITS, REGION_DIGITS] {
        if let Some(subtrees) = layout::numbered_subtrees(&tree, digits) {
            assert_eq!(layout::numbered_subtrees(&layout::numbered_tree(&subtrees, digits), digits), Some(subtrees));
        }
    }
    extent(tree);
}

/// The directory as the only extent of a disk, with chunks as long as its first file suggests.
fn extent(tree: Tree) {
    let Some(first) = tree.nodes.first() else { return };
    let chunk_bytes = u32::try_from(first.size.div_ceil(SEGMENT_CHUNKS)).unwrap_or(u32::MAX);
    let size = tree.nodes.iter().fold(0_u64, |sum, node| sum.saturating_add(node.size));
    let Some(layout) = Layout::new(size, chunk_bytes).filter(|layout| layout.extents() == 1) else { return };
    if let Some(chunks) = layout.extent_chunks(0, tree) {
        assert_eq!(layout.extent_chunks(0, layout.extent_tree(0, &chunks)), Some(chunks));
    }
}

/// The plaintext of a snapshot file.
pub fn snapshot(input: &[u8]) {
    let parse = |text: &[u8]| sealed::parse::<Snapshot>(text, MAX_JSON_BYTES);
    let Ok(found) = parse(input) else { return };
    let tree = found.tree;
    let Some(point) = found.point(Id::of(input)) else { return };
    let meta = Meta { host: point.host.clone(), root: point.root.clone(), tags: point.tags.clone(), time: point.time };
    if snapshot::check(&meta).is_ok() {
        let again = parse(&json(&Snapshot::new(meta, tree))).expect("what we write can be read");
        assert_eq!((again.tree, again.point(Id::of(input))), (tree, Some(point)));
    }
}

/// The small files: by the first byte a lock, the config, a key file (which is not sealed), or one of our own.
pub fn small_file(input: &[u8]) {
    let Some((kind, text)) = input.split_first() else { return };
    match kind % 7 {
        0 => drop(written_again::<LockFile>(text).map(|lock| lock.is_stale())),
        1 => drop(written_again::<Config>(text).map(|config| config.check())),
        2 => drop(keyfile::is_acceptable(text)),
        3 => drop(written_again::<Mark>(text)),
        4 => drop(written_again::<Forgotten>(text)),
        5 => drop(written_again::<ProtectionFile>(text)),
        _ => drop(written_again::<RecordFile>(text)),
    }
}

fn written_again<T: Serialize + DeserializeOwned>(text: &[u8]) -> Option<T> {
    let found: T = sealed::parse(text, MAX_JSON_BYTES).ok()?;
    let written = json(&found);
    let again: T = sealed::parse(&written, MAX_JSON_BYTES).expect("what we write can be read");
    assert_eq!(String::from_utf8_lossy(&json(&again)), String::from_utf8_lossy(&written));
    Some(found)
}

fn json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("a document is JSON")
}
