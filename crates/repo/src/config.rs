//! The repository's config: its id, its version, and what its chunks look like.

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::polynomial::Polynomial;
use crate::{Error, Result};

#[cfg(test)]
mod tests;

const VERSION: u32 = 2;

/// Chunks of a repository that restic made.
const DEFAULT_CHUNK_BYTES: u32 = 512 << 10;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) version: u32,
    pub(crate) id: Id,
    /// Where restic cuts files; we cut disks at fixed places, but restic refuses a repository without it.
    pub(crate) chunker_polynomial: Polynomial,
    /// What only we need. restic ignores it and keeps the file as it is.
    #[serde(default)]
    pub(crate) xenkeep: Ours,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ours {
    pub(crate) chunk_bytes: u32,
}

impl Default for Ours {
    fn default() -> Self {
        Ours { chunk_bytes: DEFAULT_CHUNK_BYTES }
    }
}

impl Config {
    pub(crate) fn new(chunk_bytes: u32) -> Result<Self> {
        check_chunk_bytes(chunk_bytes).map_err(Error::Invalid)?;
        let (id, chunker_polynomial) = (Id::random(), Polynomial::random());
        Ok(Config { version: VERSION, id, chunker_polynomial, xenkeep: Ours { chunk_bytes } })
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.version != VERSION {
            return Err(Error::UnsupportedVersion { found: self.version });
        }
        check_chunk_bytes(self.xenkeep.chunk_bytes).map_err(|why| Error::damaged("config", why))
    }
}

fn check_chunk_bytes(chunk_bytes: u32) -> Result<(), String> {
    if chunk_bytes.is_power_of_two() && ((128 << 10)..=(4 << 20)).contains(&chunk_bytes) {
        return Ok(());
    }
    Err(format!("a chunk must have a power of two of bytes between 128 KiB and 4 MiB, not {chunk_bytes}"))
}
