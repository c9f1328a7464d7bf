#![allow(clippy::unwrap_used)]

use crate::repo::tests::{back_up, new_repo, password};
use crate::store::Name;
use crate::{Error, Repo};

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_point_stays_and_says_why() {
    let (_temp, dir) = new_repo().await;
    let repo = Repo::open(&dir, &password(), crate::OpenOptions::default()).await.unwrap();
    let (first, second) = (back_up(&repo, 1).await.unwrap(), back_up(&repo, 2).await.unwrap());
    repo.protect(&first, "audit 2026").await.unwrap();
    let error = repo.remove_point(&first).await.unwrap_err();
    assert!(matches!(&error, Error::Protected { reason } if reason == "audit 2026"), "{error:?}");
    repo.protect(&first, "audit 2027").await.unwrap();
    assert_eq!(repo.0.store.list(Name::Protection).await.unwrap().len(), 1, "replaced");
    // Another process sees the same.
    let other = Repo::open(&dir, &password(), crate::OpenOptions::default()).await.unwrap();
    let points = other.points().await.unwrap();
    let of = |id| points.iter().find(|point| point.id == id).unwrap().protected.clone();
    assert_eq!(of(first).unwrap().reason, "audit 2027");
    assert_eq!(of(second), None);
    other.remove_point(&second).await.unwrap();
    other.unprotect(&first).await.unwrap();
    other.unprotect(&first).await.unwrap();
    other.remove_point(&first).await.unwrap();
    assert!(repo.points().await.unwrap().is_empty());
    assert_eq!(repo.0.store.list(Name::Forgotten).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_there_is_protected_and_only_for_a_reason() {
    let (_temp, dir) = new_repo().await;
    let repo = Repo::open(&dir, &password(), crate::OpenOptions::default()).await.unwrap();
    let id = back_up(&repo, 1).await.unwrap();
    for reason in ["", "  ", &"x".repeat(5000)] {
        assert!(matches!(repo.protect(&id, reason).await, Err(Error::Invalid(_))));
    }
    repo.remove_point(&id).await.unwrap();
    assert!(matches!(repo.protect(&id, "too late").await, Err(Error::NotFound { .. })));
    assert!(repo.0.store.list(Name::Protection).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protection_that_cannot_be_read_may_be_of_any_point() {
    let (_temp, dir) = new_repo().await;
    let repo = Repo::open(&dir, &password(), crate::OpenOptions::default()).await.unwrap();
    let id = back_up(&repo, 1).await.unwrap();
    let broken = Name::Protection(crate::id::Id::of(b"x"));
    repo.0.store.put(broken, "broken".into()).await.unwrap();
    assert!(matches!(repo.remove_point(&id).await, Err(Error::Damaged { .. })));
    assert_eq!(repo.points().await.unwrap().len(), 1, "points are listed all the same");
    repo.0.store.remove(broken).await.unwrap();
    repo.remove_point(&id).await.unwrap();
}
