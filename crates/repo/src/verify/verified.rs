//! When packs were read whole last: `xenkeep/verified`.
//!
//! A file holds batches: a time, and the first eight bytes of the ids of the packs that were found good then. A run
//! writes such files as it goes, so that one that is killed was not for nothing, and puts all files together at its end,
//! new ones first, then removing those that it has read. Of two runs at once both write all they know; nothing is lost.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::packs::Packs;
use crate::id::Id;
use crate::index::IdHasher;
use crate::repo::Opened;
use crate::store::Name;
use crate::{Error, Result, sealed};

#[cfg(test)]
mod tests;

/// Packs in a file, which is then some 4 MiB long.
const FILE_PACKS: usize = 400_000;

#[derive(Default, Serialize, Deserialize)]
struct RecordFile {
    batches: Vec<Batch>,
}

#[derive(Serialize, Deserialize)]
struct Batch {
    at: Timestamp,
    /// Base64 of eight bytes a pack, sorted.
    packs: String,
}

/// Half of a quarter of an id: that two of millions of packs are taken for one another does not happen, and would only
/// mean that one of them has to wait for its turn.
fn short(pack: &Id) -> u64 {
    u64::from_be_bytes(*pack.as_bytes().first_chunk().expect("an id has 32 bytes"))
}

type Times = HashMap<u64, Timestamp, BuildHasherDefault<IdHasher>>;

/// When packs were verified.
#[derive(Default)]
pub(super) struct Verified {
    times: Times,
    /// Found good by this run, and not written yet.
    fresh: Vec<u64>,
}

impl Verified {
    pub(super) async fn load(repo: &Opened) -> Result<Self> {
        Ok(Verified { times: read(repo).await?.0, fresh: Vec::new() })
    }

    pub(super) fn at(&self, pack: &Id) -> Option<Timestamp> {
        self.times.get(&short(pack)).copied()
    }

    /// Notes that a pack was found good.
    pub(super) fn add(&mut self, pack: &Id) {
        self.fresh.push(short(pack));
    }

    /// Writes down what this run has verified since it did so last.
    pub(super) async fn save(&mut self, repo: &Opened) -> Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let now = Timestamp::from_second(Timestamp::now().as_second()).expect("a time without its fraction is a time");
        let fresh = self.fresh.iter().map(|pack| (*pack, now)).collect();
        write(repo, &fresh).await?;
        self.fresh.clear();
        self.times.extend(fresh);
        Ok(())
    }

    /// Puts all files together, and forgets packs that are no more.
    pub(super) async fn compact(&mut self, repo: &Opened, packs: &Packs) -> Result<()> {
        self.save(repo).await?;
        let (mut times, files, unreadable) = read(repo).await?;
        let known: HashMap<u64, (), BuildHasherDefault<IdHasher>> =
            packs.by_id.keys().map(|pack| (short(pack), ())).collect();
        let before = times.len();
        times.retain(|pack, _| known.contains_key(pack));
        if files.len() > 1.max(times.len().div_ceil(FILE_PACKS)) || times.len() < before || unreadable {
            let written = write(repo, &times).await?;
            for file in files.into_iter().filter(|file| !written.contains(file)) {
                repo.store.remove(Name::Verified(file)).await?;
            }
        }
        self.times = times;
        Ok(())
    }
}

/// All times, the latest of each pack, the files in which they were, and whether some of those cannot be read.
async fn read(repo: &Opened) -> Result<(Times, Vec<Id>, bool)> {
    let (mut times, mut files, mut unreadable) = (Times::default(), Vec::new(), false);
    for (id, _) in repo.store.list(Name::Verified).await? {
        match sealed::read::<RecordFile>(&*repo.store, &repo.key, Name::Verified(id)).await {
            Ok(file) => file.batches.iter().for_each(|batch| take_in(&mut times, batch)),
            Err(Error::NotFound { .. }) => continue, // replaced in this moment
            // What it said is taken for not verified.
            Err(error @ Error::Damaged { .. }) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a record of what was verified cannot be read"
                );
                unreadable = true;
            }
            Err(error) => return Err(error),
        }
        files.push(id);
    }
    Ok((times, files, unreadable))
}

fn take_in(times: &mut Times, batch: &Batch) {
    let packs = STANDARD.decode(&batch.packs).unwrap_or_default();
    for pack in packs.as_chunks().0 {
        let time = times.entry(u64::from_be_bytes(*pack)).or_insert(batch.at);
        *time = batch.at.max(*time);
    }
}

async fn write(repo: &Opened, times: &Times) -> Result<Vec<Id>> {
    let mut written = Vec::new();
    for file in split(times, FILE_PACKS) {
        let (id, content) = sealed::seal(&repo.key, &file);
        repo.store.put(Name::Verified(id), content).await?;
        written.push(id);
    }
    Ok(written)
}

fn split(times: &Times, file_packs: usize) -> Vec<RecordFile> {
    let mut batches: BTreeMap<Timestamp, Vec<u64>> = BTreeMap::new();
    for (pack, time) in times {
        batches.entry(*time).or_default().push(*pack);
    }
    let mut files = Vec::new();
    let mut room = 0;
    for (at, mut packs) in batches {
        packs.sort_unstable();
        let mut rest = packs.as_slice();
        while !rest.is_empty() {
            if room == 0 {
                files.push(RecordFile::default());
                room = file_packs;
            }
            let (now, later) = rest.split_at(rest.len().min(room));
            let bytes: Vec<u8> = now.iter().flat_map(|pack| pack.to_be_bytes()).collect();
            files.last_mut().expect("one was pushed").batches.push(Batch { at, packs: STANDARD.encode(bytes) });
            (rest, room) = (later, room - now.len());
        }
    }
    files
}
