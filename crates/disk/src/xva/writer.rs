use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::header::{BLOCK_BYTES, Header, padded};
use super::{CHUNK_BYTES, Checksum, Ova, OvaDisk};
use crate::{Block, Blocks, Data, Error, Gapless, is_zero};

static ZEROS: [u8; CHUNK_BYTES as usize] = [0; CHUNK_BYTES as usize];

/// Makes an XVA in one pass, for `/import` or for a file.
///
/// Disks come one after the other: either whole with [`Writer::disk`], or piece by piece with [`Writer::begin`],
/// [`Writer::push`] and [`Writer::end`].
pub struct Writer<W> {
    out: W,
    checksum: Checksum,
    disks: Vec<OvaDisk>,
    written: Vec<bool>,
    current: Option<Current>,
    /// Headers and checksums that are not yet sent.
    pending: BytesMut,
    first_chunk_bytes: Option<u64>,
}

/// The disk that is being written.
struct Current {
    disk: usize,
    size: u64,
    /// Up to where data were taken.
    offset: u64,
    /// Number of empty chunks that were written: later numbers are higher by that.
    shift: u64,
    /// The chunk that is being put together, if something that is not zero came.
    chunk: Option<Vec<u8>>,
}

impl<W: AsyncWrite + Unpin + Send> Writer<W> {
    /// Begins an archive. `ova.xml` is written as it is; it says which disks must follow.
    pub async fn new(out: W, ova_xml: &[u8], checksum: Checksum) -> Result<Self, Error> {
        let disks = Ova::parse(ova_xml)?.disks()?;
        let written = disks.iter().map(|disk| disk.virtual_size == 0).collect();
        let pending = BytesMut::with_capacity(4 * BLOCK_BYTES);
        let mut writer = Writer { out, checksum, disks, written, current: None, pending, first_chunk_bytes: None };
        append_file(&mut writer.pending, "ova.xml", ova_xml);
        writer.flush().await?;
        Ok(writer)
    }

    /// The disks that must be written, in the order that XenServer keeps.
    pub fn disks(&self) -> &[OvaDisk] {
        &self.disks
    }

    /// Writes a whole disk.
    pub async fn disk(&mut self, id: &str, size: u64, blocks: Blocks) -> Result<(), Error> {
        self.begin(id, size)?;
        let mut blocks = Gapless::new(blocks, size);
        while let Some(block) = blocks.next().await {
            self.push(block?).await?;
        }
        self.end()
    }

    /// Begins a disk of the size that stands in `ova.xml`.
    pub fn begin(&mut self, id: &str, size: u64) -> Result<(), Error> {
        let known = self.disks.iter().position(|disk| disk.id == id && disk.virtual_size == size);
        let disk = known.ok_or_else(|| Error::damaged(format!("ova.xml has no disk {id} of {size} bytes")))?;
        if self.current.is_some() || (self.written[disk] && size > 0) {
            return Err(Error::damaged(format!("the disk {id} is written out of turn")));
        }
        self.current = Some(Current { disk, size, offset: 0, shift: 0, chunk: None });
        Ok(())
    }

    /// Writes the next run of the disk.
    pub async fn push(&mut self, block: Block) -> Result<(), Error> {
        let current = self.current.as_mut().ok_or_else(no_disk)?;
        let end = block.offset.checked_add(block.len).filter(|end| *end <= current.size);
        if block.offset != current.offset || end.is_none() {
            return Err(Error::Gap { expected: current.offset, found: block.offset });
        }
        match block.data {
            Data::Bytes(bytes) if bytes.len() as u64 == block.len => self.push_bytes(bytes).await,
            Data::Bytes(_) => Err(Error::Gap { expected: block.end(), found: block.offset }),
            Data::Zero => self.push_zeros(block.len).await,
            Data::Unchanged => Err(Error::Unsupported("an archive of changes only".into())),
        }
    }

    /// Writes an empty chunk, as XenServer does when a receiver had to wait for 5 seconds. It moves no data, but
    /// uses a number up. Behind the last byte of a disk there is none.
    pub async fn keepalive(&mut self) -> Result<(), Error> {
        let current = self.current.as_mut().ok_or_else(no_disk)?;
        if current.offset == current.size {
            return Ok(());
        }
        let number = current.offset / CHUNK_BYTES + current.shift;
        current.shift += 1;
        let name = chunk_name(&self.disks[current.disk].id, number);
        self.append(&name, Bytes::new()).await?;
        self.flush().await
    }

    /// Ends a disk, which must be complete.
    pub fn end(&mut self) -> Result<(), Error> {
        let current = self.current.take().ok_or_else(no_disk)?;
        if current.offset != current.size {
            return Err(Error::Gap { expected: current.offset, found: current.size });
        }
        self.written[current.disk] = true;
        Ok(())
    }

    /// Ends the archive, in which all disks must be, and gives the stream back.
    pub async fn finish(mut self) -> Result<W, Error> {
        if let Some(at) = self.written.iter().position(|written| !written) {
            return Err(Error::damaged(format!("the disk {} was not written", self.disks[at].id)));
        }
        self.pending.extend_from_slice(&[0; 2 * BLOCK_BYTES]);
        self.flush().await?;
        self.out.flush().await.map_err(Error::Stream)?;
        Ok(self.out)
    }

