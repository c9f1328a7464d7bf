//! A verification, from its beginning to its end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use tokio::time::Instant;

use super::examine;
use super::options::{Depth, VerifyOptions};
use super::packs::{self, Packs, Summary};
use super::reader::{PackFile, Reader};
use super::report::{UndecidedFile, VerifyReport};
use super::small::{self, Small, chain};
use super::suspects::{self, Finding, Verdict, is_medium};
use super::trace::{self, Known, Traced};
use super::verified::Verified;
use super::{FileKind, verdict};
use crate::damage::PackDamage;
use crate::id::Id;
use crate::index::{IdMap, IdSet};
use crate::repo::Opened;
use crate::snapshot::Snapshot;
use crate::store::Name;
use crate::{Error, Result, SnapshotId, work};

/// Packs that are read or judged at once, as far as memory allows.
const PACKS_IN_FLIGHT: usize = 8;

/// What was verified is written down this often.
const SAVED_EVERY: Duration = Duration::from_secs(10 * 60);

/// After so many packs in a row that cannot be read for other reasons than damage, it is given up.
const MAX_FAILURES: usize = 20;

/// How often is begun anew because a directory could not be read, or others have changed the repository meanwhile.
const MAX_ROUNDS: usize = 4;

/// A pack that is damaged.
pub(super) struct Damaged {
    pub(super) finding: Finding,
    pub(super) chunks: u64,
    pub(super) lost_chunks: u64,
}

pub(super) struct Run<'a> {
    repo: &'a Arc<Opened>,
    options: &'a VerifyOptions,
    reader: Reader<'a>,
    packs: Packs,
    verified: Verified,
    suspects: IdSet,
    /// Suspects that gave other bytes than they should when they were read first.
    misread: IdSet,
    damaged: BTreeMap<Id, Damaged>,
    report: VerifyReport,
}

impl<'a> Run<'a> {
    pub(super) async fn run(repo: &'a Arc<Opened>, options: &'a VerifyOptions) -> Result<VerifyReport> {
        // Points come before the index: what they need is in there then.
        let small = Small::check(repo).await?;
        repo.index.refresh_readable().await?;
        repo.damage.refresh().await?;
        let mut run = Run {
            repo,
            options,
            reader: Reader::new(&*repo.store, options.bytes_per_second),
            packs: Packs::load(repo).await?,
            verified: Verified::load(repo).await?,
            suspects: repo.damage.records().await?.into_keys().collect(),
            misread: IdSet::default(),
            damaged: BTreeMap::new(),
            report: VerifyReport { damaged: small.damaged, undecided: small.undecided, ..VerifyReport::default() },
        };
        run.note_index();
        run.list().await?;
        if options.depth == Depth::Full {
            let read = run.read().await;
            run.verified.save(repo).await?;
            read?;
        }
        let traced = run.judge_and_trace(small.snapshots).await?;
        run.verified.compact(repo, &run.packs).await?;
        Ok(run.finish(traced))
    }

    fn note_index(&mut self) {
        for (id, error) in &self.packs.unreadable {
            let why = match error {
                Error::Damaged { why, .. } => why.clone(),
                other => other.to_string(),
            };
            self.report.damaged.push(small::damaged(FileKind::Index, Name::Index(*id), why));
        }
        self.report.packs_total = self.packs.by_id.len() as u64;
        self.report.bytes_total = self.packs.bytes();
        self.suspects.extend(&self.packs.disputed);
    }

    /// Is each pack there, with its size?
    async fn list(&mut self) -> Result<()> {
        for (id, len) in self.repo.store.list(Name::Pack).await? {
            match self.packs.by_id.get_mut(&id) {
                Some(summary) => {
                    summary.listed = true;
                    if summary.bytes != len {
                        self.suspects.insert(id);
                    }
                }
                None => {
                    self.report.unindexed_packs += 1;
                    self.report.unindexed_bytes += len;
                }
            }
        }
        self.suspects.extend(self.packs.by_id.iter().filter(|(_, summary)| !summary.listed).map(|(id, _)| id));
        Ok(())
    }

