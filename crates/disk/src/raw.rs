//! Raw images: the disk byte for byte, as a file (holes included) or a block device.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use async_trait::async_trait;
use futures::StreamExt;
use rustix::buffer::spare_capacity;
use rustix::fs::{Advice, SeekFrom as Seeking, fadvise};
use rustix::io::Errno;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::block::{Extent, MAX_BLOCK_BYTES, check_range};
use crate::buffers::Buffers;
use crate::feed::{self, Feed};
use crate::{Block, Blocks, Data, DiskRead, Error, Gapless, is_zero};

#[cfg(test)]
mod tests;

/// Runs of zeros of this length become holes, also within data.
const HOLE_BYTES: usize = 64 << 10;
/// How many blocks may wait to be written.
const WRITE_BEHIND: usize = 16;
/// The disk is set to work whenever so much was written, so that not all of it is left for the end.
const SYNC_BYTES: u64 = 64 << 20;
/// How many buffers the reader uses again: those that wait to be taken, and those that are being worked at.
const READ_BUFFERS: usize = 32;

/// A raw image that is read.
#[derive(Clone, Debug)]
pub struct RawFile {
    file: Arc<File>,
    path: PathBuf,
    size: u64,
}

impl RawFile {
    /// Opens a file or a block device. Its size is taken now.
    pub fn open(path: &Path) -> Result<Arc<Self>, Error> {
        let mut file = File::open(path).map_err(Error::file(path))?;
        // A block device has no length of its own.
        let size = file.seek(SeekFrom::End(0)).map_err(Error::file(path))?;
        Ok(Arc::new(RawFile { file: Arc::new(file), path: path.to_owned(), size }))
    }

    fn read_all(&self, feed: &Feed) -> Result<(), Error> {
        // A hint only.
        let _ = fadvise(&self.file, 0, None, Advice::Sequential);
        let buffers = Buffers::new(READ_BUFFERS);
        let mut offset = 0;
        while offset < self.size {
            let data = self.next_data(offset)?;
            if data > offset {
                feed.put(Block::zero(offset, data - offset))?;
                offset = data;
            }
            let end = self.next_hole(offset)?;
            while offset < end {
                let len = (end - offset).min(MAX_BLOCK_BYTES as u64) as usize;
                let mut buffer = buffers.take(len);
                self.read(offset, len, &mut buffer)?;
                feed.put(Block::bytes(offset, buffer.freeze()))?;
                offset += len as u64;
            }
        }
        Ok(())
    }

    /// Where the next data are, at `offset` or behind it.
    fn next_data(&self, offset: u64) -> Result<u64, Error> {
        match rustix::fs::seek(&self.file, Seeking::Data(offset)) {
            Ok(data) => Ok(data.clamp(offset, self.size)),
            Err(Errno::NXIO) => Ok(self.size),
            // Who knows no holes has none.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(offset),
            Err(errno) => Err(Error::file(&self.path)(errno.into())),
        }
    }

    /// Where the data at `offset` end.
    fn next_hole(&self, offset: u64) -> Result<u64, Error> {
        match rustix::fs::seek(&self.file, Seeking::Hole(offset)) {
            Ok(hole) if hole > offset => Ok(hole.min(self.size)),
            // The file is being changed; whatever it is, it can be read.
            Ok(_) | Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(self.size),
            Err(errno) => Err(Error::file(&self.path)(errno.into())),
        }
    }

    /// Reads into an empty buffer that has room for it.
    fn read(&self, offset: u64, len: usize, bytes: &mut Vec<u8>) -> Result<(), Error> {
        while bytes.len() < len {
            let at = offset + bytes.len() as u64;
            match rustix::io::pread(&self.file, spare_capacity(bytes), at) {
                Ok(0) => return Err(Error::truncated(format!("{} at {at}", self.path.display()))),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::file(&self.path)(errno.into())),
            }
        }
        bytes.truncate(len);
        Ok(())
    }
}

