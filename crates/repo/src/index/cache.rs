//! The directory in which this machine keeps the index of a repository.
//!
//! One process has it (the lock on the file `lock`) and writes to it. Others read what they find there, which never
//! changes once it is written, and put what they add into a directory of their own within it, `private-<uuid>`, which goes
//! when they do. Nothing in it is needed: what is missing, torn or of another version is made anew from the repository.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::packs::Packs;
use super::run::Run;
use super::state::{self, State};

const STATE: &str = "state";
const LOCK: &str = "lock";
const RUN_PREFIX: &str = "run-";
const PRIVATE_PREFIX: &str = "private-";

/// How often the state is read again because a run that it names is gone: whoever has the directory merges at times.
const MAX_READS: usize = 3;

pub(super) struct Cache {
    /// Where the state is read from.
    shared: PathBuf,
    /// Where we write.
    own: PathBuf,
    /// Held as long as we are here.
    _lock: File,
}

impl Cache {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        make_dir(dir)?;
        if let Some(lock) = lock(dir)? {
            let cache = Cache { shared: dir.to_owned(), own: dir.to_owned(), _lock: lock };
            cache.sweep_private()?;
            return Ok(cache);
        }
        let own = dir.join(format!("{PRIVATE_PREFIX}{}", Uuid::new_v4()));
        make_dir(&own)?;
        let taken = || io::Error::new(io::ErrorKind::ResourceBusy, "a new directory is taken");
        let lock = lock(&own)?.ok_or_else(taken)?;
        tracing::debug!(dir = %dir.display(), "another process keeps the index of this repository; this one keeps its own");
        Ok(Cache { shared: dir.to_owned(), own, _lock: lock })
    }

    fn is_private(&self) -> bool {
        self.own != self.shared
    }

    /// Removes what processes left behind that were killed.
    fn sweep_private(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.own)? {
            let entry = entry?;
            let is_private = entry.file_name().to_string_lossy().starts_with(PRIVATE_PREFIX);
            if is_private && lock(&entry.path()).is_ok_and(|lock| lock.is_some()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// What was kept here, or why it cannot be used.
    pub(super) fn load(&self) -> io::Result<(Packs, Vec<Run>)> {
        for _ in 1..MAX_READS {
            match self.load_once() {
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.is_private() => {}
                loaded => return loaded,
            }
        }
        self.load_once()
    }

    fn load_once(&self) -> io::Result<(Packs, Vec<Run>)> {
        let damaged = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let State { packs, runs } = state::decode(&fs::read(self.shared.join(STATE))?)
            .ok_or_else(|| damaged("its state is torn, or of another version"))?;
        let open = |(name, records)| {
            let run = Run::open(&run_path(&self.shared, name))?;
            if run.records == records { Ok(run) } else { Err(damaged("a run is not the one that was written")) }
        };
        let runs = runs.into_iter().map(open).collect::<io::Result<Vec<Run>>>()?;
        Ok((packs, runs))
    }

    /// A place for a new run.
    pub(super) fn new_run(&self) -> PathBuf {
        run_path(&self.own, Uuid::new_v4())
    }

    /// Notes what is kept here now: if we die, that is what is found.
    pub(super) fn save(&self, packs: &Packs, runs: &[Arc<Run>]) -> io::Result<()> {
        if self.is_private() {
            return Ok(());
        }
        let names: Vec<(Uuid, u64)> = runs.iter().filter_map(|run| Some((run_name(&run.path)?, run.records))).collect();
        let temp = self.own.join("state.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temp)?;
        file.write_all(&state::encode(packs, &names))?;
        file.sync_all()?;
        fs::rename(&temp, self.own.join(STATE))?;
        File::open(&self.own)?.sync_all()
    }

    /// Removes runs that are not among these.
    pub(super) fn sweep_runs(&self, kept: &[Arc<Run>]) {
        let Ok(entries) = fs::read_dir(&self.own) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if run_name(&path).is_some() && !kept.iter().any(|run| run.path == path) {
                drop(fs::remove_file(path));
            }
        }
    }

    /// Begins anew.
    pub(super) fn clear(&self) {
        if !self.is_private() {
            drop(fs::remove_file(self.own.join(STATE)));
        }
        self.sweep_runs(&[]);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        if self.is_private() {
            drop(fs::remove_dir_all(&self.own));
        }
    }
}

fn run_path(dir: &Path, name: Uuid) -> PathBuf {
    dir.join(format!("{RUN_PREFIX}{name}"))
}

fn run_name(path: &Path) -> Option<Uuid> {
    path.file_name()?.to_str()?.strip_prefix(RUN_PREFIX)?.parse().ok()
}

fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The lock of a directory, unless another process has it.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
