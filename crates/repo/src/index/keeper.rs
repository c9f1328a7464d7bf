//! Moves what is in memory to disk: when, and which runs are merged on that occasion.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use super::cache::Cache;
use super::merge::merge;
use super::packs::Packs;
use super::run::Run;
use super::tables::Tables;
use crate::{Result, work};

/// When memory is written to disk.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Blobs that are kept in memory from one day to the next. Who opens the index later reads their index files again.
    pub(super) recent_blobs: usize,
    /// Index files, likewise.
    pub(super) recent_files: usize,
    /// Blobs in memory while many index files are loaded.
    pub(super) loading_blobs: usize,
    /// Runs while many index files are loaded.
    pub(super) loading_runs: usize,
    /// Dead packs that are too few to care about.
    pub(super) dead_packs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { recent_blobs: 100_000, recent_files: 64, loading_blobs: 128_000, loading_runs: 48, dead_packs: 4096 }
    }
}

/// While many index files are loaded, the state is written after so many runs.
const SAVED_RUNS: usize = 16;

/// Has the directory on disk. Without one, all stays in memory.
pub(super) struct Keeper {
    /// Where it should be.
    dir: Option<PathBuf>,
    cache: Option<Arc<Cache>>,
    opened: bool,
    limits: Limits,
    /// Index files whose packs are in the state on disk.
    saved_files: usize,
    /// After a failure, the next try waits until there are so many blobs in memory.
    not_before: usize,
}

/// How many runs a write leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Merging {
    /// Few: each has at least twice as many records as all newer ones together.
    Tidy,
    /// As it comes, up to a number: more is to follow.
    Lazy,
}

impl Keeper {
    pub(super) fn new(dir: Option<PathBuf>, limits: Limits) -> Self {
        Keeper { dir, cache: None, opened: false, limits, saved_files: 0, not_before: 0 }
    }

    /// Opens the directory when it is asked for the first time: what is known from last time.
    pub(super) async fn open(&mut self) -> Result<Option<Tables>> {
        let Some(dir) = self.dir.clone().filter(|_| !self.opened) else { return Ok(None) };
        self.opened = true;
        let opened = work::block(move || Cache::open(&dir).map(|cache| (cache.load(), cache))).await?;
        match opened {
            Ok((loaded, cache)) => {
                let tables = self.loaded(loaded, &cache);
                self.cache = Some(Arc::new(cache));
                Ok(tables)
            }
            Err(error) => {
                tracing::warn!(%error, "the index of a repository is kept in memory: its directory cannot be used");
                Ok(None)
            }
        }
    }

    fn loaded(&mut self, loaded: io::Result<(Packs, Vec<Run>)>, cache: &Cache) -> Option<Tables> {
        match loaded {
            Ok((packs, runs)) => {
                let runs: Vec<_> = runs.into_iter().map(Arc::new).collect();
                cache.sweep_runs(&runs);
                self.saved_files = packs.files();
                Some(Tables { packs, runs, ..Tables::default() })
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%error, "the index of a repository is made anew");
                }
                cache.clear();
                None
            }
        }
    }

    /// Throws away what is on disk.
    pub(super) async fn clear(&mut self) -> Result<()> {
        self.saved_files = 0;
        match self.cache.clone() {
            Some(cache) => work::block(move || cache.clear()).await,
            None => Ok(()),
        }
    }

    fn is_due(&self, tables: &Tables, merging: Merging) -> bool {
        let recent = tables.recent.len();
        let most = if merging == Merging::Lazy { self.limits.loading_blobs } else { self.limits.recent_blobs };
        if self.cache.is_none() || recent < self.not_before {
            return false;
        }
        if recent >= most {
            return true;
        }
        let too_many_files = tables.packs.files() >= self.saved_files + self.limits.recent_files;
        merging == Merging::Tidy
            && (too_many_files || self.too_many_dead(tables) || first_untidy(&tables.runs, 0) < tables.runs.len())
    }

    fn too_many_dead(&self, tables: &Tables) -> bool {
        tables.packs.dead() > self.limits.dead_packs.max(tables.packs.len() / 4)
    }

    /// Writes what is in memory, if it is much. Whoever calls this is the only one who changes the tables.
    pub(super) async fn write(&mut self, tables: &Arc<RwLock<Tables>>, merging: Merging) -> Result<()> {
        let (all, recent) = {
            let tables = tables.read().expect("no panic while held");
            if !self.is_due(&tables, merging) {
                return Ok(());
            }
            (merging == Merging::Tidy && self.too_many_dead(&tables), tables.recent.len())
        };
        let Some(cache) = self.cache.clone() else { return Ok(()) };
        let (tables, limits) = (tables.clone(), self.limits);
        match work::block(move || write(&cache, &tables, merging, all, limits)).await? {
            Ok(saved_files) => {
                self.saved_files = saved_files.unwrap_or(self.saved_files);
                self.not_before = 0;
            }
            Err(error) => {
                // Nothing is lost by that but time, and memory.
                tracing::warn!(%error, "the index of a repository cannot be kept on disk, and stays in memory");
                self.not_before = 2 * recent.max(self.limits.recent_blobs);
            }
        }
        Ok(())
    }
}

/// The first of the runs that must be merged, with so many new records, so that all are tidy.
fn first_untidy(runs: &[Arc<Run>], new_records: u64) -> usize {
    let mut newer = new_records;
    let mut first = runs.len();
    for (number, run) in runs.iter().enumerate().rev() {
        if run.records < 2 * newer {
            first = number;
        }
        newer += run.records;
    }
    first
}

/// Writes what is in memory. Gives the number of index files whose packs are in the state on disk now, if that was written.
fn write(
    cache: &Cache,
    tables: &RwLock<Tables>,
    merging: Merging,
    all: bool,
    limits: Limits,
) -> io::Result<Option<usize>> {
    let (recent, runs, renumbered) = {
        let tables = tables.read().expect("no panic while held");
        (tables.recent.sorted(), tables.runs.clone(), all.then(|| tables.packs.without_dead()))
    };
    let first = match merging {
        _ if all => 0,
        Merging::Lazy if runs.len() < limits.loading_runs => runs.len(),
        Merging::Lazy | Merging::Tidy => first_untidy(&runs, recent.len() as u64),
    };
    let numbers = renumbered.as_ref().map(|(_, numbers)| numbers.as_slice());
    let merged = merge(&cache.new_run(), recent, &runs[first..], numbers)?;
    let kept: Vec<_> = runs[..first].iter().cloned().chain(merged.map(Arc::new)).collect();
    let packs = renumbered.map(|(packs, _)| packs);
    // The state is large: while more is to follow, it is written now and then.
    let saved = merging == Merging::Tidy || first < runs.len() || kept.len().is_multiple_of(SAVED_RUNS);
    let files = saved.then(|| {
        let tables = tables.read().expect("no panic while held");
        let packs = packs.as_ref().unwrap_or(&tables.packs);
        cache.save(packs, &kept).inspect_err(|_| cache.sweep_runs(&runs)).map(|()| packs.files())
    });
    let files = files.transpose()?;
    {
        let mut tables = tables.write().expect("no panic while held");
        tables.runs = kept.clone();
        tables.recent.clear();
        if let Some(packs) = packs {
            tables.packs = packs;
        }
    }
    if saved {
        cache.sweep_runs(&kept);
    }
    Ok(files)
}