#[async_trait]
impl DiskRead for RawFile {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        check_range(offset, buf.len() as u64, self.size)?;
        let (this, len) = (self.clone(), buf.len());
        let read = spawn_blocking(move || {
            let mut bytes = Vec::with_capacity(len);
            this.read(offset, len, &mut bytes).map(|()| bytes)
        });
        let bytes = read.await.map_err(|_| Error::Abandoned)??;
        buf.copy_from_slice(&bytes);
        Ok(())
    }

    async fn extent_at(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        check_range(offset, len, self.size)?;
        let this = self.clone();
        let look = move || match this.next_data(offset)? {
            data if data > offset => Ok(Extent { len: len.min(data - offset), zero: true }),
            _ => Ok(Extent { len: len.min(this.next_hole(offset)? - offset), zero: false }),
        };
        spawn_blocking(look).await.map_err(|_| Error::Abandoned)?
    }

    fn blocks(self: Arc<Self>) -> Blocks {
        feed::blocks(move |feed| self.read_all(feed))
    }
}

/// What was written by [`write_sparse`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes that were written; the rest of the disk is holes.
    pub data_bytes: u64,
}

/// Writes a whole disk of `size` bytes over whatever is in the file, with holes where there are zeros. When it
/// returns, all of it is on the disk.
///
/// `path` is for messages only.
pub async fn write_sparse(blocks: Blocks, size: u64, file: File, path: &Path) -> Result<Written, Error> {
    let (queue, waiting) = mpsc::channel(WRITE_BEHIND);
    let path = path.to_owned();
    let writer = spawn_blocking(move || write_all(waiting, size, &file).map_err(Error::file(&path)));
    let read = pass_on(Gapless::new(blocks, size), queue).await;
    let written = writer.await.map_err(|_| Error::Abandoned)?;
    read.and(written)
}

/// Hands blocks to the writer; stops early when that has gone, which then has an error to tell.
async fn pass_on(mut blocks: Gapless, queue: mpsc::Sender<Option<Block>>) -> Result<(), Error> {
    while let Some(block) = blocks.next().await {
        let block = block?;
        if block.data == Data::Unchanged {
            return Err(Error::Unsupported("changes only, where a whole disk is needed".into()));
        }
        if queue.send(Some(block)).await.is_err() {
            return Ok(());
        }
    }
    // Tells the end from a reader that stopped.
    let _ = queue.send(None).await;
    Ok(())
}

/// Writes, while a second thread has what was written brought to the disk.
fn write_all(waiting: mpsc::Receiver<Option<Block>>, size: u64, file: &File) -> io::Result<Written> {
    file.set_len(0)?;
    file.set_len(size)?;
    thread::scope(|scope| {
        let (wake, woken) = sync_channel(1);
        let syncing = scope.spawn(move || woken.iter().try_for_each(|()| file.sync_data()));
        let written = write_blocks(waiting, file, &wake);
        drop(wake);
        // The system tells of an error only once: it must not be lost here.
        syncing.join().map_err(|_| io::Error::other("the thread that syncs broke down"))??;
        let (written, is_whole) = written?;
        if is_whole {
            file.sync_all()?;
        }
        Ok(written)
    })
}

/// Writes what comes, and says whether that was all of it.
fn write_blocks(
    mut waiting: mpsc::Receiver<Option<Block>>,
    file: &File,
    wake: &SyncSender<()>,
) -> io::Result<(Written, bool)> {
    let (mut written, mut synced_bytes) = (Written::default(), 0);
    while let Some(block) = waiting.blocking_recv() {
        match block {
            Some(Block { offset, data: Data::Bytes(bytes), .. }) => {
                written.data_bytes += write_data(file, offset, &bytes)?;
            }
            Some(_) => {}
            None => return Ok((written, true)),
        }
        if written.data_bytes - synced_bytes >= SYNC_BYTES {
            synced_bytes = written.data_bytes;
            // If it is still busy, that covers a part of this; if it has failed, that comes out in the end.
            let _ = wake.try_send(());
        }
    }
    Ok((written, false))
}

/// Writes what is not zero, in runs as long as possible.
fn write_data(file: &File, offset: u64, bytes: &[u8]) -> io::Result<u64> {
    let (mut written, mut start, mut at) = (0, 0, 0);
    while at < bytes.len() {
        // Pieces are aligned on the disk, whatever the block.
        let piece = HOLE_BYTES - ((offset as usize).wrapping_add(at) % HOLE_BYTES);
        let end = bytes.len().min(at + piece);
        if is_zero(&bytes[at..end]) {
            file.write_all_at(&bytes[start..at], offset + start as u64)?;
            written += (at - start) as u64;
            start = end;
        }
        at = end;
    }
    file.write_all_at(&bytes[start..], offset + start as u64)?;
    Ok(written + (bytes.len() - start) as u64)
}
