use std::collections::HashMap;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto::Key;
use crate::id::Id;
use crate::store::{self, Name, Store};
use crate::{Error, Result, machine, sealed};

/// restic takes a lock for abandoned when it is older than half an hour.
pub(super) const STALE_SECONDS: i64 = 30 * 60;

/// Lock files that are read at once.
const READS_IN_FLIGHT: usize = 16;

/// What somebody holds a lock for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// To read and write points, beside others who do.
    #[default]
    Session,
    /// To find and mark what is not needed: one at a time, beside sessions.
    Prune,
    /// To delete what is marked: exclusive for restic, while sessions that know the marks go on.
    Sweep,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LockFile {
    pub(super) time: Timestamp,
    pub(super) exclusive: bool,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) pid: u32,
    /// What only we understand; restic passes over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xenkeep: Option<Ours>,
}

/// A lock is a new file each time it is renewed; this stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ours {
    pub(super) session: Uuid,
    pub(super) since: Timestamp,
    #[serde(default, rename = "for")]
    pub(super) purpose: Purpose,
}

impl Ours {
    pub(super) fn new(purpose: Purpose) -> Self {
        Ours { session: Uuid::new_v4(), since: Timestamp::now(), purpose }
    }
}

impl LockFile {
    pub(super) fn new(ours: &Ours) -> Self {
        LockFile {
            time: Timestamp::now(),
            exclusive: ours.purpose == Purpose::Sweep,
            hostname: machine::host_name(),
            username: machine::USER.to_owned(),
            pid: std::process::id(),
            xenkeep: Some(ours.clone()),
        }
    }

    /// restic's rule: too old, or its process is gone from this machine.
    pub(crate) fn is_stale(&self) -> bool {
        let age = Timestamp::now().as_second() - self.time.as_second();
        age > STALE_SECONDS || (self.hostname == machine::host_name() && !machine::process_exists(self.pid))
    }
}

/// A lock that stands in the repository.
#[derive(Clone, Debug)]
pub(crate) struct Holder {
    /// Name of the file, until it is renewed.
    pub(crate) id: Id,
    /// The session, if it is one of ours.
    pub(crate) session: Option<Uuid>,
    pub(crate) purpose: Purpose,
    pub(crate) exclusive: bool,
    /// Nobody holds it any more, by restic's rule.
    pub(crate) stale: bool,
    /// Who says to hold it, for people.
    pub(crate) who: String,
    /// Since when; for a foreign lock, when it was renewed last.
    pub(crate) since: Timestamp,
}

impl Holder {
    fn new(id: Id, lock: LockFile) -> Self {
        let stale = lock.is_stale();
        let LockFile { time, exclusive, hostname, username, pid, xenkeep } = lock;
        Holder {
            id,
            stale,
            exclusive,
            session: xenkeep.as_ref().map(|ours| ours.session),
            purpose: xenkeep.as_ref().map(|ours| ours.purpose).unwrap_or_default(),
            who: format!("{username} on {hostname} (process {pid})"),
            since: xenkeep.map_or(time, |ours| ours.since),
        }
    }

    pub(super) fn refusal(&self) -> Error {
        Error::Locked { by: format!("{} since {}", self.who, self.since) }
    }
}

/// All locks that stand in the repository, stale ones too. One that is renewed meanwhile is not missed.
pub(crate) async fn holders(store: &dyn Store, key: &Key) -> Result<Vec<Holder>> {
    other_holders(store, key, None).await
}

/// The same, without one whose file is `own`, which need not be read.
pub(super) async fn other_holders(store: &dyn Store, key: &Key, own: Option<Id>) -> Result<Vec<Holder>> {
    let mut known: HashMap<Id, Holder> = HashMap::new();
    loop {
        let mut vanished = false;
        // Empty files are left behind where a restic was killed; it passes over them too.
        let listed = store::list_settled(store, Name::Lock).await?.into_iter().filter(|(_, len)| *len > 0);
        let listed: Vec<Id> = listed.map(|(id, _)| id).filter(|id| Some(*id) != own).collect();
        let unread: Vec<Id> = listed.iter().filter(|id| !known.contains_key(id)).copied().collect();
        let mut read = stream::iter(unread)
            .map(|id| async move { (id, sealed::read(store, key, Name::Lock(id)).await) })
            .buffer_unordered(READS_IN_FLIGHT);
        while let Some((id, lock)) = read.next().await {
            match lock {
                Ok(lock) => drop(known.insert(id, Holder::new(id, lock))),
                Err(Error::NotFound { .. }) => vanished = true, // released, or renewed: look again
                Err(error) => return Err(error),
            }
        }
        if !vanished {
            return Ok(listed.iter().filter_map(|id| known.remove(id)).collect());
        }
    }
}
