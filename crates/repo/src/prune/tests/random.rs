//! Anything in any order.

use std::collections::HashMap;

use super::*;
use crate::store::faulty::{Fault, Faulty};

struct World {
    dir: PathBuf,
    rng: StdRng,
    /// Several processes, as far as the repository can tell.
    repos: Vec<Repo>,
    points: HashMap<SnapshotId, Chunks>,
    writers: Vec<PointWriter>,
    readers: Vec<PointReader>,
}

impl World {
    fn below(&mut self, end: usize) -> usize {
        self.rng.next_u32() as usize % end
    }

    fn repo(&mut self) -> Repo {
        let number = self.below(self.repos.len());
        self.repos[number].clone()
    }

    fn chunks(&mut self) -> Chunks {
        (0..1 + self.below(4)).map(|_| self.below(12) as u8).collect()
    }

    fn any_point(&mut self) -> Option<SnapshotId> {
        let mut ids: Vec<SnapshotId> = self.points.keys().copied().collect();
        ids.sort_unstable();
        let at = self.below(ids.len().max(1));
        ids.get(at).copied()
    }

    async fn commit(&mut self, writer: PointWriter) {
        let id = writer.commit(meta()).await.unwrap();
        let chunks = self.repos[0].open_point(&id).await.unwrap().file("chunks").await.unwrap();
        self.points.insert(id, chunks.to_vec());
    }

    async fn step(&mut self) -> &'static str {
        let repo = self.repo();
        match self.below(12) {
            0 | 1 => {
                let chunks = self.chunks();
                let writer = write(&repo, &chunks).await.unwrap();
                self.commit(writer).await;
                "backup"
            }
            2 => {
                let chunks = self.chunks();
                self.writers.push(write(&repo, &chunks).await.unwrap());
                "begin"
            }
            3 | 4 if !self.readers.is_empty() => {
                // A base has to be opened where it is used.
                let Some(id) = self.any_point() else { return "nothing" };
                let base = repo.open_point(&id).await.unwrap();
                let first = self.below(12) as u8;
                self.writers.push(write_over(&repo, &base, first).await.unwrap());
                if self.below(2) == 0 {
                    self.forget(id).await;
                }
                "increment"
            }
            5 | 6 if !self.writers.is_empty() => {
                let at = self.below(self.writers.len());
                let writer = self.writers.swap_remove(at);
                self.commit(writer).await;
                "commit"
            }
            7 => {
                let Some(id) = self.any_point() else { return "nothing" };
                self.readers.push(repo.open_point(&id).await.unwrap());
                "open"
            }
            8 => {
                if !self.readers.is_empty() {
                    let at = self.below(self.readers.len());
                    check_point(&self.readers.swap_remove(at)).await;
                }
                "close"
            }
            9 => {
                if let Some(id) = self.any_point() {
                    self.forget(id).await;
                }
                "forget"
            }
            10 => {
                // The machine dies while it prunes.
                let step = self.below(25);
                let repo = open_over(&self.dir, Faulty::new(&self.dir, step, Fault::Dead)).await.unwrap();
                drop(repo.prune(self.options()).await);
                drop(repo);
                self.bury().await;
                "death"
            }
            _ => {
                repo.prune(self.options()).await.unwrap();
                "prune"
            }
        }
    }

    fn options(&mut self) -> PruneOptions {
        let grace = Duration::from_secs([0, 0, 3600][self.below(3)]);
        let max_unused_percent = [0.0, 5.0, 40.0][self.below(3)];
        PruneOptions { grace, max_unused_percent, ..PruneOptions::default() }
    }

    async fn forget(&mut self, id: SnapshotId) {
        self.repos[0].remove_point(&id).await.unwrap();
        self.points.remove(&id);
    }

    /// Removes the locks of prunes that have died; here, their process lives on.
    async fn bury(&self) {
        let repo = &self.repos[0];
        for holder in crate::lock::holders(&*repo.0.store, &repo.0.key).await.unwrap() {
            if holder.purpose != crate::lock::Purpose::Session {
                repo.0.store.remove(Name::Lock(holder.id)).await.unwrap();
            }
        }
    }

    async fn check(&self) {
        let repo = open(&self.dir).await;
        let mut listed: Vec<SnapshotId> = repo.points().await.unwrap().into_iter().map(|point| point.id).collect();
        let mut expected: Vec<SnapshotId> = self.points.keys().copied().collect();
        listed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(listed, expected);
        for id in listed {
            check_point(&repo.open_point(&id).await.unwrap()).await;
        }
    }
}

async fn play(seed: u64) {
    let (_temp, dir) = new_repo().await;
    let repos = vec![open(&dir).await, open(&dir).await];
    let mut world = World {
        dir: dir.clone(),
        rng: StdRng::seed_from_u64(seed),
        repos,
        points: HashMap::new(),
        writers: Vec::new(),
        readers: Vec::new(),
    };
    for _ in 0..30 {
        let done = world.step().await;
        if matches!(done, "prune" | "death") {
            world.check().await;
        }
    }
    for reader in std::mem::take(&mut world.readers) {
        check_point(&reader).await;
    }
    for writer in std::mem::take(&mut world.writers) {
        world.commit(writer).await;
    }
    world.check().await;
    // Idle at last: all that is not needed goes.
    for _ in 0..3 {
        world.repos[0].prune(now()).await.unwrap();
        world.check().await;
    }
    let left = world.repos[1].prune(PruneOptions { dry_run: true, ..now() }).await.unwrap();
    assert_eq!((left.unused_bytes, &left.waiting[..]), (0, &[][..]), "{left:?}");
    restic_check(&dir);
}

#[test]
fn no_sequence_of_events_loses_a_point() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let first = std::env::var("XENKEEP_TEST_SEED").ok().map(|seed| seed.parse().unwrap());
    for seed in first.map_or(0..16, |seed| seed..seed + 1) {
        let played = std::panic::catch_unwind(|| runtime.block_on(play(seed)));
        assert!(played.is_ok(), "with XENKEEP_TEST_SEED={seed}");
    }
}
