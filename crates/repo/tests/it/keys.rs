//! Passwords: added and removed by us and by restic, opened by both.

use std::process::Command;

use secrecy::SecretString;
use xenkeep_repo::{Error, Kdf, OpenOptions, Repo};

use crate::store::*;

fn opens_with_restic(fixture: &Fixture, password: &str) -> bool {
    let mut restic = Command::new("restic");
    restic.arg("-r").arg(fixture.dir()).args(["--no-cache", "cat", "config"]).env("RESTIC_PASSWORD", password);
    restic.output().expect("restic must be installed").status.success()
}

async fn open(fixture: &Fixture, password: &str) -> Result<Repo, Error> {
    Repo::open(&fixture.dir(), &SecretString::from(password), OpenOptions::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_password_opens_for_us_and_for_restic_until_it_is_removed() {
    let fixture = Fixture::new().await;
    let repo = &fixture.repo;
    let quick = Kdf { n: 1024, r: 8, p: 1 };
    let added = repo.add_key(&"for the safe".into(), "safe", quick).await.unwrap();
    assert_eq!((added.name.as_str(), added.in_use), ("safe", false));
    let keys = repo.keys().await.unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys.iter().filter(|key| key.in_use).count(), 1);
    assert!(keys.contains(&added));
    for password in [PASSWORD, "for the safe"] {
        assert!(opens_with_restic(&fixture, password), "{password}");
        open(&fixture, password).await.unwrap();
    }

    // The one that we work with stays, whichever it is.
    let first = keys.iter().find(|key| key.in_use).unwrap().id;
    assert!(matches!(repo.remove_key(&first).await, Err(Error::KeyInUse { id }) if id == first));
    let other = open(&fixture, "for the safe").await.unwrap();
    assert!(matches!(other.remove_key(&added.id).await, Err(Error::KeyInUse { .. })));
    assert!(matches!(repo.add_key(&"".into(), "nobody", quick).await, Err(Error::Invalid(_))));

    repo.remove_key(&added.id).await.unwrap();
    assert!(matches!(repo.remove_key(&added.id).await, Err(Error::NotFound { .. })));
    assert!(!opens_with_restic(&fixture, "for the safe"));
    assert!(matches!(open(&fixture, "for the safe").await, Err(Error::WrongPassword { .. })));
    assert!(opens_with_restic(&fixture, PASSWORD));
    // Whose own key is gone removes none of the others.
    assert!(matches!(other.remove_key(&first).await, Err(Error::Invalid(_))));
    assert_eq!(repo.keys().await.unwrap().len(), 1);
}
