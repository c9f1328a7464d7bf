//! The index on disk does what a simple one in memory would do, whatever happens to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// So little is kept in memory that runs are written and merged all the time.
const LIMITS: Limits = Limits { recent_blobs: 6, recent_files: 3, loading_blobs: 5, loading_runs: 3, dead_packs: 2 };

#[derive(Clone, Debug)]
enum Step {
    /// The index under test writes a file that names these packs.
    Write(Vec<u8>),
    /// Somebody else writes one.
    WriteElsewhere(Vec<u8>),
    /// A prune removes the index file with this number (modulo).
    Vanish(usize),
    Refresh,
    /// The process ends, or is killed: it writes nothing when it ends. Its successor has the directory.
    Reopen,
    /// Another process opens the same directory, and then sees what is there.
    Second,
    /// A file of the directory is lost, cut off, or has a wrong byte; then the process is started anew.
    Harm(usize, Harm),
}

#[derive(Clone, Copy, Debug)]
enum Harm {
    Remove,
    Truncate(usize),
    Flip(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let packs = || prop::collection::vec(0..12_u8, 1..4);
    let harm =
        prop_oneof![Just(Harm::Remove), any::<usize>().prop_map(Harm::Truncate), any::<usize>().prop_map(Harm::Flip),];
    prop_oneof![
        4 => packs().prop_map(Step::Write),
        3 => packs().prop_map(Step::WriteElsewhere),
        3 => any::<usize>().prop_map(Step::Vanish),
        2 => Just(Step::Refresh),
        2 => Just(Step::Reopen),
        1 => Just(Step::Second),
        1 => (any::<usize>(), harm).prop_map(|(file, harm)| Step::Harm(file, harm)),
    ]
}

/// Packs share blobs, in different places, as data and as trees.
fn entries(pack: u8) -> PackEntries {
    let entry = |at: u8| Entry {
        kind: if at == 2 { BlobKind::Tree } else { BlobKind::Data },
        id: Id::of(&[(pack * 3 + at * 5) % 16]),
        offset: 1000 * u32::from(at),
        sealed_len: 100 + u32::from(pack),
        raw_len: (at > 0).then_some(777),
    };
    PackEntries { id: Id::of(&[200, pack]), entries: (0..4).map(entry).collect() }
}

struct World {
    temp: tempfile::TempDir,
    store: Arc<dyn Store>,
    key: Arc<Key>,
    index: Option<Arc<Index>>,
    /// What each index file names.
    files: BTreeMap<Id, Vec<u8>>,
}

impl World {
    fn cache(&self) -> PathBuf {
        self.temp.path().join("cache")
    }

    fn open(&self) -> Arc<Index> {
        Index::with_limits(self.store.clone(), self.key.clone(), Some(self.cache()), LIMITS)
    }

    fn index(&self) -> &Arc<Index> {
        self.index.as_ref().unwrap()
    }

    async fn restart(&mut self) {
        self.index = None;
        self.index = Some(self.open());
        self.index().refresh().await.unwrap();
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Write(packs) => {
                let file = self.index().write(packs.iter().copied().map(entries).collect()).await.unwrap();
                self.files.insert(file, packs);
            }
            Step::WriteElsewhere(packs) => {
                let elsewhere = Index::new(self.store.clone(), self.key.clone());
                let file = elsewhere.write(packs.iter().copied().map(entries).collect()).await.unwrap();
                self.files.insert(file, packs);
                self.index().refresh().await.unwrap();
            }
            Step::Vanish(number) if !self.files.is_empty() => {
                let file = *self.files.keys().nth(number % self.files.len()).unwrap();
                self.files.remove(&file);
                self.store.remove(Name::Index(file)).await.unwrap();
                self.index().refresh().await.unwrap();
            }
            Step::Refresh | Step::Vanish(_) => self.index().refresh().await.unwrap(),
            Step::Reopen => self.restart().await,
            Step::Second => {
                let second = self.open();
                second.refresh().await.unwrap();
                self.compare(&second);
                second.write(vec![]).await.map(|file| self.files.insert(file, vec![])).unwrap();
            }
            Step::Harm(number, harm) => {
                self.index = None;
                do_harm(&self.cache(), number, harm);
                self.restart().await;
                // What lies within pages is seen when it is read, and made good with the next refresh.
                if self.ask_all().is_err() {
                    self.index().refresh().await.unwrap();
                }
            }
        }
    }

    fn ask_all(&self) -> Result<()> {
        for blob in 0..16 {
            self.index().locations(BlobKind::Data, &Id::of(&[blob]))?;
        }
        Ok(())
    }

    fn compare(&self, index: &Index) {
        let packs: BTreeSet<u8> = self.files.values().flatten().copied().collect();
        for blob in 0..18 {
            for kind in [BlobKind::Data, BlobKind::Tree] {
                let id = Id::of(&[blob]);
                let mut expected = Vec::new();
                for pack in packs.iter().map(|pack| entries(*pack)) {
                    for entry in pack.entries.iter().filter(|entry| entry.id == id && entry.kind == kind) {
                        let Entry { offset, sealed_len, raw_len, .. } = *entry;
                        expected.push(Location { pack: pack.id, offset, sealed_len, raw_len });
                    }
                }
                let mut found = index.locations(kind, &id).unwrap();
                let order = |location: &Location| (location.pack, location.offset);
                found.sort_by_key(order);
                expected.sort_by_key(order);
                assert_eq!(found, expected, "{kind:?} {blob}");
                assert_eq!(index.contains(kind, &id).unwrap(), !expected.is_empty());
            }
        }
    }
}

fn do_harm(dir: &Path, number: usize, harm: Harm) {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap() != "lock");
    files.sort();
    let Some(file) = files.get(number % files.len().max(1)) else { return };
    let mut content = fs::read(file).unwrap();
    match harm {
        Harm::Remove => return fs::remove_file(file).unwrap(),
        Harm::Truncate(len) => content.truncate(len % content.len()),
        Harm::Flip(at) => {
            let at = at % content.len();
            content[at] ^= 0x10;
        }
    }
    fs::write(file, content).unwrap();
}

#[test]
fn it_does_what_a_simple_one_would_do() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let steps = prop::collection::vec(step(), 1..30);
    let run = TestRunner::new(config).run(&steps, |steps| {
        runtime.block_on(async {
            let (temp, store, key) = index().await;
            let mut world = World { temp, store, key, index: None, files: BTreeMap::new() };
            world.restart().await;
            for step in steps {
                world.take(step).await;
                world.compare(world.index());
            }
            world.restart().await;
            world.compare(world.index());
        });
        Ok(())
    });
    run.unwrap();
}
