//! Makes the seeds below `fuzz/seeds` anew: `cargo run --package xenkeep-fuzz --example seeds`.
//!
//! They are what our writer and `restic` (0.14 here) put into one small repository, without the seals.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde_json::Value;
use xenkeep_disk::Block;
use xenkeep_repo::{
    CreateOptions, Depth, Kdf, Meta, OpenOptions, PruneOptions, Repo, SnapshotId, VerifyOptions, WriteOptions, fuzzing,
};

const PASSWORD: &str = "seeds";

#[tokio::main]
async fn main() -> Result<()> {
    let temp = tempfile::tempdir()?;
    let repository = Repository(temp.path().join("repository"));
    write(&repository.0).await?;
    let files = odd_files(temp.path())?;
    repository.restic(&["backup", "--quiet", "--tag", "odd", &files.display().to_string()])?;
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");

    let key = repository.restic(&["cat", "masterkey"])?;
    for (name, content) in repository.files("index")? {
        // As it lies in the repository (the byte 2, then zstd), and as it is understood.
        let packed = fuzzing::document_seed(&key, &content).context("an index file is not sealed")?;
        let json = unpacked(&packed)?;
        put(&out, "index_file", &format!("{name}.zst"), &packed)?;
        put(&out, "index_file", &name, &json)?;
        let json: Value = serde_json::from_slice(&json)?;
        for blob in json["packs"].as_array().into_iter().flatten().flat_map(|pack| pack["blobs"].as_array()).flatten() {
            if let (Some("tree"), Some(id)) = (blob["type"].as_str(), blob["id"].as_str()) {
                put(&out, "tree", &id[..8], &repository.restic(&["cat", "blob", id])?)?;
            }
        }
    }
    for (name, content) in repository.files("data")? {
        put(&out, "pack_header", &name, &fuzzing::header_seed(&key, &content).context("a pack has no header")?)?;
    }
    for (dir, target, kind) in [("snapshots", "snapshot", None), ("locks", "small_file", Some(0))] {
        for (name, content) in repository.files(dir)? {
            let packed = fuzzing::document_seed(&key, &content).context("a file is not sealed")?;
            put(&out, target, &name, &[kind.as_slice(), &nameless(unpacked(&packed)?)?].concat())?;
        }
    }
    keep_house(&repository.0).await?;
    for (dir, kind) in [("marks", 3), ("forgotten", 4), ("protected", 5), ("damage", 6)] {
        for (name, content) in repository.files(&format!("xenkeep/{dir}"))? {
            let packed = fuzzing::document_seed(&key, &content).context("a file of our own is not sealed")?;
            put(&out, "small_file", &name, &[&[kind], &*nameless(unpacked(&packed)?)?].concat())?;
        }
    }
    let config = fuzzing::document_seed(&key, &fs::read(repository.0.join("config"))?).context("no config")?;
    put(&out, "small_file", "config", &[&[1], &*config].concat())?;
    for (name, content) in repository.files("keys")? {
        put(&out, "small_file", &name, &[&[2], &*nameless(content)?].concat())?;
    }
    Ok(())
}

fn unpacked(document: &[u8]) -> Result<Vec<u8>> {
    match document {
        [2, zipped @ ..] => Ok(zstd::decode_all(zipped)?),
        json => Ok(json.to_vec()),
    }
}

struct Repository(PathBuf);

impl Repository {
    fn restic(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let mut command = Command::new("restic");
        command.arg("--repo").arg(&self.0).env("RESTIC_PASSWORD", PASSWORD).arg("--no-cache").args(arguments);
        let output = command.output()?;
        ensure!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(output.stdout)
    }

    /// All files below a directory, with the first digits of their names.
    fn files(&self, dir: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(self.0.join(dir))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                files.extend(self.files(&format!("{dir}/{name}"))?);
            } else {
                files.push((name[..8].to_owned(), fs::read(entry.path())?));
            }
        }
        Ok(files)
    }
}