    async fn push_bytes(&mut self, mut bytes: Bytes) -> Result<(), Error> {
        while !bytes.is_empty() {
            let current = self.current.as_mut().ok_or_else(no_disk)?;
            let (filled, len) = current.chunk_at();
            let some = bytes.split_to(bytes.len().min((len - filled) as usize));
            if filled == 0 && some.len() as u64 == len {
                self.close_chunk(Some(some)).await?;
                continue;
            }
            if current.chunk.is_some() || !is_zero(&some) {
                let chunk = current.chunk.get_or_insert_with(|| vec![0; len as usize]);
                chunk[filled as usize..][..some.len()].copy_from_slice(&some);
            }
            self.fill_chunk(some.len() as u64).await?;
        }
        Ok(())
    }

    async fn push_zeros(&mut self, mut zeros: u64) -> Result<(), Error> {
        let dense = self.is_dense();
        while zeros > 0 {
            let current = self.current.as_mut().ok_or_else(no_disk)?;
            let (filled, len) = current.chunk_at();
            if filled == 0 && current.offset > 0 && !dense {
                // All chunks but the last, in one leap.
                let last = (current.size - 1) / CHUNK_BYTES * CHUNK_BYTES;
                let leap = zeros.min(last - current.offset) / CHUNK_BYTES * CHUNK_BYTES;
                current.offset += leap;
                zeros -= leap;
                if leap > 0 {
                    continue;
                }
            }
            let some = zeros.min(len - filled);
            self.fill_chunk(some).await?;
            zeros -= some;
        }
        Ok(())
    }

    /// Counts bytes as taken, and writes the chunk if it is full with them.
    async fn fill_chunk(&mut self, count: u64) -> Result<(), Error> {
        let current = self.current.as_mut().ok_or_else(no_disk)?;
        let (filled, len) = current.chunk_at();
        if filled + count < len {
            current.offset += count;
            return Ok(());
        }
        current.offset -= filled;
        let chunk = current.chunk.take().map(Bytes::from);
        self.close_chunk(chunk).await
    }

    /// Writes the chunk at the offset, or leaves it out if it is of zeros and neither the first nor the last.
    async fn close_chunk(&mut self, chunk: Option<Bytes>) -> Result<(), Error> {
        let dense = self.is_dense();
        let current = self.current.as_mut().ok_or_else(no_disk)?;
        let (_, len) = current.chunk_at();
        let number = current.offset / CHUNK_BYTES + current.shift;
        let edge = current.offset == 0 || current.offset + len == current.size;
        current.offset += len;
        let chunk = match chunk.filter(|chunk| !is_zero(chunk)) {
            Some(chunk) => chunk,
            None if edge || dense => Bytes::from_static(&ZEROS[..len as usize]),
            None => return Ok(()),
        };
        self.first_chunk_bytes.get_or_insert(len);
        let name = chunk_name(&self.disks[current.disk].id, number);
        self.append(&name, chunk).await
    }

    /// xapi's import takes the length of the archive's first chunk for that of every gap (`stream_vdi.ml`): behind a
    /// tiny first disk there must be no gaps.
    fn is_dense(&self) -> bool {
        self.first_chunk_bytes.is_some_and(|bytes| bytes < CHUNK_BYTES)
    }

    /// Writes a chunk. Its checksum waits for the next header, so that each chunk costs two writes.
    async fn append(&mut self, name: &str, chunk: Bytes) -> Result<(), Error> {
        let sum = self.checksum.of(&chunk);
        self.pending.extend_from_slice(&Header::write(name, chunk.len() as u64));
        self.flush().await?;
        self.out.write_all(&chunk).await.map_err(Error::Stream)?;
        pad(&mut self.pending, chunk.len());
        append_file(&mut self.pending, &format!("{name}{}", self.checksum.suffix()), sum.as_bytes());
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.out.write_all(&self.pending).await.map_err(Error::Stream)?;
        self.pending.clear();
        Ok(())
    }
}

impl Current {
    /// How much of the chunk at the offset is there, and how long it is.
    fn chunk_at(&self) -> (u64, u64) {
        let filled = self.offset % CHUNK_BYTES;
        let start = self.offset - filled;
        (filled, CHUNK_BYTES.min(self.size - start))
    }
}

/// An archive without disks, as `/export_metadata` makes and `/import_metadata` takes it.
#[must_use]
pub fn metadata(ova_xml: &[u8]) -> Bytes {
    let mut archive = BytesMut::new();
    append_file(&mut archive, "ova.xml", ova_xml);
    archive.extend_from_slice(&[0; 2 * BLOCK_BYTES]);
    archive.freeze()
}

fn chunk_name(id: &str, number: u64) -> String {
    format!("{id}/{number:08}")
}

fn append_file(out: &mut BytesMut, name: &str, contents: &[u8]) {
    out.extend_from_slice(&Header::write(name, contents.len() as u64));
    out.extend_from_slice(contents);
    pad(out, contents.len());
}

fn pad(out: &mut BytesMut, len: usize) {
    let padding = padded(len as u64) as usize - len;
    out.extend_from_slice(&[0; BLOCK_BYTES][..padding]);
}

fn no_disk() -> Error {
    Error::damaged("no disk was begun")
}
