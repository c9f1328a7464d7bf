//! A prune dies at each of its steps.

use std::collections::BTreeMap;

use super::*;
use crate::store::faulty::{Fault, Faulty};

const DIR: &str = "XENKEEP_TEST_PRUNE_DIR";
const STEP: &str = "XENKEEP_TEST_PRUNE_STEP";
const SPLIT: &str = "XENKEEP_TEST_PRUNE_SPLIT";

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            // No file is ever changed.
            std::fs::hard_link(entry.path(), target).unwrap();
        }
    }
}

/// In another process: marks and sweeps in one run, or in two; and kills itself before the change of that number.
async fn prune_and_die(dir: &Path) {
    let number = |name| std::env::var(name).unwrap().parse().unwrap();
    let (step, split): (usize, usize) = (number(STEP), number(SPLIT));
    let repo = open_over(dir, Faulty::new(dir, step, Fault::Kill)).await.unwrap();
    if split == 1 {
        repo.prune(PruneOptions { grace: Duration::from_secs(3600), ..now() }).await.unwrap();
    }
    repo.prune(now()).await.unwrap();
}

/// Sizes of all packs: what a prune leaves is always the same, but for names.
async fn sizes(repo: &Repo) -> BTreeMap<u64, usize> {
    let mut sizes = BTreeMap::new();
    for (_, bytes) in repo.0.store.list(Name::Pack).await.unwrap() {
        *sizes.entry(bytes).or_default() += 1;
    }
    sizes
}

async fn check_after_death(dir: &Path, used_bytes: u64, context: &str) {
    // Clears away the lock of the dead, as `restic unlock` does.
    assert_eq!(check_all(dir).await, 2, "{context}");
    restic_check(dir);
    let repo = open(dir).await;
    // A backup in between, of what may be marked.
    let id = back_up(&repo, &[2, 5, 3]).await.unwrap();
    repo.prune(PruneOptions { grace: Duration::from_secs(3600), ..now() }).await.unwrap();
    assert_eq!(check_all(dir).await, 3, "{context}");
    repo.remove_point(&id).await.unwrap();
    // Some things take two: what was rescued is marked anew.
    repo.prune(now()).await.unwrap();
    repo.prune(now()).await.unwrap();
    assert_eq!(check_all(dir).await, 2, "{context}");
    let left = repo.prune(PruneOptions { dry_run: true, ..now() }).await.unwrap();
    assert_eq!((left.unused_bytes, left.to_delete.packs, &left.waiting[..]), (0, 0, &[][..]), "{context}: {left:?}");
    assert!(names(&repo, Name::Mark).await.is_empty(), "{context}");
    let bytes = names_bytes(&repo).await;
    assert!(
        bytes.abs_diff(used_bytes) < 4096,
        "{context}: {bytes} bytes instead of {used_bytes}, {:?}",
        sizes(&repo).await
    );
}

#[test]
fn death_at_any_step_loses_nothing_and_the_next_prune_goes_on() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(dir) = std::env::var(DIR) {
        return runtime.block_on(prune_and_die(dir.as_ref()));
    }
    let (temp, template) = runtime.block_on(used_repo());
    let done = temp.path().join("done");
    copy_dir(&template, &done);
    let used_bytes = runtime.block_on(async {
        let repo = open(&done).await;
        repo.prune(now()).await.unwrap();
        names_bytes(&repo).await
    });
    for split in 0..2 {
        for step in 0.. {
            let dir = temp.path().join(format!("{split}-{step}"));
            copy_dir(&template, &dir);
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "prune::tests::killed::death_at_any_step_loses_nothing_and_the_next_prune_goes_on"])
                .envs([(DIR, dir.as_os_str())])
                .envs([(STEP, step.to_string()), (SPLIT, split.to_string())])
                .output()
                .unwrap()
                .status;
            let context = format!("step {step}, in {} runs", split + 1);
            runtime.block_on(check_after_death(&dir, used_bytes, &context));
            std::fs::remove_dir_all(&dir).unwrap();
            if status.success() {
                assert!(step > 20, "{context}");
                break;
            }
            assert_eq!(status.code(), None, "{context}: killed, not failed");
        }
    }
}

/// A store whose reads fail from one of them on.
struct Unreadable {
    store: Directory,
    reads: std::sync::atomic::AtomicUsize,
    at: usize,
}

impl Unreadable {
    fn read(&self, name: &str) -> Result<()> {
        let number = self.reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let error = || Error::io(Path::new(name), std::io::Error::other("unreadable"));
        if number == self.at { Err(error()) } else { Ok(()) }
    }
}

#[async_trait::async_trait]
impl Store for Unreadable {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.store.prepare().await
    }

    async fn sweep(&self) {}

    async fn put(&self, name: Name, content: bytes::Bytes) -> Result<()> {
        self.store.put(name, content).await
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<bytes::Bytes> {
        self.read(&name.to_string())?;
        self.store.get(name, max_bytes).await
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        self.read(&name.to_string())?;
        self.store.get_range(name, offset, len, buffer).await
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        self.read(&name.to_string())?;
        self.store.len(name).await
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.read(&kind(Id::of(b"")).to_string())?;
        self.store.list(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.store.remove(name).await
    }

    fn remove_now(&self, name: Name) {
        self.store.remove_now(name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_cannot_be_read_stops_it_before_anything_is_deleted() {
    let (temp, template) = used_repo().await;
    let before = names(&open(&template).await, Name::Pack).await;
    let opening = {
        let store = Arc::new(Unreadable { store: Directory::new(&template), reads: 0.into(), at: usize::MAX });
        open_over(&template, store.clone()).await.unwrap();
        store.reads.load(std::sync::atomic::Ordering::Relaxed)
    };
    for at in opening.. {
        let dir = temp.path().join(at.to_string());
        copy_dir(&template, &dir);
        let store = Arc::new(Unreadable { store: Directory::new(&dir), reads: 0.into(), at });
        let repo = open_over(&dir, store.clone()).await.unwrap();
        let pruned = repo.prune(now()).await;
        let reads = store.reads.load(std::sync::atomic::Ordering::Relaxed);
        if reads <= at {
            pruned.unwrap();
            break;
        }
        assert!(pruned.is_err(), "read {at}");
        assert!(names(&open(&dir).await, Name::Pack).await.is_superset(&before), "read {at}");
        if at % 8 == 0 {
            assert_eq!(check_all(&dir).await, 2, "read {at}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
