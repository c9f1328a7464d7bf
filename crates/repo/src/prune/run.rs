use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::Guard;
use super::census::Census;
use super::cover;
use super::mark::{self, MARK_PACKS, Mark, MarkedPack};
use super::plan::Plan;
use super::repack::Repack;
use super::report::{PackTotals, PruneOptions, PruneReport, PruneStep, WaitingReason};
use super::rewrite::rewrite;
use super::standing::{self, Standing};
use super::used::Used;
use crate::id::Id;
use crate::index::IdSet;
use crate::lock::{Lock, Purpose};
use crate::repo::Opened;
use crate::session::Session;
use crate::store::Name;
use crate::{Error, Result, protect};

/// Packs that are deleted at once, and between two looks whether the lock is still ours.
const DELETIONS_IN_FLIGHT: usize = 16;
const DELETIONS_PER_CHECK: usize = 256;

/// A prune that is under way.
pub(super) struct Run<'a> {
    repo: &'a Arc<Opened>,
    options: &'a PruneOptions,
    /// Holds the lock.
    session: Arc<Session>,
    used: Used,
    census: Census,
    /// Packs that earlier marks name, or named when this run began.
    marked: IdSet,
    report: PruneReport,
}

pub(super) async fn prune(repo: &Arc<Opened>, options: &PruneOptions) -> Result<PruneReport> {
    let progress = &options.progress;
    progress.begin(PruneStep::Opening, 0);
    let purpose = if options.dry_run { Purpose::Session } else { Purpose::Prune };
    let session = repo.open_session(purpose).await?;
    let writing = repo.writing();
    let forgotten = protect::forgotten(&*repo.store, &repo.key).await?;
    let marks = mark::read_all(&*repo.store, &repo.key).await?;
    // What was forgotten only matters to marks that were written before the point was there.
    let needless = |point: &Id| marks.iter().all(|(_, mark)| mark.knows(point));
    let (needless, needed): (Vec<_>, Vec<_>) = forgotten.into_iter().partition(|(_, of)| needless(&of.point.0));
    let [needless, needed] = [needless, needed].map(|files| files.into_iter().map(|(id, _)| id).collect::<Vec<_>>());

    progress.begin(PruneStep::Walking, 0);
    let mut used = Used::new(repo).await?;
    used.pass_over(&needless);
    used.add_points(repo).await?;

    progress.begin(PruneStep::Counting, 0);
    let marked: IdSet = marks.iter().flat_map(|(_, mark)| mark.all()).map(|pack| pack.id).collect();
    let census = Census::take(repo, &used, &marked).await?;
    let mut fresh = IdSet::default();
    writing.iter().chain(&repo.writing()).for_each(|written| written.add_to(&mut fresh));
    let plan = Plan::make(&census, &fresh, options);

    let mut run = Run { repo, options, session, used, census, marked, report: PruneReport::default() };
    run.tell(&plan);
    let earlier = run.sort(marks).await?;
    let all_due = earlier.waiting.is_empty();
    let all_swept = run.sweep(earlier).await? && all_due;
    run.mark(plan).await?;
    if !options.dry_run {
        // Marks that were written later have seen all who may have been using these points.
        let done = if all_swept { needed } else { Vec::new() };
        for id in needless.into_iter().chain(done) {
            repo.store.remove(Name::Forgotten(id)).await?;
        }
    }
    Ok(run.report)
}

