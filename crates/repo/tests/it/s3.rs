//! The same on an S3 server, with restic as the judge of it.

use std::process::{Command, Output};

use secrecy::SecretString;
use xenkeep_repo::{Error, OpenOptions, Repo, S3Location};

use crate::moto::{self, Place};
use crate::store::*;

fn location(place: &Place) -> S3Location {
    let Place { endpoint, bucket, prefix, region, access_key_id, secret_access_key } = place.clone();
    let (endpoint, secret_access_key) = (Some(endpoint), secret_access_key.into());
    S3Location { endpoint, bucket, prefix, region, access_key_id, secret_access_key, ca_certificate: None }
}

/// Runs restic. It blocks the thread, so our own requests need another one.
fn restic_raw(place: &Place, password: &str, args: &[&str]) -> Output {
    let mut command = Command::new("restic");
    command.arg("-r").arg(place.restic()).arg("--no-cache").args(args).env("RESTIC_PASSWORD", password);
    command.env("AWS_ACCESS_KEY_ID", &place.access_key_id).env("AWS_SECRET_ACCESS_KEY", &place.secret_access_key);
    command.output().expect("restic must be installed")
}

fn restic(place: &Place, args: &[&str]) -> String {
    let output = restic_raw(place, PASSWORD, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {args:?}: {out}{err}");
    out.into_owned()
}

async fn open(place: &Place, password: &str) -> Repo {
    Repo::open(location(place), &SecretString::from(password), OpenOptions::default()).await.unwrap()
}

/// Waits until nobody holds a lock: the last one goes in the background.
async fn unlocked(place: &Place) {
    for _ in 0..100 {
        let locks = restic_raw(place, PASSWORD, &["list", "locks", "--no-lock"]);
        if locks.status.success() && locks.stdout.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("a lock is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_restores_and_prunes_what_we_wrote() {
    let place = moto::place();
    let repo = Repo::create(location(&place), &password(), options()).await.unwrap();
    assert_eq!(repo.location().to_string(), place.restic());
    assert!(repo.findings()[0].contains("http"), "{:?}", repo.findings());
    let images = [image(1, (40 << 20) + 512), image(2, (40 << 20) + 512)];
    let ids = [back_up(&repo, 0, &images[0]).await, back_up(&repo, 1, &images[1]).await];
    for (id, image) in ids.iter().zip(&images) {
        assert!(restored(&repo, id).await == *image);
    }
    // While we read, nobody prunes.
    let point = repo.open_point(&ids[0]).await.unwrap();
    let refused = restic_raw(&place, PASSWORD, &["prune"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("already locked"), "{text}");
    drop(point);
    unlocked(&place).await;

    let checked = restic(&place, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    let temp = tempfile::tempdir().unwrap();
    restic(&place, &["restore", &ids[1].to_string(), "--target", temp.path().to_str().unwrap()]);
    let segments = files(&temp.path().join("lab/6f2b/disks/0"));
    let cat: Vec<u8> = segments.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    assert!(cat == images[1]);

    restic(&place, &["forget", "--prune", "--max-unused", "0", &ids[0].to_string()]);
    assert!(matches!(repo.open_point(&ids[0]).await, Err(Error::NotFound { .. })));
    assert!(restored(&open(&place, PASSWORD).await, &ids[1]).await == images[1]);
    assert!(matches!(Repo::create(location(&place), &password(), options()).await, Err(Error::NotEmpty { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_restic_is_written_and_read() {
    let place = moto::place();
    restic(&place, &["init", "--repository-version", "2"]);
    let repo = open(&place, PASSWORD).await;
    let image = image(1, 5 << 20);
    let id = back_up(&repo, 0, &image).await;
    assert!(restored(&repo, &id).await == image);
    unlocked(&place).await;
    restic(&place, &["check", "--read-data"]);
    let nothing = Place { prefix: format!("{}-not", place.prefix), ..place };
    let error = Repo::open(location(&nothing), &password(), OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::NotARepository { .. }), "{error:?}");
}