/// Two points of ours; the second one is given up, so that its lock stays.
async fn write(dir: &Path) -> Result<()> {
    let options = CreateOptions { chunk_bytes: 128 << 10, kdf: Kdf { n: 16, r: 8, p: 1 } };
    let repo = Repo::create(dir, &PASSWORD.into(), options).await?;
    let writer = repo.begin(WriteOptions::default()).await?;
    for (name, size) in [("0", 70 << 20), ("1", 300_000)] {
        let mut disk = writer.disk_sink(name, size)?;
        let data = Bytes::from((0..size.min(1 << 20)).map(|byte| (byte % 251) as u8).collect::<Vec<_>>());
        let len = data.len() as u64;
        disk.push(Block::bytes(0, data)).await?;
        if size > len {
            disk.push(Block::zero(len, size - len)).await?;
        }
        disk.finish().await?;
    }
    writer.file("point.json", "{}".into()).await?;
    writer.commit(meta("some-uuid")?).await?;
    // Its lock stands as long as it is held.
    std::mem::forget(repo.begin(WriteOptions::default()).await?);
    Ok(())
}

fn meta(name: &str) -> Result<Meta> {
    let (time, tags) = ("2026-11-24T20:00:00.5Z".parse()?, vec!["vm:web".to_owned()]);
    Ok(Meta { host: "lab".into(), root: format!("/lab/{name}"), tags, time })
}

/// Leaves files of all kinds of our own: protects a point, removes one, marks what it alone needed, finds a damaged pack.
async fn keep_house(dir: &Path) -> Result<()> {
    let repo = Repo::open(dir, &PASSWORD.into(), OpenOptions::default()).await?;
    let first: SnapshotId = repo.points().await?.first().context("there is no point")?.id;
    repo.protect(&first, "the last one before the move").await?;
    let writer = repo.begin(WriteOptions::default()).await?;
    writer.file("point.json", "not for long".into()).await?;
    let second = writer.commit(meta("other-uuid")?).await?;
    repo.prune(PruneOptions { max_unused_percent: 100.0, ..PruneOptions::default() }).await?;
    repo.remove_point(&second).await?;
    repo.prune(PruneOptions { max_unused_percent: 100.0, ..PruneOptions::default() }).await?;
    let first_dir = fs::read_dir(dir.join("data"))?.map(|dir| Ok(fs::read_dir(dir?.path())?.next().transpose()?));
    let pack = first_dir.collect::<Result<Vec<_>>>()?.into_iter().flatten().next().context("there is no pack")?.path();
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600))?;
    let mut content = fs::read(&pack)?;
    content[0] ^= 1;
    fs::write(&pack, content)?;
    repo.verify(VerifyOptions { depth: Depth::Full, ..VerifyOptions::default() }).await?;
    Ok(())
}

/// The same text without the name of this machine, which is nobody's business.
fn nameless(json: Vec<u8>) -> Result<Vec<u8>> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    Ok(String::from_utf8(json)?.replace(&format!("{:?}", name.trim()), r#""machine""#).into_bytes())
}

/// What restic writes and we never do.
fn odd_files(temp: &Path) -> Result<PathBuf> {
    let dir = temp.join("odd");
    fs::create_dir_all(dir.join("sub/empty"))?;
    for name in ["quote\"d", "back\\slash", "umläut", "new\nline", "\u{1f980}"] {
        fs::write(dir.join(name), name.repeat(100))?;
    }
    fs::write(dir.join("empty"), "")?;
    symlink("empty", dir.join("link"))?;
    fs::hard_link(dir.join("empty"), dir.join("sub/hard"))?;
    fs::set_permissions(dir.join("umläut"), fs::Permissions::from_mode(0o4751))?;
    Ok(dir)
}

fn put(out: &Path, target: &str, name: &str, content: &[u8]) -> Result<()> {
    let dir = out.join(target);
    fs::create_dir_all(&dir)?;
    Ok(fs::write(dir.join(name), content)?)
}