impl Run<'_> {
    fn tell(&mut self, plan: &Plan) {
        let report = &mut self.report;
        report.points = self.used.points;
        (report.used_bytes, report.unused_bytes) = (plan.used_bytes, plan.unused_bytes);
        plan.delete.iter().chain(&plan.repack).chain(&plan.orphans).for_each(|pack| report.to_delete.add(pack.bytes));
        plan.repack.iter().for_each(|pack| report.repacked.add(pack.bytes));
        report.rewritten_bytes = plan.rewritten_bytes;
        report.why = plan.classes();
    }

    async fn sort(&self, marks: Vec<(Id, Mark)>) -> Result<Standing> {
        let PruneOptions { grace, dry_run, .. } = *self.options;
        standing::sort(self.repo, marks, self.session.id(), &self.census.sizes, grace, dry_run).await
    }

    /// Deletes what is due. True if all of that is done.
    async fn sweep(&mut self, standing: Standing) -> Result<bool> {
        let Standing { due, waiting, dead } = standing;
        self.report.waiting.extend(waiting);
        if due.is_empty() {
            return Ok(true);
        }
        self.options.progress.begin(PruneStep::Sweeping, due.iter().map(|(_, mark)| mark.all().count() as u64).sum());
        if self.options.dry_run {
            let (gone, orphans) = self.deletable(&due).await?;
            self.count_deleted(gone.iter().chain(&orphans));
            return Ok(true);
        }
        let lock = match Lock::take(self.repo.store.clone(), self.repo.key.clone(), Purpose::Sweep).await {
            Err(Error::Locked { by }) => {
                // Somebody has come in this moment.
                let mut standing = Standing::default();
                due.iter().for_each(|(_, mark)| {
                    standing.wait(mark, &self.census.sizes, WaitingReason::ForeignLock { who: by.clone() });
                });
                self.report.waiting.extend(standing.waiting);
                return Ok(false);
            }
            lock => lock?,
        };
        // Whoever is taken for dead and wakes up shall find that out before, or at the latest after, it lists a point;
        // and what it has listed until now is found below.
        for id in dead {
            self.repo.store.remove(Name::Lock(id)).await?;
        }
        self.used.add_points(self.repo).await?;
        let (gone, orphans) = self.deletable(&due).await?;
        rewrite(self.repo, &gone, &Guard { prune: &self.session, sweep: &lock }).await?;
        let doomed: Vec<Id> = gone.into_iter().chain(orphans).filter(|id| self.census.sizes.contains_key(id)).collect();
        for some in doomed.chunks(DELETIONS_PER_CHECK) {
            Guard { prune: &self.session, sweep: &lock }.check().await?;
            self.delete(some).await?;
        }
        self.count_deleted(doomed.iter());
        for (id, _) in &due {
            self.repo.store.remove(Name::Mark(*id)).await?;
        }
        Ok(true)
    }

    /// Of what is due: packs that nobody needs, and packs that still are in no index file.
    async fn deletable(&mut self, due: &[(Id, Mark)]) -> Result<(IdSet, IdSet)> {
        let ids = |packs: fn(&Mark) -> &Vec<MarkedPack>| -> IdSet {
            due.iter().flat_map(|(_, mark)| packs(mark)).map(|pack| pack.id).collect()
        };
        let (mut gone, mut orphans) = (ids(|mark| &mark.packs), ids(|mark| &mark.orphans));
        let all: IdSet = gone.union(&orphans).copied().collect();
        let cover = cover::look(self.repo, &self.used, &all, &self.marked).await?;
        self.report.rescued_packs += cover.needed.len() as u64;
        gone.retain(|id| !cover.needed.contains(id));
        orphans.retain(|id| !cover.indexed.contains(id));
        Ok((gone, orphans))
    }

    fn count_deleted<'i>(&mut self, ids: impl Iterator<Item = &'i Id>) {
        for bytes in ids.filter_map(|id| self.census.sizes.get(id)) {
            self.report.deleted.add(*bytes);
        }
    }

    async fn delete(&self, packs: &[Id]) -> Result<()> {
        let delete = |id: &Id| {
            let name = Name::Pack(*id);
            async move {
                self.repo.store.remove(name).await?;
                self.options.progress.add(1);
                Ok::<_, Error>(())
            }
        };
        stream::iter(packs).map(delete).buffer_unordered(DELETIONS_IN_FLIGHT).try_collect().await
    }

    /// Takes out what is needed of packs that are hardly needed, marks, and deletes at once if nothing speaks against it.
    async fn mark(&mut self, mut plan: Plan) -> Result<()> {
        if self.options.dry_run {
            return self.pretend_to_mark(&plan).await;
        }
        self.repack(&mut plan).await?;
        self.options.progress.begin(PruneStep::Marking, 0);
        let mut packs: Vec<MarkedPack> = plan.doomed().copied().collect();
        if !packs.is_empty() {
            let ids: IdSet = packs.iter().map(|pack| pack.id).collect();
            let cover = cover::look(self.repo, &self.used, &ids, &self.marked).await?;
            packs.retain(|pack| !cover.needed.contains(&pack.id));
        }
        let marks = self.write_marks(&packs, &plan.orphans).await?;
        let standing = self.sort(marks).await?;
        self.sweep(standing).await.map(drop)
    }

    async fn repack(&mut self, plan: &mut Plan) -> Result<()> {
        if plan.repack.is_empty() {
            return Ok(());
        }
        self.options.progress.begin(PruneStep::Repacking, plan.rewritten_bytes);
        let doomed = plan.doomed().map(|pack| pack.id).chain(self.marked.iter().copied()).collect();
        let repack = Repack { repo: self.repo, used: &self.used, progress: &self.options.progress };
        let damaged = repack.run(&plan.repack, doomed, &self.session).await?;
        if !damaged.is_empty() {
            tracing::warn!(
                packs = damaged.len(),
                "packs that were to be repacked are damaged, and stay: verify the repository"
            );
        }
        plan.repack.retain(|pack| !damaged.contains(&pack.id));
        self.report.repacked = PackTotals::default();
        plan.repack.iter().for_each(|pack| self.report.repacked.add(pack.bytes));
        Ok(())
    }

    /// Writes marks that do not say yet which sessions there are. If the lock turns out to be lost, they go again: somebody
    /// else may have come to other conclusions.
    async fn write_marks(&mut self, packs: &[MarkedPack], orphans: &[MarkedPack]) -> Result<Vec<(Id, Mark)>> {
        let points: Vec<String> = self.used.snapshots().map(mark::short).collect();
        let mark = |packs: &[MarkedPack], orphans: &[MarkedPack]| {
            let (packs, orphans) = (packs.to_vec(), orphans.to_vec());
            Mark { at: Timestamp::now(), packs, orphans, points: points.clone(), sessions: None }
        };
        let of_packs = packs.chunks(MARK_PACKS).map(|packs| mark(packs, &[]));
        let of_orphans = orphans.chunks(MARK_PACKS).map(|orphans| mark(&[], orphans));
        let marks: Vec<Mark> = of_packs.chain(of_orphans).collect();
        let mut written = Vec::new();
        for mark in marks {
            self.session.check_lock().await?;
            let id = mark.write(&*self.repo.store, &self.repo.key).await?;
            if let Err(error) = self.session.check_lock().await {
                self.repo.store.remove(Name::Mark(id)).await?;
                return Err(error);
            }
            mark.all().for_each(|pack| self.report.marked.add(pack.bytes));
            written.push((id, mark));
        }
        Ok(written)
    }

    async fn pretend_to_mark(&mut self, plan: &Plan) -> Result<()> {
        let mark = Mark {
            at: Timestamp::now(),
            packs: plan.doomed().copied().collect(),
            orphans: plan.orphans.clone(),
            points: Vec::new(),
            sessions: None,
        };
        if mark.all().next().is_none() {
            return Ok(());
        }
        self.report.marked = self.report.to_delete;
        let standing = self.sort(vec![(Id::random(), mark)]).await?;
        if !standing.due.is_empty() {
            let to_delete = self.report.to_delete;
            self.report.deleted.packs += to_delete.packs;
            self.report.deleted.bytes += to_delete.bytes;
        }
        self.report.waiting.extend(standing.waiting);
        Ok(())
    }
}
