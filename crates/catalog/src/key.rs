//! The key file: 32 random bytes in hex, readable by the server's user alone, never in the database.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use crate::Error;

/// A key for AES-256.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// Reads the key file; none if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Key>, Error> {
    let at = |source| Error::File { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error)),
    };
    let mode = file.metadata().map_err(at)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::KeyExposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(128));
    file.take(128).read_to_string(&mut text).map_err(at)?;
    let mut key = Key::default();
    hex::decode_to_slice(text.trim_end(), key.as_mut_slice()).map_err(|_| Error::KeyMalformed(path.to_owned()))?;
    Ok(Some(key))
}

/// Makes a new key and its file. The file is on disk before this returns: nothing may be sealed under a key that a
/// power cut can take away.
pub(crate) fn create(path: &Path) -> Result<Key, Error> {
    let at = |source| Error::File { path: path.to_owned(), source };
    let mut key = Key::default();
    OsRng.try_fill_bytes(key.as_mut_slice()).map_err(|error| at(io::Error::other(error)))?;
    let text = Zeroizing::new(format!("{}\n", Zeroizing::new(hex::encode(key.as_slice())).as_str()));
    let staged = path.with_extension("new");
    if let Err(error) = fs::remove_file(&staged)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(at(error));
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&staged).map_err(at)?;
    file.write_all(text.as_bytes()).map_err(at)?;
    file.sync_all().map_err(at)?;
    fs::rename(&staged, path).map_err(at)?;
    if let Some(dir) = path.parent() {
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(at)?;
    }
    Ok(key)
}