    /// The packs whose turn it is: those first that were read longest ago.
    fn choose(&self) -> Vec<(Id, Summary)> {
        let before = self.options.older_than.and_then(|age| Timestamp::now().checked_sub(age).ok());
        let mut chosen: Vec<(Option<Timestamp>, Id, Summary)> = self
            .packs
            .by_id
            .iter()
            .filter(|(id, _)| !self.suspects.contains(id))
            .map(|(id, summary)| (self.verified.at(id), *id, *summary))
            .filter(|(at, ..)| at.zip(before).is_none_or(|(at, before)| at <= before))
            .collect();
        chosen.sort_unstable_by_key(|(at, id, _)| (*at, *id));
        let room = self.options.share.map(|share| share * self.report.bytes_total as f64);
        let mut taken = 0;
        let fits = |(_, _, summary): &(Option<Timestamp>, Id, Summary)| {
            let fits = room.is_none_or(|room| (taken as f64) < room);
            taken += summary.bytes;
            fits
        };
        chosen.into_iter().take_while(fits).map(|(_, id, summary)| (id, summary)).collect()
    }

    /// Reads packs whole.
    async fn read(&mut self) -> Result<()> {
        let chosen = self.choose();
        let progress = &self.options.progress;
        progress.expect_packs(chosen.len() as u64, chosen.iter().map(|(_, summary)| summary.bytes).sum());
        let (repo, reader) = (self.repo, &self.reader);
        let mut reads = stream::iter(chosen)
            .map(|(id, summary)| async move { (id, summary, is_good(repo, reader, id, summary).await) })
            .buffer_unordered(PACKS_IN_FLIGHT);
        let (mut saved, mut failures) = (Instant::now(), 0);
        while let Some((id, summary, good)) = reads.next().await {
            progress.pack_done(summary.bytes);
            match good {
                Ok(true) => {
                    self.verified.add(&id);
                    self.report.packs_checked += 1;
                    self.report.bytes_read += summary.bytes;
                }
                Ok(false) => {
                    self.misread.insert(id);
                    self.suspects.insert(id);
                    self.report.packs_checked += 1;
                    self.report.bytes_read += summary.bytes;
                }
                Err(error) if is_lasting(&error) => drop(self.suspects.insert(id)),
                Err(error) if failures >= MAX_FAILURES => return Err(error),
                Err(error) => {
                    failures += 1;
                    let (name, why) = (Name::Pack(id).to_string(), chain(&error));
                    tracing::warn!(file = name, why, "a pack could not be read");
                    self.report.undecided.push(UndecidedFile { name, why });
                    continue;
                }
            }
            failures = 0;
            if saved.elapsed() > SAVED_EVERY {
                self.verified.save(repo).await?;
                saved = Instant::now();
            }
        }
        Ok(())
    }

    /// Judges all suspects, and finds out whom damage touches. Directories that cannot be read make new suspects.
    async fn judge_and_trace(&mut self, mut points: Vec<(SnapshotId, Snapshot)>) -> Result<Traced> {
        let mut round = 1;
        loop {
            let suspects = std::mem::take(&mut self.suspects);
            self.judge(&suspects).await?;
            let known = Known { damage: self.repo.damage.get(), numbers: verdict::numbers(&self.damaged) };
            let mut traced = trace::trace(self.repo, known, &points, &self.options.progress).await?;
            self.suspects = std::mem::take(&mut traced.suspects);
            if round == MAX_ROUNDS || (traced.unnamed.is_empty() && self.suspects.is_empty()) {
                return Ok(traced);
            }
            // Has somebody removed a point meanwhile, or moved what it needs?
            self.repo.index.refresh_readable().await?;
            let removed = self.drop_removed(&mut points).await?;
            if self.suspects.is_empty() && !removed && !self.has_appeared(&traced)? {
                return Ok(traced);
            }
            round += 1;
        }
    }

    async fn drop_removed(&self, points: &mut Vec<(SnapshotId, Snapshot)>) -> Result<bool> {
        let listed: IdSet = self.repo.store.list(Name::Snapshot).await?.into_iter().map(|(id, _)| id).collect();
        let before = points.len();
        points.retain(|(id, _)| listed.contains(&id.0));
        Ok(points.len() < before)
    }

