//! A file system without room.

use std::process::Command;

use xenkeep_disk::Block;
use xenkeep_repo::{Error, Repo};

use crate::store::*;

const IN_NAMESPACE: &str = "XENKEEP_TEST_SMALL_MOUNT";

/// Runs this very test once more, in a mount namespace of its own with a small tmpfs in it: no right is needed for that.
#[test]
fn a_full_file_system_is_told_and_harms_nothing() {
    if let Ok(mount) = std::env::var(IN_NAMESPACE) {
        return tokio::runtime::Runtime::new().unwrap().block_on(fill(mount.as_ref()));
    }
    let temp = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=24m tmpfs "$1" && exec "$2" --exact full::a_full_file_system_is_told_and_harms_nothing"#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(temp.path())
        .arg(std::env::current_exe().unwrap())
        .env(IN_NAMESPACE, temp.path())
        .output()
        .expect("unshare (util-linux) must be installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

async fn fill(mount: &std::path::Path) {
    let dir = mount.join("repo");
    let repo = Repo::create(&dir, &password(), options()).await.unwrap();
    let small = image(1, 2 << 20);
    let id = back_up(&repo, 0, &small).await;

    // More than there is room for, and incompressible.
    let (writer, _) = begin(&repo).await;
    let size = 200 << 20;
    let mut sink = writer.disk_sink("0", size).unwrap();
    let mut result = Ok(());
    for number in 0..200_u64 {
        let mut bytes = vec![0; 1 << 20];
        rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
        result = sink.push(Block::bytes(number << 20, bytes.into())).await;
        if result.is_err() {
            break;
        }
    }
    let error = match result {
        Err(error) => {
            drop(sink);
            error
        }
        Ok(()) => sink.finish().await.err().unwrap(),
    };
    assert!(matches!(&error, Error::Full { path, .. } if path.starts_with(&dir)), "{error:?}");
    assert!(!error.is_transient());
    writer.abort().await;

    // Nothing half-written is left, the old point is whole, and there is room again.
    assert_eq!(repo.points().await.unwrap().len(), 1);
    assert!(restored(&repo, &id).await == small);
    assert!(files(&dir.join("tmp")).is_empty());
    gone(&dir.join("locks")).await;
    let next = image(5, 2 << 20);
    let id = back_up(&repo, 2, &next).await;
    assert!(restored(&repo, &id).await == next);
}
