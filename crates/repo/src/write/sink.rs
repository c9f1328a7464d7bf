use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;
use xenkeep_disk::{Block, Data, DiskRead};

use super::map::MapBuilder;
use super::{DiskTree, Shared, taken_in};
use crate::id::Id;
use crate::layout::Layout;
use crate::read::DiskReader;
use crate::{Error, Result};

/// Takes the blocks of one disk, in order.
///
/// Not safe to drop half-way: a disk whose sink was dropped, or failed, stays incomplete, and its point cannot be committed.
pub struct DiskSink {
    shared: Arc<Shared>,
    name: String,
    layout: Layout,
    base: Option<Arc<DiskReader>>,
    /// Up to here the disk has been taken in.
    position: u64,
    /// The beginning of a chunk, where blocks do not end with chunks.
    partial: BytesMut,
    /// Chunks whose ids are not in the map yet, in order.
    queue: VecDeque<Pending>,
    map: MapBuilder,
    zero_is_stored: bool,
}

enum Pending {
    Chunk(oneshot::Receiver<Result<Id>>),
    Zeros(u64),
    Unchanged(u64),
}

impl DiskSink {
    pub(super) fn new(shared: Arc<Shared>, name: &str, layout: Layout, base: Option<Arc<DiskReader>>) -> Self {
        DiskSink {
            map: MapBuilder::new(shared.clone(), layout),
            shared,
            name: name.to_owned(),
            layout,
            base,
            position: 0,
            partial: BytesMut::new(),
            queue: VecDeque::new(),
            zero_is_stored: false,
        }
    }

    /// Takes the next block, which must start where the last one ended. Waits while too many bytes are in flight.
    pub async fn push(&mut self, block: Block) -> Result<()> {
        self.shared.session.check()?;
        let gap = || Error::from(xenkeep_disk::Error::Gap { expected: self.position, found: block.offset });
        let end = block.offset.checked_add(block.len).filter(|end| *end <= self.layout.size());
        if block.offset != self.position || end.is_none() {
            return Err(gap());
        }
        let len = block.len;
        match block.data {
            Data::Bytes(bytes) if bytes.len() as u64 == len => self.push_bytes(bytes).await?,
            Data::Bytes(_) => return Err(gap()),
            Data::Zero => self.push_zeros(len).await?,
            Data::Unchanged => self.push_unchanged(len).await?,
        }
        self.shared.counters.add_read(len);
        self.drain().await
    }

