//! Key files: the master key of the repository, sealed under a password.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use rand::RngCore;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::crypto::{Base64, Key};
use crate::id::Id;
use crate::machine;
use crate::store::{Name, Store};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Parameters of scrypt: how hard a password is to guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// Cost, a power of two. Memory needed is 128 · `n` · `r` bytes.
    pub n: u32,
    /// Block size.
    pub r: u32,
    /// Parallelism, which only costs time.
    pub p: u32,
}

impl Default for Kdf {
    /// About what restic finds for itself on a machine of today (half a second, 32 MiB).
    fn default() -> Self {
        Kdf { n: 1 << 15, r: 8, p: 7 }
    }
}

/// A hostile key file shall not take more memory than this, nor more time than about 64 times the default.
const MAX_MEMORY_BYTES: u64 = 256 << 20;
const MAX_WORK: u64 = 64 * (1 << 15) * 8 * 7;
const MAX_FILE_BYTES: u64 = 1 << 20;
const MAX_FILES: usize = 100;
const READS_IN_FLIGHT: usize = 16;
const SALT_BYTES: usize = 64;

#[derive(Serialize, Deserialize)]
struct KeyFile {
    created: Timestamp,
    #[serde(default)]
    username: String,
    #[serde(default)]
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
    salt: Base64,
    data: Base64,
}

impl Kdf {
    fn derive(self, password: &SecretString, salt: &[u8]) -> Result<Key> {
        let params = self.params()?;
        let mut bytes = Zeroizing::new([0; 64]);
        scrypt::scrypt(password.expose_secret().as_bytes(), salt, &params, bytes.as_mut_slice())
            .expect("64 bytes are neither too few nor too many");
        Ok(Key::from_bytes(bytes))
    }

    /// Itself, as long as a machine can bear it.
    fn params(self) -> Result<scrypt::Params> {
        let hard = || Error::damaged("the key file", "its scrypt parameters are not acceptable");
        let (n, r, p) = (u64::from(self.n), u64::from(self.r), u64::from(self.p));
        let memory = n.checked_mul(r * 128).ok_or_else(hard)?;
        let work = n.checked_mul(r * p).ok_or_else(hard)?;
        if self.n < 2 || !self.n.is_power_of_two() || memory > MAX_MEMORY_BYTES || work > MAX_WORK {
            return Err(hard());
        }
        let log_n = u8::try_from(self.n.trailing_zeros()).expect("a u32 has 32 bits");
        scrypt::Params::new(log_n, self.r, self.p).map_err(|_| hard())
    }
}

/// Seals the master key under a password: name and content of the key file.
pub(crate) fn seal(master: &Key, password: &SecretString, kdf: Kdf) -> Result<(Id, Bytes)> {
    seal_as(master, password, kdf, machine::USER)
}

/// The same, for somebody.
pub(crate) fn seal_as(master: &Key, password: &SecretString, kdf: Kdf, username: &str) -> Result<(Id, Bytes)> {
    let mut salt = Zeroizing::new(vec![0; SALT_BYTES]);
    rand::rng().fill_bytes(&mut salt);
    let user_key = kdf.derive(password, &salt)?;
    let file = KeyFile {
        created: Timestamp::now(),
        username: username.to_owned(),
        hostname: machine::host_name(),
        kdf: "scrypt".to_owned(),
        n: kdf.n,
        r: kdf.r,
        p: kdf.p,
        salt: Base64(salt),
        data: Base64(Zeroizing::new(user_key.seal(&master.to_json()))),
    };
    let json = serde_json::to_vec(&file).expect("a key file is JSON");
    Ok((Id::of(&json), json.into()))
}

/// Opens one key file; `None` if the password is another one.
fn open(content: &[u8], password: &SecretString) -> Result<Option<Key>> {
    let (file, kdf) = parse(content)?;
    let user_key = kdf.derive(password, &file.salt.0)?;
    let mut data = Zeroizing::new(file.data.0.to_vec());
    match user_key.open_in_place(&mut data) {
        Ok(json) => Key::from_json(json).map(Some).ok_or_else(|| damaged("it holds no key")),
        Err(_) => Ok(None),
    }
}

fn parse(content: &[u8]) -> Result<(KeyFile, Kdf)> {
    let file: KeyFile = serde_json::from_slice(content).map_err(|error| damaged(&error.to_string()))?;
    if file.kdf != "scrypt" {
        return Err(damaged("its key derivation function is unknown"));
    }
    let kdf = Kdf { n: file.n, r: file.r, p: file.p };
    Ok((file, kdf))
}

/// Can the file be understood, and would its password be tried?
pub(crate) fn is_acceptable(content: &[u8]) -> bool {
    parse(content).is_ok_and(|(_, kdf)| kdf.params().is_ok())
}

fn damaged(why: &str) -> Error {
    Error::damaged("the key file", why)
}

/// Who has it, from when and where.
pub(crate) fn describe(content: &[u8]) -> Result<(Timestamp, String, String)> {
    let (file, _) = parse(content)?;
    Ok((file.created, file.username, file.hostname))
}

/// All key files, in the order of their names.
pub(crate) async fn all(store: &dyn Store) -> Result<Vec<(Id, Bytes)>> {
    let mut names = store.list(Name::Key).await?;
    names.truncate(MAX_FILES);
    let reads = names.into_iter().map(|(id, _)| async move {
        match store.get(Name::Key(id), MAX_FILE_BYTES).await {
            Ok(content) => Ok(Some((id, content))),
            Err(Error::NotFound { .. }) => Ok(None), // removed in this moment
            Err(error) => Err(error),
        }
    });
    let mut files: Vec<_> = stream::iter(reads).buffer_unordered(READS_IN_FLIGHT).try_collect().await?;
    files.sort();
    Ok(files.into_iter().flatten().collect())
}

/// Finds the master key, and the key file that holds it: tries the password on each. `None` if it opens none.
pub(crate) async fn find(files: Vec<(Id, Bytes)>, password: &SecretString) -> Result<Option<(Key, Id)>> {
    let mut first_error = None;
    for (id, content) in files {
        let password = password.clone();
        let tried = tokio::task::spawn_blocking(move || open(&content, &password)).await;
        match tried.map_err(|_| Error::BrokenOff("deriving a key"))? {
            Ok(Some(key)) => return Ok(Some((key, id))),
            Ok(None) => {}
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(None), Err)
}
