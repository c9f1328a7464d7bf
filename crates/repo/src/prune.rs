//! Giving back the space of what no point needs, beside backups and restores that go on.
//!
//! A prune finds out what points need ([`used`]), counts what lies in the packs ([`census`]), decides ([`plan`]), takes what
//! is needed out of packs that are hardly needed ([`repack`]), and *marks* the packs that can go ([`mark`]). They are deleted,
//! *swept*, only when whoever might still refer to them is done ([`standing`]), and only after it was found once more that
//! nothing in them is needed ([`cover`]). Then the index files are replaced ([`rewrite`]), the packs removed, and last
//! the mark. Between two of these steps it may be killed: the next prune goes on.
//!
//! # Why nothing is lost
//!
//! A pack is deleted when it is marked and the sweep finds none of its blobs needed by a point, or all of those elsewhere. So it
//! has to be shown that no point which the sweep does not see refers to a marked pack. Let *M* be the mark.
//!
//! 1. A session writes its lock, *then* reads the marks. A prune writes *M*, *then* reads the locks and notes the sessions.
//!    So each session knows *M*, or is noted in it (or both). Lists are read so that nothing is missed that is replaced meanwhile.
//! 2. A session that knows *M* stores anew what lies in *M*'s packs only. Noted sessions may refer to it: the sweep waits until
//!    their locks are gone, and lists the points then. A lock goes only when nothing of its session is under way any more.
//! 3. A session may also refer to chunks without asking the index: those of a point over which it stores an increment. The writer
//!    holds the session in which the point was opened until it has committed. That session knew *M*, or is noted (2). If it
//!    knew *M*, the point it opened was there when the sweep lists points, or was noted as forgotten before it was removed, and
//!    the sweep spares that, too. Notes of forgotten points go when no mark stands that was written before them.
//! 4. A session whose lock was lost cannot commit: it looks for its lock before it lists the point, and once more afterwards,
//!    and if the lock is gone then, the point goes again. A prune removes the lock of a session that it takes for dead *before* it
//!    lists the points. So of the point and the missing lock, one is seen by the other. (What remains: a machine that sleeps for
//!    longer than half an hour between two requests, and is killed between two others right after it wakes up.)
//! 5. Foreign sessions know no marks. So the sweep waits until there are none, and keeps them out with a lock that is exclusive
//!    for restic, *then* lists the points.
//! 6. Two prunes keep each other out with a lock. Should one be taken for dead and wake up, it finds its lock gone before it
//!    marks or deletes anything more; and what its mark says is not believed but found again (`cover`), where what any mark
//!    names does not count as a copy.
//!
//! # Who may do what while whom
//!
//! | while …           | a backup                        | a restore                | a prune (marking)      | a sweep           | restic backup, check | restic prune, forget |
//! |-------------------|---------------------------------|--------------------------|------------------------|-------------------|----------------------|----------------------|
//! | … a backup runs   | shares chunks in one process    | yes                      | yes                    | only of marks that the backup knows | yes | refused |
//! | … a restore runs  | yes                             | yes                      | yes                    | only of marks that the restore knows | yes | refused |
//! | … a prune marks   | does not refer to what is marked, or is waited for | yes   | refused                | it is the same    | yes                  | refused              |
//! | … a sweep runs    | yes                             | yes                      | refused                | refused           | refused              | refused              |
//! | … restic backs up | yes                             | yes                      | yes                    | waits             |                      |                      |
//! | … restic prunes   | refused                         | refused                  | refused                | refused           |                      |                      |
//!
//! # What stops it
//!
//! Everything that cannot be read: a list, a snapshot, a directory, an index file. So does a chunk that a point needs and no
//! index file names, and a pack that a point needs and that is not there: in a repository of which a part cannot be seen,
//! nothing can be said to be superfluous.
//!
//! # Memory
//!
//! Directories are remembered exactly (16 bytes each), chunks in a Bloom filter (4 bytes each) that errs now and then by
//! taking a chunk for needed, each time for other chunks. Of packs, some 100 bytes each; of chunks with several copies,
//! and of those that are being repacked, one by one up to a fixed number, and what exceeds it is left for the next run.

mod bloom;
mod census;
mod cover;
pub(crate) mod mark;
mod plan;
mod repack;
mod report;
mod rewrite;
mod run;
mod standing;
#[cfg(test)]
mod tests;
mod used;

pub(crate) use mark::Excluded;
pub use report::{
    PackClass, PackTotals, PruneOptions, PruneProgress, PruneReport, PruneStep, Waiting, WaitingReason, Why,
};

use crate::lock::Lock;
use crate::session::Session;
use crate::{Repo, Result};

/// The locks under which things are deleted.
struct Guard<'a> {
    prune: &'a Session,
    sweep: &'a Lock,
}

impl Guard<'_> {
    /// Are they still ours?
    async fn check(&self) -> Result<()> {
        self.prune.check_lock().await?;
        self.sweep.check().await
    }
}

impl Repo {
    /// Marks what no point needs, and deletes what was marked long enough ago. Backups and restores may go on meanwhile.
    ///
    /// It may be dropped, or killed, at any time: the next one goes on. Fails with [`Error::Locked`](crate::Error::Locked) if another prune runs.
    pub async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        run::prune(&self.0, &options).await
    }
}
