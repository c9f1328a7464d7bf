//! Marks that stand: what they wait for.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::mark::{Mark, Noted};
use super::report::{PackTotals, Waiting, WaitingReason};
use crate::Result;
use crate::id::Id;
use crate::index::IdMap;
use crate::lock::{self, Holder};
use crate::repo::Opened;
use crate::store::Name;

/// Marks, sorted by whether what they name can be deleted.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) due: Vec<(Id, Mark)>,
    pub(super) waiting: Vec<Waiting>,
    /// Locks of sessions that marks waited for, and that nobody holds any more.
    pub(super) dead: Vec<Id>,
}

/// Looks who is there, and sorts marks. `ours` is the prune's own session.
///
/// Of a mark without its sessions, they are noted now: those that were there when it was written are among them.
pub(super) async fn sort(
    repo: &Opened,
    marks: Vec<(Id, Mark)>,
    ours: Option<Uuid>,
    sizes: &IdMap<u64>,
    grace: Duration,
    dry_run: bool,
) -> Result<Standing> {
    let mut holders = lock::holders(&*repo.store, &repo.key).await?;
    holders.retain(|holder| holder.session.is_none() || holder.session != ours);
    let mut standing = Standing::default();
    for (mut id, mut mark) in marks {
        if !dry_run
            && !mark.all().any(|pack| sizes.contains_key(&pack.id))
            && mark.packs.iter().all(|pack| pack.bytes > 0)
        {
            // All of it is gone: a foreign prune was here, or a sweep was interrupted at its end.
            repo.store.remove(Name::Mark(id)).await?;
            continue;
        }
        if mark.sessions.is_none() {
            mark.sessions = Some(sessions(&holders));
            if !dry_run {
                let noted = mark.write(&*repo.store, &repo.key).await?;
                repo.store.remove(Name::Mark(id)).await?;
                id = noted;
            }
        }
        match reason(&mark, &holders, grace, &mut standing.dead) {
            Some(reason) => standing.wait(&mark, sizes, reason),
            None => standing.due.push((id, mark)),
        }
    }
    Ok(standing)
}

impl Standing {
    pub(super) fn wait(&mut self, mark: &Mark, sizes: &IdMap<u64>, reason: WaitingReason) {
        let mut packs = PackTotals::default();
        mark.all().filter_map(|pack| sizes.get(&pack.id)).for_each(|bytes| packs.add(*bytes));
        self.waiting.push(Waiting { packs, reason });
    }
}

fn sessions(holders: &[Holder]) -> Vec<Noted> {
    let noted = |holder: &Holder| {
        let session = holder.session.filter(|_| !holder.stale)?;
        Some(Noted { session, who: holder.who.clone(), since: holder.since })
    };
    holders.iter().filter_map(noted).collect()
}

fn reason(mark: &Mark, holders: &[Holder], grace: Duration, dead: &mut Vec<Id>) -> Option<WaitingReason> {
    for noted in mark.sessions.iter().flatten() {
        for holder in holders.iter().filter(|holder| holder.session == Some(noted.session)) {
            if !holder.stale {
                return Some(WaitingReason::Session { who: noted.who.clone(), since: noted.since });
            }
            dead.push(holder.id);
        }
    }
    if let Some(foreign) = holders.iter().find(|holder| holder.session.is_none() && !holder.stale) {
        return Some(WaitingReason::ForeignLock { who: foreign.who.clone() });
    }
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let until = mark.at.saturating_add(grace).unwrap_or(Timestamp::MAX);
    (until > Timestamp::now()).then_some(WaitingReason::Grace { until })
}