    /// Does an index file name by now what none named before?
    fn has_appeared(&self, traced: &Traced) -> Result<bool> {
        for (kind, id) in &traced.unnamed {
            if self.repo.index.contains(*kind, id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn judge(&mut self, suspects: &IdSet) -> Result<()> {
        let verdicts = suspects::judge(self.repo, &self.reader, &self.packs, suspects).await?;
        let (mut cleared, mut found) = (IdSet::default(), IdMap::default());
        for (pack, verdict) in verdicts {
            match verdict {
                Verdict::Good => {
                    cleared.insert(pack);
                    self.verified.add(&pack);
                    if self.misread.contains(&pack) {
                        let why = "it gave other bytes when it was read first: look after memory, cables and network";
                        self.report
                            .undecided
                            .push(UndecidedFile { name: Name::Pack(pack).to_string(), why: why.to_owned() });
                    }
                }
                Verdict::Gone => drop(cleared.insert(pack)),
                Verdict::Damaged(finding) => drop(found.insert(pack, finding)),
                Verdict::Undecided(why) => {
                    self.report.undecided.push(UndecidedFile { name: Name::Pack(pack).to_string(), why });
                }
            }
        }
        self.record(&cleared, &found).await?;
        self.count(found).await
    }

    /// Tells everyone else what is damaged, and what is so no longer.
    async fn record(&mut self, cleared: &IdSet, found: &IdMap<Finding>) -> Result<()> {
        let mut cleared_packs = 0;
        let change = |records: &mut crate::damage::Records| {
            let before = records.len();
            records.retain(|pack, _| !cleared.contains(pack));
            cleared_packs = (before - records.len()) as u64;
            for (pack, finding) in found {
                let since = records.get(pack).map_or_else(Timestamp::now, |known| known.found);
                let record =
                    PackDamage { pack: *pack, found: since, why: finding.why.clone(), blobs: finding.blobs.clone() };
                records.insert(*pack, record);
            }
        };
        self.repo.damage.replace(change).await?;
        self.report.cleared_packs += cleared_packs;
        Ok(())
    }

    /// Counts what is lost with damaged packs. Those that no index file names any more by now were pruned meanwhile.
    async fn count(&mut self, found: IdMap<Finding>) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        self.repo.index.refresh_readable().await?;
        let counts = packs::count(self.repo, &found).await?;
        let gone = found.keys().filter(|pack| !counts.contains_key(pack)).copied().collect::<IdSet>();
        for (pack, finding) in found {
            let Some(counted) = counts.get(&pack) else { continue };
            tracing::error!(pack = %Name::Pack(pack), why = finding.why, lost = counted.lost, "a pack is damaged");
            self.options.progress.pack_damaged();
            self.report.healed_chunks += counted.chunks - counted.lost;
            self.damaged.insert(pack, Damaged { finding, chunks: counted.chunks, lost_chunks: counted.lost });
        }
        self.record(&gone, &IdMap::default()).await
    }

    fn finish(mut self, mut traced: Traced) -> VerifyReport {
        verdict::add_packs(&mut self.report, &self.damaged, &mut traced);
        self.report.points = traced.points;
        self.report.undecided.append(&mut traced.undecided);
        for pack in self.packs.by_id.keys() {
            match self.verified.at(pack) {
                None => self.report.never_verified_packs += 1,
                at => self.report.oldest_verified = at.min(self.report.oldest_verified.or(at)),
            }
        }
        if self.report.never_verified_packs > 0 {
            self.report.oldest_verified = None;
        }
        self.report
    }
}

async fn is_good(repo: &Opened, reader: &Reader<'_>, id: Id, summary: Summary) -> Result<bool> {
    let PackFile { bytes, permit: _permit } = reader.read(id, 0, summary.bytes).await?;
    let key = repo.key.clone();
    work::run(move || examine::is_good(&key, &id, &summary, &bytes)).await
}

/// Will it be the same the next time?
fn is_lasting(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. } | Error::NotFound { .. }) || is_medium(error)
}
