//! restic is the judge: what we write, it checks and restores; what it changes, we understand.

use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest, Sha256};
use xenkeep_repo::{Error, OpenOptions, Repo};

use crate::store::*;

/// Runs restic (Debian: apt install restic) on a repository.
pub(crate) fn restic_raw(dir: &Path, password: &str, args: &[&str]) -> Output {
    let mut command = Command::new("restic");
    command.arg("-r").arg(dir).arg("--no-cache").args(args).env("RESTIC_PASSWORD", password);
    command.output().expect("restic must be installed")
}

pub(crate) fn restic(dir: &Path, args: &[&str]) -> String {
    restic_as(dir, PASSWORD, args)
}

pub(crate) fn restic_as(dir: &Path, password: &str, args: &[&str]) -> String {
    let output = restic_raw(dir, password, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {args:?}: {out}{err}");
    assert!(!err.contains("error") && !err.contains("Warning"), "restic {args:?}: {err}");
    out.into_owned()
}

/// What restic writes to its output, as it is.
pub(crate) fn restic_bytes(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = restic_raw(dir, PASSWORD, args);
    assert!(output.status.success(), "restic {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The disk as an administrator without us gets it: `cat` over the sorted segments.
fn cat(dir: &Path) -> Vec<u8> {
    files(dir).iter().flat_map(|path| std::fs::read(path).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_checks_lists_and_restores_what_we_wrote() {
    let fixture = Fixture::new().await;
    let images = [image(1, (75 << 20) + 512), image(2, 3 << 20), Vec::new()];
    let (writer, _) = begin(&fixture.repo).await;
    for (name, image) in images.iter().enumerate() {
        writer.disk(&name.to_string(), image.len() as u64, stream_of(blocks(image, 1))).await.unwrap();
    }
    writer.file("point.json", "{\"a\":1}".into()).await.unwrap();
    let meta = xenkeep_repo::Meta { root: r#"/Pool "München" \1/6f2b"#.into(), ..meta(0) };
    let id = writer.commit(meta.clone()).await.unwrap();

    let checked = restic(&fixture.dir(), &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    let snapshots: serde_json::Value = serde_json::from_str(&restic(&fixture.dir(), &["snapshots", "--json"])).unwrap();
    let snapshot = &snapshots[0];
    assert_eq!(snapshot["id"], id.to_string());
    assert_eq!((&snapshot["hostname"], &snapshot["paths"][0]), (&meta.host.into(), &meta.root.clone().into()));
    assert_eq!(snapshot["tags"], serde_json::json!(["xenkeep", "vm", "run=0"]));
    assert_eq!(snapshot["time"], meta.time.to_string());
    let config: serde_json::Value = serde_json::from_str(&restic(&fixture.dir(), &["cat", "config"])).unwrap();
    assert_eq!((&config["version"], &config["id"]), (&2.into(), &fixture.repo.id().into()));
    restic(&fixture.dir(), &["cat", "snapshot", &id.to_string()]);

    let target = fixture.path("restored");
    restic(&fixture.dir(), &["restore", &id.to_string(), "--target", target.to_str().unwrap()]);
    let root = target.join(&meta.root[1..]);
    assert_eq!(std::fs::read(root.join("point.json")).unwrap(), b"{\"a\":1}");
    for (name, image) in images.iter().enumerate() {
        assert_eq!(sha256(&cat(&root.join("disks").join(name.to_string()))), sha256(image), "disk {name}");
    }
    let first = files(&root.join("disks/0"))[0].clone();
    assert_eq!(first.strip_prefix(&root).unwrap().to_str().unwrap(), "disks/0/0000/00/0");
    assert_eq!(first.metadata().unwrap().len(), 16 * CHUNK as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_are_whole_for_restic() {
    let fixture = Fixture::new().await;
    let mut image = image(1, 40 << 20);
    for number in 0..3 {
        image[number * (11 << 20)] ^= 0xff;
        let (writer, _) = begin(&fixture.repo).await;
        let points = fixture.repo.points().await.unwrap();
        match points.last() {
            None => drop(writer.disk("0", image.len() as u64, stream_of(blocks(&image, 1))).await.unwrap()),
            Some(point) => {
                let base = fixture.repo.open_point(&point.id).await.unwrap().disk("0").await.unwrap();
                let mut sink = writer.disk_sink_over("0", image.len() as u64, base).unwrap();
                let at = number as u64 * (11 << 20);
                let unchanged = |offset, len| xenkeep_disk::Block { offset, len, data: xenkeep_disk::Data::Unchanged };
                sink.push(unchanged(0, at)).await.unwrap();
                let changed = image[at as usize..][..1].to_vec();
                sink.push(xenkeep_disk::Block::bytes(at, changed.into())).await.unwrap();
                sink.push(unchanged(at + 1, image.len() as u64 - at - 1)).await.unwrap();
                sink.finish().await.unwrap();
            }
        }
        writer.commit(meta(number as i64)).await.unwrap();
    }
    restic(&fixture.dir(), &["check", "--read-data"]);
    let target = fixture.path("restored");
    restic(&fixture.dir(), &["restore", "latest", "--target", target.to_str().unwrap()]);
    assert_eq!(sha256(&cat(&target.join("lab/6f2b/disks/0"))), sha256(&image));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_live_with_what_restic_does_to_a_repository() {
    let fixture = Fixture::new().await;
    let images = [image(1, 5 << 20), image(2, 5 << 20)];
    let first = back_up(&fixture.repo, 0, &images[0]).await;
    let second = back_up(&fixture.repo, 1, &images[1]).await;

    // A snapshot of its own is none of ours.
    let file = fixture.path("file");
    std::fs::write(&file, image(7, 2 << 20)).unwrap();
    restic(&fixture.dir(), &["backup", "-q", file.to_str().unwrap()]);
    assert_eq!(fixture.repo.points().await.unwrap().len(), 2);
    assert!(restored(&fixture.repo, &first).await == images[0]);

    // Forget and prune take the packs of one point; an open repository notices.
    restic(&fixture.dir(), &["forget", "--prune", "--max-unused", "0", &first.to_string()]);
    assert!(matches!(fixture.repo.open_point(&first).await, Err(Error::NotFound { .. })));
    assert!(restored(&fixture.repo, &second).await == images[1]);
    let again = back_up(&fixture.repo, 2, &images[0]).await;
    assert!(restored(&fixture.repo, &again).await == images[0]);
    restic(&fixture.dir(), &["check", "--read-data"]);

    // More passwords.
    let new_password = fixture.path("password");
    std::fs::write(&new_password, "another").unwrap();
    restic(&fixture.dir(), &["key", "add", "--new-password-file", new_password.to_str().unwrap()]);
    let repo = Repo::open(&fixture.dir(), &"another".into(), OpenOptions::default()).await.unwrap();
    assert!(restored(&repo, &second).await == images[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_refuses_to_prune_while_we_work() {
    let fixture = Fixture::new().await;
    let id = back_up(&fixture.repo, 0, &image(1, 1 << 20)).await;
    let (writer, _) = begin(&fixture.repo).await;
    let refused = restic_raw(&fixture.dir(), PASSWORD, &["prune"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("already locked"), "{text}");
    drop(writer);
    let point = fixture.repo.open_point(&id).await.unwrap();
    assert!(!restic_raw(&fixture.dir(), PASSWORD, &["prune"]).status.success(), "nor while we read");
    drop(point);
    restic(&fixture.dir(), &["prune"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_restic_is_written_and_read() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("repo");
    restic(&dir, &["init", "--repository-version", "2"]);
    let repo = Repo::open(&dir, &password(), OpenOptions::default()).await.unwrap();
    assert_eq!(repo.chunk_bytes(), 512 << 10);
    let image = image(1, 5 << 20);
    let id = back_up(&repo, 0, &image).await;
    assert!(restored(&repo, &id).await == image);
    restic(&dir, &["check", "--read-data"]);

    let old = temp.path().join("old");
    restic(&old, &["init", "--repository-version", "1"]);
    let error = Repo::open(&old, &password(), OpenOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::UnsupportedVersion { found: 1 }), "{error:?}");
}
