use serde_json::json;
use uuid::Uuid;
use xenkeep_api::{JobSpec, JournalEntry};
use xenkeep_catalog::{Catalog, Error};

use crate::fixture::{NO_RECOVERY, any_backup, at, catalog, claim, failed, new_job, recover_always, run};

fn entry(what: &str) -> JournalEntry {
    JournalEntry { id: Uuid::new_v4(), what: json!({ "vm": what, "odd": [null, 1.5, "ü"] }) }
}

#[tokio::test]
async fn keeps_order_replaces_and_clears() {
    let (catalog, _dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let write = async |entry: &JournalEntry| catalog.journal_write(job.id, job.fence, entry, at(2)).await.unwrap();
    let (a, b, c) = (entry("a"), entry("b"), entry("c"));
    for entry in [&a, &b, &c] {
        write(entry).await;
    }
    let replaced = JournalEntry { id: a.id, what: json!("made") };
    write(&replaced).await;
    assert_eq!(catalog.journal(job.id).await.unwrap(), [replaced.clone(), b.clone(), c.clone()]);
    for _ in ["there", "not there any more"] {
        catalog.journal_clear(job.id, job.fence, b.id).await.unwrap();
    }
    assert_eq!(catalog.journal(job.id).await.unwrap(), [replaced, c]);
}

#[tokio::test]
async fn belongs_to_its_job() {
    let (catalog, _dir) = catalog().await;
    let (mine, yours) = (run(&catalog, any_backup()).await, run(&catalog, any_backup()).await);
    let entry = entry("a");
    catalog.journal_write(mine.id, mine.fence, &entry, at(2)).await.unwrap();
    let stolen = JournalEntry { id: entry.id, what: json!("b") };
    let refused = catalog.journal_write(yours.id, yours.fence, &stolen, at(2)).await;
    assert!(matches!(refused, Err(Error::Contradiction { .. })));
    catalog.journal_clear(yours.id, yours.fence, entry.id).await.unwrap();
    assert_eq!(catalog.journal(mine.id).await.unwrap(), [entry]);
    assert!(catalog.journal(yours.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_recovery_works_on_the_journal_of_the_interrupted_job() {
    let (catalog, _dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let (a, b) = (entry("a"), entry("b"));
    catalog.journal_write(job.id, job.fence, &a, at(2)).await.unwrap();
    catalog.interrupt_of("local", at(3), &recover_always).await.unwrap();

    let recovery = catalog.claim("local", at(4), at(30), |waiting, _| Some(waiting[0].id)).await.unwrap().unwrap();
    assert_eq!(recovery.root, job.id);
    catalog.journal_write(recovery.id, recovery.fence, &b, at(5)).await.unwrap();
    assert_eq!(catalog.journal(job.id).await.unwrap(), [a.clone(), b.clone()]);
    catalog.journal_clear(recovery.id, recovery.fence, a.id).await.unwrap();
    assert_eq!(catalog.journal(job.id).await.unwrap(), [b]);
    assert!(catalog.journal(recovery.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_end_of_a_job_says_whether_something_is_left() {
    let (catalog, _dir) = catalog().await;
    for open in [true, false] {
        let job = run(&catalog, any_backup()).await;
        let entry = entry("a");
        catalog.journal_write(job.id, job.fence, &entry, at(2)).await.unwrap();
        if !open {
            catalog.journal_clear(job.id, job.fence, entry.id).await.unwrap();
        }
        let seen = std::sync::atomic::AtomicBool::new(!open);
        let decide = |ended: &xenkeep_catalog::Ended| {
            seen.store(ended.open_journal, std::sync::atomic::Ordering::Relaxed);
            assert_eq!((ended.job.id, ended.vm_key.as_deref()), (job.id, Some("name:web")));
            Vec::new()
        };
        catalog.finish(job.id, job.fence, &failed(), at(3), &decide).await.unwrap();
        assert_eq!(seen.into_inner(), open);
        assert_eq!(catalog.ended(job.id).await.unwrap().open_journal, open);
    }
}

#[tokio::test]
async fn finds_what_nobody_cleans_up_after() {
    let (catalog, _dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    catalog.journal_write(job.id, job.fence, &entry("a"), at(2)).await.unwrap();
    let left = async || catalog.unrecovered_jobs().await.unwrap();
    assert!(left().await.is_empty(), "it runs");
    catalog.finish(job.id, job.fence, &failed(), at(3), NO_RECOVERY).await.unwrap();
    assert_eq!(left().await, [job.id]);
    let recovery = new_job(JobSpec::Recover { interrupted: job.id, client: None, datastore: None });
    catalog.insert_job(&recovery, at(4)).await.unwrap();
    assert!(left().await.is_empty(), "its recovery is queued");
    let claimed = claim(&catalog, recovery.id).await;
    assert!(left().await.is_empty(), "its recovery runs");
    catalog.finish(claimed.id, claimed.fence, &failed(), at(5), NO_RECOVERY).await.unwrap();
    assert_eq!(left().await, [job.id]);
}

#[tokio::test]
async fn outlives_the_process() {
    let (catalog, dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let entry = entry("a");
    catalog.journal_write(job.id, job.fence, &entry, at(2)).await.unwrap();
    // As a killed process leaves it: nothing is closed, the WAL is as it is. (A copy, because our own handles are open.)
    let copy = tempfile::tempdir().unwrap();
    for name in ["xenkeep.db", "xenkeep.db-wal", "key"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let after = Catalog::open(copy.path()).await.unwrap();
    assert_eq!(after.journal(job.id).await.unwrap(), [entry]);
}

#[tokio::test]
async fn lies_sealed_in_the_files_and_is_bound_to_its_row() {
    let (catalog, dir) = catalog().await;
    let job = run(&catalog, any_backup()).await;
    let (a, b) = (entry("the contents of a virtual TPM"), entry("other"));
    for entry in [&a, &b] {
        catalog.journal_write(job.id, job.fence, entry, at(2)).await.unwrap();
    }
    catalog.journal_write(job.id, job.fence, &a, at(3)).await.unwrap();
    for name in ["xenkeep.db", "xenkeep.db-wal"] {
        let bytes = std::fs::read(dir.path().join(name)).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"virtual TPM"), "{name}");
    }
    catalog.close().await;
    // Somebody who can write to the file, but has no key, moves what is sealed to another row.
    let file =
        sqlx::SqlitePool::connect(&format!("sqlite://{}", dir.path().join("xenkeep.db").display())).await.unwrap();
    let swapped = sqlx::query("UPDATE journal SET what_sealed = (SELECT what_sealed FROM journal WHERE id = $1)")
        .bind(a.id.to_string())
        .execute(&file)
        .await
        .unwrap();
    assert_eq!(swapped.rows_affected(), 2);
    file.close().await;
    let catalog = Catalog::open(dir.path()).await.unwrap();
    assert!(matches!(catalog.journal(job.id).await, Err(Error::Sealed(place)) if place.contains(&b.id.to_string())));
}
