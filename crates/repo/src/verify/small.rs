//! The small files of a repository: each is read, compared with its name, and opened.

use futures::{StreamExt, stream};
use serde::de::{DeserializeOwned, IgnoredAny};

use super::report::{DamagedFile, FileKind, UndecidedFile};
use crate::config::Config;
use crate::id::Id;
use crate::repo::Opened;
use crate::snapshot::Snapshot;
use crate::store::{Kind, Name};
use crate::{Error, Result, SnapshotId, sealed};

const READS_IN_FLIGHT: usize = 16;

/// Files of ours may be longer than restic's.
const OUR_FILE_BYTES: u64 = 128 << 20;

/// What the small files are like.
#[derive(Default)]
pub(super) struct Small {
    pub(super) damaged: Vec<DamagedFile>,
    pub(super) undecided: Vec<UndecidedFile>,
    pub(super) snapshots: Vec<(SnapshotId, Snapshot)>,
}

impl Small {
    /// Looks at all of them but index files.
    pub(super) async fn check(repo: &Opened) -> Result<Self> {
        let mut small = Small::default();
        let config = open::<Config>(repo, Name::Config, sealed::SMALL_FILE_BYTES).await;
        small.note(FileKind::Config, Name::Config, config);
        for (id, _) in repo.store.list(Name::Key).await? {
            small.note(FileKind::Key, Name::Key(id), key(repo, id).await);
        }
        for kind in [Name::Mark as Kind, Name::Forgotten, Name::Damage, Name::Verified, Name::Protection] {
            small.check_ours(repo, kind).await?;
        }
        let listed = repo.store.list(Name::Snapshot).await?;
        let mut snapshots = stream::iter(listed)
            .map(|(id, _)| async move { (id, open(repo, Name::Snapshot(id), sealed::SMALL_FILE_BYTES).await) })
            .buffer_unordered(READS_IN_FLIGHT);
        while let Some((id, snapshot)) = snapshots.next().await {
            let snapshot = small.note(FileKind::Snapshot, Name::Snapshot(id), snapshot);
            small.snapshots.extend(snapshot.map(|snapshot| (SnapshotId(id), snapshot)));
        }
        Ok(small)
    }

    async fn check_ours(&mut self, repo: &Opened, kind: Kind) -> Result<()> {
        for (id, _) in repo.store.list(kind).await? {
            self.note(FileKind::Ours, kind(id), open::<IgnoredAny>(repo, kind(id), OUR_FILE_BYTES).await);
        }
        Ok(())
    }

    /// Takes a verdict down. What was removed while we looked is no damage.
    fn note<T>(&mut self, kind: FileKind, name: Name, read: Result<T>) -> Option<T> {
        match read {
            Ok(read) => return Some(read),
            Err(Error::NotFound { .. }) if kind != FileKind::Config => {}
            Err(Error::Damaged { why, .. }) => self.damaged.push(damaged(kind, name, why)),
            Err(Error::NotFound { .. }) => self.damaged.push(damaged(kind, name, "it is missing".to_owned())),
            Err(error) => self.undecided.push(UndecidedFile { name: name.to_string(), why: chain(&error) }),
        }
        None
    }
}

async fn open<T: DeserializeOwned>(repo: &Opened, name: Name, max_bytes: u64) -> Result<T> {
    let content = repo.store.get(name, max_bytes).await?;
    sealed::open(&repo.key, name, &content, max_bytes)
}

/// What is sealed in a key file only its password opens; that it is what was written, its name says.
async fn key(repo: &Opened, id: Id) -> Result<()> {
    let name = Name::Key(id);
    let content = repo.store.get(name, sealed::SMALL_FILE_BYTES).await?;
    let why = if Id::of(&content) != id {
        "its content does not match its name"
    } else if serde_json::from_slice::<IgnoredAny>(&content).is_err() {
        "its content is not understood"
    } else {
        return Ok(());
    };
    Err(Error::damaged(name.to_string(), why))
}

/// A damaged file that holds no chunks.
pub(super) fn damaged(kind: FileKind, name: Name, why: String) -> DamagedFile {
    let remedy = match (kind, name) {
        (FileKind::Config, _) => {
            "copy it back from another copy of the repository before this one is closed: without it, nobody can open it"
        }
        (FileKind::Key, _) => "add the password again under another key, then remove this one",
        (FileKind::Index, _) => {
            "copy it back from another copy of the repository, or let `restic repair index` make it anew from the packs"
        }
        (FileKind::Snapshot, _) => {
            "copy it back from another copy of the repository; otherwise this point is lost, and can only be removed"
        }
        (_, Name::Protection(_)) => "protect the point again that it may have protected, then remove it",
        (_, Name::Damage(_) | Name::Verified(_)) => "it was removed; verify all of the repository again",
        _ => "remove it; the next prune begins anew",
    };
    DamagedFile {
        name: name.to_string(),
        kind,
        why,
        chunks: 0,
        lost_chunks: 0,
        points: Vec::new(),
        remedy: remedy.to_owned(),
    }
}

/// An error with its causes.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