    async fn push_bytes(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let missing = self.missing();
            if self.partial.is_empty() && bytes.len() >= missing {
                let chunk = bytes.split_to(missing);
                self.position += missing as u64;
                self.submit(chunk).await?;
            } else {
                let piece = bytes.split_to(bytes.len().min(missing));
                self.extend(piece.len(), |partial| partial.extend_from_slice(&piece)).await?;
            }
        }
        Ok(())
    }

    async fn push_zeros(&mut self, mut len: u64) -> Result<()> {
        while len > 0 {
            let chunks = len / self.layout.chunk_bytes();
            if self.partial.is_empty() && chunks > 0 {
                self.push_zero_chunks(chunks).await?;
                len -= chunks * self.layout.chunk_bytes();
            } else {
                let piece = len.min(self.missing() as u64) as usize;
                self.extend(piece, |partial| partial.resize(partial.len() + piece, 0)).await?;
                len -= piece as u64;
            }
        }
        Ok(())
    }

    async fn push_zero_chunks(&mut self, mut count: u64) -> Result<()> {
        self.position += count * self.layout.chunk_bytes();
        if !self.zero_is_stored {
            // The first one takes the ordinary way, so that the repository has it.
            self.submit(self.shared.repo.zero.chunk.clone()).await?;
            self.zero_is_stored = true;
            count -= 1;
        }
        match self.queue.back_mut() {
            Some(Pending::Zeros(zeros)) => *zeros += count,
            _ if count > 0 => self.queue.push_back(Pending::Zeros(count)),
            _ => {}
        }
        Ok(())
    }

    async fn push_unchanged(&mut self, mut len: u64) -> Result<()> {
        let base =
            self.base.clone().ok_or_else(|| Error::Invalid("nothing can be unchanged without a base".to_owned()))?;
        if self.position + len > base.size() {
            return Err(Error::Invalid("what lies behind the end of the base is not unchanged".to_owned()));
        }
        while len > 0 {
            let missing = self.missing() as u64;
            if self.partial.is_empty() && len >= missing && self.same_chunk_len(&base) {
                let chunks = (len / self.layout.chunk_bytes()).max(1);
                let bytes = (chunks * self.layout.chunk_bytes()).min(self.layout.size() - self.position);
                self.position += bytes;
                len -= bytes;
                match self.queue.back_mut() {
                    Some(Pending::Unchanged(unchanged)) => *unchanged += chunks,
                    _ => self.queue.push_back(Pending::Unchanged(chunks)),
                }
            } else {
                // A part of a chunk: what is unchanged of it must be read.
                let piece = len.min(missing) as usize;
                let mut bytes = vec![0; piece];
                base.read(self.position, &mut bytes).await?;
                self.extend(piece, |partial| partial.extend_from_slice(&bytes)).await?;
                len -= piece as u64;
            }
        }
        Ok(())
    }

    /// Is the chunk that begins here as long in the base? The last one need not be, where a disk has grown or shrunk.
    fn same_chunk_len(&self, base: &DiskReader) -> bool {
        let chunk = self.position / self.layout.chunk_bytes();
        self.layout.chunk_len(chunk) == base.layout().chunk_len(chunk)
    }

    /// Bytes that the chunk at the current position still lacks.
    fn missing(&self) -> usize {
        let chunk = self.position / self.layout.chunk_bytes();
        self.layout.chunk_len(chunk) - self.partial.len()
    }

    async fn extend(&mut self, len: usize, fill: impl FnOnce(&mut BytesMut)) -> Result<()> {
        let missing = self.missing();
        if self.partial.is_empty() {
            self.partial.reserve(missing);
        }
        fill(&mut self.partial);
        self.position += len as u64;
        if len == missing {
            let chunk = self.partial.split().freeze();
            self.submit(chunk).await?;
        }
        Ok(())
    }

    async fn submit(&mut self, chunk: Bytes) -> Result<()> {
        let receiver = self.shared.submit(chunk).await?;
        self.queue.push_back(Pending::Chunk(receiver));
        Ok(())
    }

    /// Moves what is ready into the map.
    async fn drain(&mut self) -> Result<()> {
        while let Some(front) = self.queue.front_mut() {
            if let Pending::Chunk(receiver) = front {
                match receiver.try_recv() {
                    Ok(id) => self.map.push(id?)?,
                    Err(oneshot::error::TryRecvError::Empty) => return Ok(()),
                    Err(oneshot::error::TryRecvError::Closed) => {
                        return Err(Error::BrokenOff("a worker thread panicked"));
                    }
                }
                self.queue.pop_front();
            } else if let Some(front) = self.queue.pop_front() {
                self.settle(front).await?;
            }
        }
        Ok(())
    }

    async fn settle(&mut self, pending: Pending) -> Result<()> {
        match (pending, &self.base) {
            (Pending::Chunk(receiver), _) => self.map.push(taken_in(receiver).await?),
            (Pending::Zeros(count), _) => self.map.push_run(self.shared.repo.zero.id, count),
            (Pending::Unchanged(count), Some(base)) => self.map.push_base(base, count).await,
            (Pending::Unchanged(_), None) => Err(Error::Invalid("nothing can be unchanged without a base".to_owned())),
        }
    }

    /// Demands that the disk is complete, and waits until all of its chunks have been taken in.
    pub async fn finish(mut self) -> Result<DiskTree> {
        let size_bytes = self.layout.size();
        if self.position != size_bytes {
            return Err(xenkeep_disk::Error::Gap { expected: self.position, found: size_bytes }.into());
        }
        while let Some(front) = self.queue.pop_front() {
            self.settle(front).await?;
        }
        let DiskSink { map, shared, name, .. } = self;
        let tree = map.finish()?;
        shared.contents().disks.insert(name.clone(), Some(tree));
        Ok(DiskTree { name, size_bytes, tree })
    }
}
