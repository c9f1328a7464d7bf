//! Where an exported stream goes: a file that gets its name when it is complete, or stdout.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use tokio::{sync::mpsc, task::JoinHandle};
use xenkeep_api::Problem;

/// A run of zeros of this length and alignment becomes a hole: the block size of common file systems.
const HOLE_BYTES: usize = 4096;
/// Pieces that wait between network and disk; each is what one read of the socket gave.
const QUEUE: usize = 16;

/// Something that a stream can be written to.
pub(super) enum Sink {
    File { part: NamedTempFile, path: PathBuf, force: bool, sparse: bool },
    Stdout,
}

impl Sink {
    /// A file beside `path`, which gets that name at the end.
    pub(super) fn file(path: &Path, force: bool, sparse: bool) -> anyhow::Result<Self> {
        let dir = directory(path);
        std::fs::create_dir_all(dir).with_context(|| format!("directory {} can't be made", dir.display()))?;
        let part = tempfile::Builder::new().prefix(".xenkeep-").suffix(".part").tempfile_in(dir);
        let part = part.with_context(|| format!("no file can be made in {}", dir.display()))?;
        Ok(Self::File { part, path: path.to_owned(), force, sparse })
    }

    pub(super) fn stdout() -> Self {
        Self::Stdout
    }

    /// Starts a thread that writes and hashes.
    pub(super) fn start(self) -> Running {
        let (queue, pieces) = mpsc::channel(QUEUE);
        Running { queue, thread: tokio::task::spawn_blocking(move || self.write_all(pieces)) }
    }

    fn write_all(self, mut pieces: mpsc::Receiver<Bytes>) -> anyhow::Result<Written> {
        let mut sha256 = Sha256::new();
        let mut bytes = 0u64;
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                while let Some(piece) = pieces.blocking_recv() {
                    sha256.update(&piece);
                    bytes += piece.len() as u64;
                    stdout.write_all(&piece).context("stdout can't be written to")?;
                }
                stdout.flush().context("stdout can't be written to")?;
                Ok(Written { bytes, sha256: hex::encode(sha256.finalize()), file: None })
            }
            Self::File { part, path, force, sparse } => {
                let failed = || format!("{} can't be written", path.display());
                let mut file = part.as_file();
                while let Some(piece) = pieces.blocking_recv() {
                    sha256.update(&piece);
                    if sparse {
                        write_sparse(&mut file, bytes, &piece).with_context(failed)?;
                    } else {
                        file.write_all(&piece).with_context(failed)?;
                    }
                    bytes += piece.len() as u64;
                }
                // A hole at the end was not written by anything.
                file.set_len(bytes).with_context(failed)?;
                Ok(Written { bytes, sha256: hex::encode(sha256.finalize()), file: Some((part, path, force)) })
            }
        }
    }
}

/// A sink at work.
pub(super) struct Running {
    queue: mpsc::Sender<Bytes>,
    thread: JoinHandle<anyhow::Result<Written>>,
}

impl Running {
    /// Hands over the next piece; `false` when the sink takes no more because it has failed.
    pub(super) async fn push(&mut self, piece: Bytes) -> bool {
        self.queue.send(piece).await.is_ok()
    }

    /// Waits until all of it is written.
    pub(super) async fn finish(self) -> anyhow::Result<Written> {
        drop(self.queue);
        self.thread.await?
    }
}

/// A stream that was written; its file has no name yet and vanishes when this is dropped.
pub(super) struct Written {
    pub(super) bytes: u64,
    /// Lower-case hex.
    pub(super) sha256: String,
    file: Option<(NamedTempFile, PathBuf, bool)>,
}

impl Written {
    #[cfg(test)]
    pub(super) fn without_file(bytes: u64, sha256: &str) -> Self {
        Self { bytes, sha256: sha256.to_owned(), file: None }
    }

    /// Makes the file durable and gives it its name.
    pub(super) fn keep(self) -> anyhow::Result<()> {
        let Some((part, path, force)) = self.file else { return Ok(()) };
        let failed = || format!("{} can't be written", path.display());
        part.as_file().sync_all().with_context(failed)?;
        let kept = if force { part.persist(&path) } else { part.persist_noclobber(&path) };
        match kept {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(&path).into()),
            Err(error) => return Err(error.error).with_context(failed),
        }
        File::open(directory(&path)).and_then(|dir| dir.sync_all()).with_context(failed)
    }
}

pub(super) fn exists(path: &Path) -> Problem {
    Problem::new("file.exists", format!("{} exists", path.display()))
        .hint("name another, or say `--force` to overwrite it")
}

fn directory(path: &Path) -> &Path {
    path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes what is not zero of `piece`, which begins at `offset` of the disk.
fn write_sparse(file: &mut (impl Write + Seek), offset: u64, piece: &[u8]) -> io::Result<()> {
    let mut at = 0;
    let mut run = 0; // begin of what must be written and was not yet
    while at < piece.len() {
        // Holes only help where they cover whole blocks of the file, so pieces are cut there.
        let into_block = ((offset + at as u64) % HOLE_BYTES as u64) as usize;
        let end = piece.len().min(at + HOLE_BYTES - into_block);
        if is_zero(&piece[at..end]) {
            write_at(file, offset + run as u64, &piece[run..at])?;
            run = end;
        }
        at = end;
    }
    write_at(file, offset + run as u64, &piece[run..])
}

fn write_at(file: &mut (impl Write + Seek), offset: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

fn is_zero(block: &[u8]) -> bool {
    static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    block == &ZEROS[..block.len()]
}

#[cfg(test)]
mod tests;
