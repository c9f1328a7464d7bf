//! A repository as large as one likes, of which only the index is there. For measuring.

use futures::{StreamExt, TryStreamExt, stream};

use crate::id::Id;
use crate::index::PackEntries;
use crate::pack::{BlobKind, Entry};
use crate::{Repo, Result};

/// Chunks of 512 KiB in a pack, as they are when nothing can be compressed, and packs in an index file.
const PACK_CHUNKS: u64 = 64;
const FILE_PACKS: u64 = 780;
/// Index files that are written at once.
const WRITES_IN_FLIGHT: usize = 4;
const SEALED_BYTES: u32 = (512 << 10) + 32;

fn id(chunk: u64) -> Id {
    Id::of(&chunk.to_le_bytes())
}

fn pack(number: u64, chunks: u64) -> PackEntries {
    let first = number * PACK_CHUNKS;
    let entry = |chunk: u64| Entry {
        kind: BlobKind::Data,
        id: id(chunk),
        offset: (chunk - first) as u32 * SEALED_BYTES,
        sealed_len: SEALED_BYTES,
        raw_len: Some(600_000),
    };
    let entries = (first..chunks.min(first + PACK_CHUNKS)).map(entry).collect();
    PackEntries { id: Id::of(format!("pack {number}").as_bytes()), entries }
}

/// Writes index files that name so many chunks, sealed as all are. Returns how many files.
pub async fn write_index_files(repo: &Repo, chunks: u64) -> Result<u64> {
    let packs = chunks.div_ceil(PACK_CHUNKS);
    let files = packs.div_ceil(FILE_PACKS);
    let write = |file: u64| {
        let repo = repo.clone();
        async move {
            let numbers = file * FILE_PACKS..packs.min((file + 1) * FILE_PACKS);
            let packs = numbers.map(|number| pack(number, chunks)).collect();
            repo.opened().write_index_file(packs).await
        }
    };
    stream::iter(0..files).map(write).buffer_unordered(WRITES_IN_FLIGHT).try_for_each(async |()| Ok(())).await?;
    Ok(files)
}

/// Brings the index up to date, as the beginning of each job does.
pub async fn refresh(repo: &Repo) -> Result<()> {
    repo.opened().index().refresh().await
}

/// Is this chunk indexed? Those that were written have the numbers from zero.
pub fn contains(repo: &Repo, chunk: u64) -> Result<bool> {
    repo.opened().index().contains(BlobKind::Data, &id(chunk))
}
