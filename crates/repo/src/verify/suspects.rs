//! Packs with which something may be wrong: each is read once more and judged blob by blob, by what index files say now.

use futures::{StreamExt, TryStreamExt, stream};
use rustix::io::Errno;

use super::examine::{self, Faults};
use super::packs::{self, Packs};
use super::reader::{MAX_PACK_BYTES, PackFile, Reader};
use super::small::chain;
use crate::id::Id;
use crate::index::{IdMap, IdSet};
use crate::pack::Entry;
use crate::repo::Opened;
use crate::store::Name;
use crate::{Error, Result, sealed, work};

/// Blobs of the packs that are judged in one go.
const BATCH_BLOBS: usize = 400_000;
const JUDGED_AT_ONCE: usize = 4;

/// What came of a suspicion.
pub(super) enum Verdict {
    Good,
    /// No index file names it any more.
    Gone,
    Damaged(Finding),
    /// It could not be read, which may pass.
    Undecided(String),
}

/// What is wrong with a pack.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) why: String,
    /// The blobs that cannot be read, if it is not all of them.
    pub(super) blobs: Option<Vec<Id>>,
    pub(super) missing: bool,
}

pub(super) async fn judge(
    repo: &Opened,
    reader: &Reader<'_>,
    packs: &Packs,
    suspects: &IdSet,
) -> Result<IdMap<Verdict>> {
    let mut verdicts = IdMap::default();
    for batch in batches(packs, suspects) {
        // If all of it is gone (a mount, a network), no single pack is damaged.
        repo.store.get(Name::Config, sealed::SMALL_FILE_BYTES).await?;
        let mut entries = packs::entries_of(repo, &batch).await?;
        let judged: Vec<(Id, Verdict)> = stream::iter(batch)
            .map(|pack| {
                let entries = entries.remove(&pack);
                async move {
                    match entries {
                        Some(entries) => Ok::<_, Error>((pack, judge_pack(repo, reader, packs, pack, entries).await?)),
                        None => Ok((pack, Verdict::Gone)),
                    }
                }
            })
            .buffer_unordered(JUDGED_AT_ONCE)
            .try_collect()
            .await?;
        verdicts.extend(judged);
    }
    Ok(verdicts)
}

/// Suspects in groups whose blobs fit into memory.
fn batches(packs: &Packs, suspects: &IdSet) -> Vec<IdSet> {
    let mut batches: Vec<IdSet> = Vec::new();
    let mut room = 0;
    for pack in suspects {
        let blobs = packs.by_id.get(pack).map_or(1, |summary| summary.blobs as usize);
        if blobs > room {
            batches.push(IdSet::default());
            room = BATCH_BLOBS;
        }
        room = room.saturating_sub(blobs);
        batches.last_mut().expect("one was pushed").insert(*pack);
    }
    batches
}

async fn judge_pack(
    repo: &Opened,
    reader: &Reader<'_>,
    packs: &Packs,
    pack: Id,
    entries: Vec<Entry>,
) -> Result<Verdict> {
    let missing = || Verdict::Damaged(Finding { why: "it is missing".to_owned(), blobs: None, missing: true });
    let len = match repo.store.len(Name::Pack(pack)).await {
        Ok(Some(len)) if len > MAX_PACK_BYTES => {
            return Ok(Verdict::Undecided(format!("it has {len} bytes: `restic check --read-data` may judge it")));
        }
        Ok(Some(len)) => len,
        Ok(None) => return Ok(missing()),
        Err(error) => return Ok(Verdict::Undecided(chain(&error))),
    };
    let (faults, entries) = match reader.read(pack, 0, len).await {
        Ok(PackFile { bytes, permit: _permit }) => {
            let key = repo.key.clone();
            work::run(move || (examine::examine(&key, &pack, &entries, &bytes), entries)).await?
        }
        Err(Error::NotFound { .. }) => return Ok(missing()),
        Err(error) if is_medium(&error) => {
            (read_what_can_be_read(repo, reader, pack, &entries, &error).await?, entries)
        }
        Err(error) => return Ok(Verdict::Undecided(chain(&error))),
    };
    if faults.is_empty() {
        return Ok(Verdict::Good);
    }
    let mut why = describe(&faults, entries.len());
    if let Some(other) = faults.hash.filter(|hash| *hash != pack && packs.by_id.contains_key(hash)) {
        why = format!("{why}; what it holds belongs into {}", Name::Pack(other));
    }
    let blobs = (faults.blobs.len() < entries.len() || entries.is_empty()).then_some(faults.blobs);
    Ok(Verdict::Damaged(Finding { why, blobs, missing: false }))
}

fn describe(faults: &Faults, of: usize) -> String {
    let file = faults.file.clone();
    match &faults.blob {
        None => format!("{}; all chunks in it can be read", file.unwrap_or_default()),
        Some(first) => {
            let blobs = format!("{} of {of} chunks in it cannot be read ({first})", faults.blobs.len());
            file.map_or(blobs.clone(), |file| format!("{file}; {blobs}"))
        }
    }
}

/// Does the medium say that it cannot read these bytes, or that they are not what it has stored? Then the damage is as
/// lasting as a flipped bit. Anything else (no right, no network, too many open files) may pass.
pub(super) fn is_medium(error: &Error) -> bool {
    let errnos = [Errno::IO, Errno::BADMSG, Errno::ILSEQ, Errno::UCLEAN].map(Errno::raw_os_error);
    matches!(error, Error::Io { source, .. } if source.raw_os_error().is_some_and(|errno| errnos.contains(&errno)))
}

/// Blob by blob, where the file cannot be read as a whole.
async fn read_what_can_be_read(
    repo: &Opened,
    reader: &Reader<'_>,
    pack: Id,
    entries: &[Entry],
    error: &Error,
) -> Result<Faults> {
    let mut faults = Faults { file: Some(chain(error)), ..Faults::default() };
    for entry in entries {
        let at_start = Entry { offset: 0, ..*entry };
        let checked = match reader.read(pack, u64::from(entry.offset), u64::from(entry.sealed_len)).await {
            Ok(PackFile { bytes, permit: _permit }) => {
                let key = repo.key.clone();
                work::run(move || examine::check_blob(&key, &at_start, &bytes)).await?
            }
            Err(error) => Err(chain(&error)),
        };
        if let Err(why) = checked {
            faults.blobs.push(entry.id);
            faults.blob.get_or_insert(why);
        }
    }
    Ok(faults)
}
