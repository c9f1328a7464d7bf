//! A repository in a local (or mounted) directory, laid out as restic lays it out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use uuid::Uuid;

use super::{Kind, Name, Store};
use crate::id::Id;
use crate::{Error, Result, work};

mod probe;

/// Files are born here and move to their place when they are complete. restic leaves the directory alone.
const TEMP_DIR: &str = "tmp";

/// What stands in the directory of a repository beside its config.
const DIRS: [&str; 6] = ["keys", "locks", "index", "snapshots", TEMP_DIR, "data"];

/// Where the files lie that only we know.
const OUR_DIR: &str = "xenkeep";

/// No file takes a day to write: older ones were left behind by a crash.
const TEMP_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Files from this size on do not stay in the page cache.
const EVICTED_BYTES: usize = 1 << 20;

#[derive(Clone)]
pub(crate) struct Directory {
    root: Arc<Path>,
}

impl Directory {
    pub(crate) fn new(root: &Path) -> Self {
        Directory { root: root.into() }
    }

    fn create(&self) -> Result<Vec<String>> {
        make_dir(&self.root)?;
        self.clear_beginnings()?;
        for dir in DIRS {
            make_dir(&self.root.join(dir))?;
        }
        let data = self.root.join("data");
        for byte in 0..=255_u8 {
            make_dir(&data.join(hex::encode([byte])))?;
        }
        sync_dir(&data)?;
        sync_dir(&self.root)?;
        self.root.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), sync_dir)?;
        probe::probe(&self.root)
    }

    /// Removes a key that no config was written for. Whatever else there is stays, and is an error.
    fn clear_beginnings(&self) -> Result<()> {
        let not_empty = || Error::NotEmpty { location: self.root.display().to_string() };
        let mut keys = Vec::new();
        for dir in entries(&self.root)? {
            let name = dir.file_name();
            let name = name.to_str().filter(|name| DIRS.contains(name) || *name == OUR_DIR).ok_or_else(not_empty)?;
            for entry in entries(&dir.path())? {
                let kind = entry.file_type().map_err(|error| Error::io(&entry.path(), error))?;
                match name {
                    "keys" | TEMP_DIR if kind.is_file() => keys.push(entry.path()),
                    "data" | OUR_DIR if kind.is_dir() && entries(&entry.path())?.is_empty() => {}
                    _ => return Err(not_empty()),
                }
            }
        }
        for key in keys {
            tracing::info!(file = %key.display(), "removing what an interrupted creation left behind");
            fs::remove_file(&key).map_err(|error| Error::io(&key, error))?;
        }
        Ok(())
    }

    fn sweep_blocking(&self) {
        let is_old = |entry: &fs::DirEntry| {
            let modified = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::now());
            modified.elapsed().is_ok_and(|age| age > TEMP_MAX_AGE)
        };
        let Ok(entries) = fs::read_dir(self.root.join(TEMP_DIR)) else { return };
        for entry in entries.filter_map(io::Result::ok).filter(is_old) {
            tracing::info!(file = %entry.path().display(), "removing what an interrupted write left behind");
            drop(fs::remove_file(entry.path()));
        }
    }

    fn path(&self, name: Name) -> PathBuf {
        self.root.join(name.to_string())
    }

    fn put_blocking(&self, name: Name, content: &[u8]) -> Result<()> {
        let temp_dir = self.root.join(TEMP_DIR);
        let temp = temp_dir.join(Uuid::new_v4().to_string());
        let target = self.path(name);
        let written = write_durably(&temp, content).or_else(|error| match error.kind() {
            // A repository that restic made has no such directory yet.
            io::ErrorKind::NotFound => {
                make_dir(&temp_dir).map_err(io::Error::other).and_then(|()| write_durably(&temp, content))
            }
            _ => Err(error),
        });
        let moved = written.and_then(|()| match fs::rename(&temp, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && name.is_ours() => {
                self.make_ours(&target).map_err(io::Error::other).and_then(|()| fs::rename(&temp, &target))
            }
            moved => moved,
        });
        if let Err(error) = moved {
            drop(fs::remove_file(&temp));
            return Err(Error::io(&target, error));
        }
        target.parent().map_or(Ok(()), sync_dir)
    }

    /// Makes the directory of a file that only we know; restic has not made it, nor has our creation.
    fn make_ours(&self, target: &Path) -> Result<()> {
        target.parent().map_or(Ok(()), make_dir)?;
        sync_dir(&self.root.join("xenkeep"))?;
        sync_dir(&self.root)
    }

    fn list_dir(&self, dir: &Path, found: &mut Vec<(Id, u64)>) -> Result<()> {
        for entry in fs::read_dir(dir).map_err(|error| Error::io(dir, error))? {
            let entry = entry.map_err(|error| Error::io(dir, error))?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match entry.metadata() {
                Ok(meta) => found.push((id, meta.len())),
                // Locks come and go while we look.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io(&entry.path(), error)),
            }
        }
        Ok(())
    }

    fn list_blocking(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        let name = kind(Id::from_bytes([0; 32]));
        let any = self.path(name);
        let dir = any.parent().expect("all kinds lie in a directory");
        let mut found = Vec::new();
        if matches!(name, Name::Pack(_)) {
            let data = self.root.join("data");
            for byte in 0..=255_u8 {
                self.list_dir(&data.join(hex::encode([byte])), &mut found)?;
            }
        } else {
            match self.list_dir(dir, &mut found) {
                Err(Error::Io { source, .. }) if name.is_ours() && source.kind() == io::ErrorKind::NotFound => {}
                listed => listed?,
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Store for Directory {
    async fn prepare(&self) -> Result<Vec<String>> {
        let this = self.clone();
        work::block(move || this.create()).await?
    }

    async fn sweep(&self) {
        let this = self.clone();
        drop(work::block(move || this.sweep_blocking()).await);
    }

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        let this = self.clone();
        work::block(move || this.put_blocking(name, &content)).await?
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        let path = self.path(name);
        work::block(move || {
            let file = open(&path, name)?;
            let len = file.metadata().map_or(0, |metadata| metadata.len());
            let mut content = Vec::with_capacity(len.min(max_bytes) as usize + 1);
            file.take(max_bytes + 1).read_to_end(&mut content).map_err(|error| Error::io(&path, error))?;
            if content.len() as u64 > max_bytes {
                return Err(Error::damaged(name.to_string(), format!("it is longer than {max_bytes} bytes")));
            }
            Ok(content.into())
        })
        .await?
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, mut buffer: Vec<u8>) -> Result<Vec<u8>> {
        let path = self.path(name);
        work::block(move || {
            let file = open(&path, name)?;
            buffer.clear();
            buffer.reserve_exact(len);
            while buffer.len() < len {
                let at = offset.saturating_add(buffer.len() as u64);
                match rustix::io::pread(&file, spare_capacity(&mut buffer), at) {
                    Ok(0) => return Err(Error::damaged(name.to_string(), "it is cut off")),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(Error::io(&path, errno.into())),
                }
            }
            buffer.truncate(len);
            Ok(buffer)
        })
        .await?
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        let path = self.path(name);
        work::block(move || match fs::metadata(&path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(&path, error)),
        })
        .await?
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        let this = self.clone();
        work::block(move || this.list_blocking(kind)).await?
    }

    async fn remove(&self, name: Name) -> Result<()> {
        let path = self.path(name);
        work::block(move || match fs::remove_file(&path) {
            Ok(()) => path.parent().map_or(Ok(()), sync_dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(&path, error)),
        })
        .await?
    }

    fn remove_now(&self, name: Name) {
        let path = self.path(name);
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(file = %path.display(), %error, "cannot remove a file of the repository");
        }
    }
}

fn open(path: &Path, name: Name) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NotFound { what: name.to_string() },
        _ => Error::io(path, error),
    })
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>> {
    let read = fs::read_dir(dir).and_then(Iterator::collect);
    read.map_err(|error| Error::io(dir, error))
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| Error::io(dir, error))
}

/// Makes what was created, renamed or removed in a directory durable.
fn sync_dir(dir: &Path) -> Result<()> {
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        // Some shares cannot do that; the administrator was told so when the repository was made.
        Err(error) if !probe::is_unsupported(&error) => Err(Error::io(dir, error)),
        _ => Ok(()),
    }
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()?;
    if content.len() >= EVICTED_BYTES {
        // A backup is not read soon: don't let it push out of memory what is. If the system refuses, so be it.
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    }
    let len = file.metadata()?.len();
    if len != content.len() as u64 {
        return Err(io::Error::other(format!("{len} bytes were stored of {}", content.len())));
    }
    Ok(())
}
