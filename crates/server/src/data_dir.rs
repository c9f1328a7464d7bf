//! The data directory: one server at a time, private files, and the word where the server is to be found.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    /// Its lock is what keeps other servers out; the file itself is empty and stays.
    _lock: File,
}

/// What `server.json` says, for the command line on the same machine.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    /// Where the API is.
    pub(crate) url: String,
    /// Process of the server.
    pub(crate) pid: u32,
    /// Certificate that it shows (SHA-256, lower-case hex); none over plain HTTP.
    pub(crate) certificate_sha256: Option<String>,
}

impl DataDir {
    /// Makes the directory if it is missing, and takes it.
    pub(crate) fn take(path: &Path) -> Result<Self, Error> {
        let at = |path: &Path, source| Error::DataDir { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| at(path, error))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|error| at(&lock_path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::DataDirInUse { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => Err(at(&lock_path, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A private file or directory in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Says where the server is.
    pub(crate) fn announce(&self, server: &ServerFile) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(server).expect("three plain fields serialise");
        write_private(&self.join("server.json"), &text)
    }

    /// Takes that back.
    pub(crate) fn withdraw(&self) {
        if let Err(error) = fs::remove_file(self.join("server.json")) {
            tracing::debug!(%error, "server.json was not there any more");
        }
    }
}

/// Reads a file; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::DataDir { path: path.to_owned(), source }),
    }
}

/// Writes a file that only the server's user may read; after a power cut it is there in full or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let at = |source| Error::DataDir { path: path.to_owned(), source };
    let staged = path.with_extension("new");
    match fs::remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged).map_err(at)?;
    file.write_all(bytes).map_err(at)?;
    file.sync_all().map_err(at)?;
    fs::rename(&staged, path).map_err(at)?;
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at)?;
    }
    Ok(())
}
