use serde_json::json;
use uuid::Uuid;
use xenkeep_api::{JobSpec, JournalEntry};
use xenkeep_catalog::Error;

use super::fixture::{NO_RECOVERY, any_backup, at, catalog, claim, claim_any, failed, new_job, recover_always, run};

pub(crate) fn entry(what: &str) -> JournalEntry {
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

    let recovery = claim_any(&catalog, 4).await.unwrap();
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
