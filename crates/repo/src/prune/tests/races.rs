//! Others work while marks are made and swept.

use super::*;
use crate::store::faulty::{Fault, Faulty};

/// A prune that would delete at once what nobody waits for.
async fn prune(repo: &Repo) -> PruneReport {
    repo.prune(now()).await.unwrap()
}

fn waits_for_session(report: &PruneReport) -> bool {
    report.waiting.iter().any(|waiting| matches!(waiting.reason, WaitingReason::Session { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_began_before_the_mark_may_refer_to_what_is_marked() {
    for same_process in [true, false] {
        let (_temp, dir) = used_repo().await;
        let repo = open(&dir).await;
        let writing = if same_process { repo.clone() } else { open(&dir).await };
        // All of it is there, and no point needs it.
        let writer = write(&writing, &[2, 5, 3]).await.unwrap();
        let report = prune(&repo).await;
        assert!(waits_for_session(&report) && report.deleted.packs == 0, "{report:?}");
        assert!(waits_for_session(&prune(&repo).await));
        writer.commit(meta()).await.unwrap();
        let report = prune(&repo).await;
        assert!(report.rescued_packs > 0, "{report:?}");
        assert_eq!(check_all(&dir).await, 3);
        prune(&repo).await;
        assert_eq!(check_all(&dir).await, 3);
        restic_check(&dir);
        assert_eq!(prune(&repo).await.unused_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_began_after_the_mark_stores_anew_and_is_not_waited_for() {
    for same_process in [true, false] {
        let (_temp, dir) = used_repo().await;
        let repo = open(&dir).await;
        let other = if same_process { repo.clone() } else { open(&dir).await };
        let late = PruneOptions { grace: Duration::from_secs(3600), ..now() };
        let before = write(&other, &[9]).await.unwrap();
        repo.prune(late).await.unwrap();
        // The datastore is never idle: the next one begins before the last one ends.
        let writer = write(&other, &[2, 5, 3]).await.unwrap();
        before.commit(meta()).await.unwrap();
        let report = prune(&repo).await;
        assert!(report.deleted.packs > 0 && report.rescued_packs == 0, "{report:?}");
        writer.commit(meta()).await.unwrap();
        assert_eq!(check_all(&dir).await, 4);
        prune(&repo).await;
        assert_eq!(check_all(&dir).await, 4);
        restic_check(&dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_of_a_running_backup_of_this_process_are_let_be() {
    let (_temp, dir) = new_repo().await;
    let repo = open(&dir).await;
    let writer = write(&repo, &[1, 2, 3]).await.unwrap();
    repo.0.session().await.unwrap().flush().await.unwrap();
    let report = prune(&repo).await;
    assert_eq!(report.marked.packs, 0, "{report:?}");
    writer.commit(meta()).await.unwrap();
    assert_eq!(check_all(&dir).await, 1);
    assert_eq!(prune(&repo).await.unused_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_increment_whose_base_vanishes_has_all_it_needs() {
    // The base is known to the mark, or came after it; the reader of the base is older than the mark, or not.
    for (base_is_late, reader_is_late) in [(false, false), (false, true), (true, true)] {
        let (_temp, dir) = used_repo().await;
        let (repo, other) = (open(&dir).await, open(&dir).await);
        let mut base = if base_is_late { None } else { Some(back_up(&other, &[2, 5, 3]).await.unwrap()) };
        let mut reader = None;
        if let (Some(base), false) = (base, reader_is_late) {
            reader = Some(other.open_point(&base).await.unwrap());
            other.remove_point(&base).await.unwrap();
        }
        // Refers to what is about to be marked.
        let early = base_is_late.then_some(write(&other, &[2, 5, 3]).await.unwrap());
        repo.prune(PruneOptions { grace: Duration::from_secs(3600), ..now() }).await.unwrap();
        if let Some(early) = early {
            base = Some(early.commit(meta()).await.unwrap());
        }
        let base = base.unwrap();
        let reader = match reader {
            Some(reader) => reader,
            None => {
                let reader = other.open_point(&base).await.unwrap();
                other.remove_point(&base).await.unwrap();
                reader
            }
        };
        let writer = write_over(&other, &reader, 77).await.unwrap();
        prune(&repo).await;
        check_point(&reader).await;
        drop(reader);
        prune(&repo).await;
        writer.commit(meta()).await.unwrap();
        assert_eq!(check_all(&dir).await, 3, "{base_is_late} {reader_is_late}");
        for _ in 0..3 {
            prune(&repo).await;
        }
        assert_eq!(check_all(&dir).await, 3, "{base_is_late} {reader_is_late}");
        assert_eq!(prune(&repo).await.unused_bytes, 0);
        restic_check(&dir);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_go_on_beside_marks_and_sweeps() {
    let (_temp, dir) = used_repo().await;
    let (repo, other) = (open(&dir).await, open(&dir).await);
    let points = other.points().await.unwrap();
    repo.prune(PruneOptions { grace: Duration::from_secs(3600), ..now() }).await.unwrap();
    let mut readers = Vec::new();
    for point in &points {
        readers.push(other.open_point(&point.id).await.unwrap());
    }
    let report = prune(&repo).await;
    assert!(report.deleted.packs > 0 && !waits_for_session(&report), "{report:?}");
    for reader in &readers {
        check_point(reader).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_taken_for_dead_commits_nothing() {
    let (_temp, dir) = used_repo().await;
    let (repo, other) = (open(&dir).await, open(&dir).await);
    let writer = write(&other, &[2, 5, 3]).await.unwrap();
    assert!(waits_for_session(&prune(&repo).await));
    locks::age(&other, 31 * 60).await;
    let report = prune(&repo).await;
    assert!(report.deleted.packs > 0, "{report:?}");
    assert!(names(&repo, Name::Lock).await.is_empty(), "it shall find out that it was taken for dead");
    assert!(matches!(writer.commit(meta()).await, Err(Error::LockLost)));
    assert_eq!(check_all(&dir).await, 2);
    back_up(&other, &[2, 5, 3]).await.unwrap();
    assert_eq!(check_all(&dir).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_prunes_keep_each_other_out() {
    let (_temp, dir) = used_repo().await;
    let (repo, other) = (open(&dir).await, open(&dir).await);
    let (first, second) = tokio::join!(repo.prune(now()), other.prune(now()));
    for result in [&first, &second] {
        assert!(matches!(result, Ok(_) | Err(Error::Locked { .. })), "{result:?}");
    }
    prune(&repo).await;
    assert_eq!(check_all(&dir).await, 2);
    assert_eq!(prune(&other).await.unused_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_of_two_prunes_that_contradict_each_other_do_no_harm() {
    let (_temp, dir) = new_repo().await;
    let repo = open(&dir).await;
    back_up(&repo, &[1, 2, 3]).await.unwrap();
    // The same chunks in other packs, as another process may store them at the same time.
    let moved = repo.0.unlocked_session(Excluded::of(names(&repo, Name::Pack).await.into_iter().collect()));
    for number in [1, 2, 3] {
        let raw = chunk(number);
        moved.put(crate::pack::BlobKind::Data, Id::of(&raw), &raw, None, &crate::Counters::default()).unwrap();
    }
    moved.flush().await.unwrap();
    drop(moved);
    // Each of two has marked the packs that the other one kept.
    let all: Vec<mark::MarkedPack> = repo
        .0
        .store
        .list(Name::Pack)
        .await
        .unwrap()
        .into_iter()
        .map(|(id, bytes)| mark::MarkedPack { id, bytes })
        .collect();
    for pack in all {
        let mark =
            mark::Mark { at: Timestamp::now(), packs: vec![pack], orphans: vec![], points: vec![], sessions: None };
        mark.write(&*repo.0.store, &repo.0.key).await.unwrap();
    }
    let report = prune(&repo).await;
    assert!(report.rescued_packs >= 2, "{report:?}");
    assert_eq!(check_all(&dir).await, 1);
    prune(&repo).await;
    prune(&repo).await;
    assert_eq!(check_all(&dir).await, 1);
    assert_eq!(names(&repo, Name::Pack).await.len(), 2, "one copy of each is left");
    restic_check(&dir);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_lock_is_waited_for_and_a_sweep_is_exclusive() {
    let (_temp, dir) = used_repo().await;
    let repo = open(&dir).await;
    let foreign = locks::foreign(&repo, false).await;
    let report = prune(&repo).await;
    assert!(matches!(report.waiting[0].reason, WaitingReason::ForeignLock { .. }), "{report:?}");
    assert_eq!((report.deleted.packs, check_all(&dir).await), (0, 2));
    repo.0.store.remove(Name::Lock(foreign)).await.unwrap();
    let foreign = locks::foreign(&repo, true).await;
    assert!(matches!(repo.prune(now()).await, Err(Error::Locked { .. })));
    repo.0.store.remove(Name::Lock(foreign)).await.unwrap();
    assert!(prune(&repo).await.deleted.packs > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_lost_its_lock_deletes_nothing_more() {
    let (_temp, dir) = used_repo().await;
    let packs = names(&open(&dir).await, Name::Pack).await;
    // Its locks vanish at each of its changes.
    for at in 0.. {
        let faulty = Faulty::new(&dir, at, Fault::LoseLocks);
        let repo = open_over(&dir, faulty.clone()).await.unwrap();
        match repo.prune(now()).await {
            Err(error) => assert!(matches!(error, Error::LockLost), "{at}: {error:?}"),
            Ok(report) if report.deleted.packs > 0 => break,
            Ok(report) => assert!(!report.waiting.is_empty(), "{at}: {report:?}"),
        }
        assert!(names(&open(&dir).await, Name::Pack).await.is_superset(&packs), "{at}");
        assert_eq!(check_all(&dir).await, 2);
    }
    assert_eq!(check_all(&dir).await, 2);
    restic_check(&dir);
}
