use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Shared, taken_in};
use crate::cut::Cutter;
use crate::id::Id;
use crate::{Error, Result};

/// A file names all of its chunks in one directory, and that must not become too large to be read.
const MAX_CHUNKS: usize = 400_000;

/// Chunks that are on their way before the first of them is waited for. The budget bounds their bytes.
const CHUNKS_IN_FLIGHT: usize = 128;

/// Takes the bytes of one file beside the disks, in order, and cuts them by their content.
///
/// Not safe to drop half-way: a file whose sink was dropped, or failed, stays incomplete, and its point cannot be committed.
pub struct FileSink {
    shared: Arc<Shared>,
    name: String,
    cutter: Cutter,
    size: u64,
    queue: VecDeque<oneshot::Receiver<Result<Id>>>,
    chunks: Vec<Id>,
}

impl FileSink {
    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Self {
        FileSink {
            shared,
            name: name.to_owned(),
            cutter: Cutter::default(),
            size: 0,
            queue: VecDeque::new(),
            chunks: Vec::new(),
        }
    }

    /// Takes the next bytes. Waits while too many are in flight.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.shared.session.check()?;
        self.size += bytes.len() as u64;
        self.shared.counters.add_read(bytes.len() as u64);
        self.cutter.extend(bytes);
        while let Some(chunk) = self.cutter.next_chunk() {
            self.submit(chunk).await?;
        }
        Ok(())
    }

    async fn submit(&mut self, chunk: Bytes) -> Result<()> {
        if self.chunks.len() + self.queue.len() == MAX_CHUNKS {
            return Err(Error::Invalid(format!("file {} has more than {MAX_CHUNKS} chunks", self.name)));
        }
        self.queue.push_back(self.shared.submit(chunk).await?);
        if self.queue.len() > CHUNKS_IN_FLIGHT {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<()> {
        if let Some(first) = self.queue.pop_front() {
            self.chunks.push(taken_in(first).await?);
        }
        Ok(())
    }

    /// Ends the file, and waits until all of its chunks have been taken in. Returns its size.
    pub async fn finish(mut self) -> Result<u64> {
        while let Some(chunk) = self.cutter.last_chunk() {
            self.submit(chunk).await?;
        }
        while !self.queue.is_empty() {
            self.settle().await?;
        }
        let FileSink { shared, name, size, chunks, .. } = self;
        shared.contents().files.insert(name, Some((size, chunks)));
        Ok(size)
    }
}
