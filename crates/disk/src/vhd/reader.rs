use std::collections::VecDeque;

use futures::{StreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::footer::{FOOTER_BYTES, Footer};
use super::head::{Head, read_start};
use super::{Kind, bitmap_bytes, run_of};
use crate::block::MAX_BLOCK_BYTES;
use crate::buffers::Buffers;
use crate::source::Source;
use crate::{Block, Blocks, Data, Error};

/// What may stand between the last block and the footer.
const MAX_TRAILING_BYTES: u64 = 64 << 20;
/// Blocks that wait elsewhere and whose memory is used again.
const KEPT_BUFFERS: usize = 16;

/// Takes an image apart as it arrives, from its first to its last byte, for one whose blocks ascend on the disk as they
/// do in the stream (xapi writes them so). Memory is bounded by the table and a few MiB.
///
/// What a dynamic image does not hold comes as [`Data::Zero`], what a differencing one does not hold as
/// [`Data::Unchanged`].
pub struct Reader<R> {
    stream: Source<R>,
    head: Head,
    /// Bytes of the stream that were read.
    at: u64,
    /// The next byte of the disk.
    offset: u64,
    current: Option<Current>,
    ready: VecDeque<Block>,
    buffers: Buffers,
    complete: bool,
}

/// The block that is being read.
struct Current {
    bitmap: Vec<u8>,
    /// Offset on the disk, and end of the part that lies on it.
    start: u64,
    end: u64,
}

impl<R: AsyncRead + Unpin + Send> Reader<R> {
    /// Reads the head.
    pub async fn open(stream: R) -> Result<Self, Error> {
        let mut stream = Source::new(stream);
        let head = match read_start(&mut stream).await.and_then(|start| Head::parse(&start)) {
            Ok(head) => head,
            Err(error) => return Err(stream.explain(error).await),
        };
        let mut free = head.table_end();
        for block in 0..head.blocks() {
            let Some(place) = head.place(block) else { continue };
            if place < free {
                let message = "a VHD whose blocks are not in order: it cannot be read as a stream";
                return Err(Error::Unsupported(message.into()));
            }
            free = place + bitmap_bytes(head.block_bytes()) + head.block_bytes();
        }
        let at = head.table_end();
        let buffers = Buffers::new(KEPT_BUFFERS);
        Ok(Reader { stream, head, at, offset: 0, current: None, ready: VecDeque::new(), buffers, complete: false })
    }

    /// What the image is, and which blocks it holds.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The next run of the disk; `None` behind its last byte. Runs follow each other without gap.
    pub async fn next(&mut self) -> Result<Option<Block>, Error> {
        while self.ready.is_empty() && self.offset < self.head.size() {
            if let Err(error) = self.step().await {
                return Err(self.stream.explain(error).await);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Reads what is left, and demands that the image ends with its footer and the stream with the image.
    pub async fn finish(mut self) -> Result<(), Error> {
        self.read_on().await
    }

    /// All runs of the disk; the end is checked as by [`Reader::finish`].
    pub fn into_blocks(self) -> Blocks
    where
        R: 'static,
    {
        stream::try_unfold(self, |mut reader| async move {
            match reader.next().await? {
                Some(block) => Ok(Some((block, reader))),
                None => reader.read_on().await.map(|()| None),
            }
        })
        .boxed()
    }

    async fn read_on(&mut self) -> Result<(), Error> {
        while self.next().await?.is_some() {}
        if self.complete {
            return Ok(());
        }
        match self.read_footer().await {
            Ok(()) => {
                self.complete = true;
                Ok(())
            }
            Err(error) => Err(self.stream.explain(error).await),
        }
    }

    async fn step(&mut self) -> Result<(), Error> {
        if let Some(current) = self.current.take() {
            return self.read_run(current).await;
        }
        let (block_bytes, size) = (self.head.block_bytes(), self.head.size());
        let block = self.offset / block_bytes;
        let Some(place) = self.head.place(block) else {
            let next = (block..self.head.blocks()).find(|block| self.head.is_allocated(*block));
            let end = next.map_or(size, |next| (next * block_bytes).min(size));
            self.hand_out_nothing(end - self.offset);
            return Ok(());
        };
        self.skip(place - self.at).await?;
        let mut bitmap = Vec::new();
        self.fill(&mut bitmap, bitmap_bytes(block_bytes)).await?;
        let end = (self.offset + block_bytes).min(size);
        self.current = Some(Current { bitmap, start: self.offset, end });
        Ok(())
    }

    /// Reads the next run of sectors of a block that are alike.
    async fn read_run(&mut self, current: Current) -> Result<(), Error> {
        let (marked, len) = run_of(&current.bitmap, self.offset - current.start, current.end - current.start);
        if marked {
            let len = len.min(MAX_BLOCK_BYTES as u64);
            let mut bytes = self.buffers.take(len as usize);
            self.fill(&mut bytes, len).await?;
            self.ready.push_back(Block::bytes(self.offset, bytes.freeze()));
            self.offset += len;
        } else {
            self.skip(len).await?;
            self.hand_out_nothing(len);
        }
        if self.offset < current.end {
            self.current = Some(current);
            return Ok(());
        }
        // The last block may reach over the end of the disk.
        self.skip(self.head.block_bytes() - (current.end - current.start)).await
    }

    /// A run that the image does not hold.
    fn hand_out_nothing(&mut self, len: u64) {
        let data = match self.head.kind() {
            Kind::Differencing { .. } => Data::Unchanged,
            Kind::Fixed | Kind::Dynamic => Data::Zero,
        };
        self.ready.push_back(Block { offset: self.offset, len, data });
        self.offset += len;
    }

    /// Appends the next bytes of the stream.
    async fn fill(&mut self, bytes: &mut Vec<u8>, len: u64) -> Result<(), Error> {
        bytes.reserve_exact(len as usize);
        let read = (&mut self.stream).take(len).read_to_end(bytes).await.map_err(Error::Stream)? as u64;
        self.at += read;
        if read < len { Err(Error::truncated(format!("a block of a VHD at {}", self.at))) } else { Ok(()) }
    }

    async fn skip(&mut self, len: u64) -> Result<(), Error> {
        let skipped = tokio::io::copy(&mut (&mut self.stream).take(len), &mut tokio::io::sink()).await;
        let skipped = skipped.map_err(Error::Stream)?;
        self.at += skipped;
        if skipped < len { Err(Error::truncated(format!("a block of a VHD at {}", self.at))) } else { Ok(()) }
    }

    /// The footer stands in the last 512 bytes; tables of somebody else's may come before.
    async fn read_footer(&mut self) -> Result<(), Error> {
        let (mut tail, mut read) = (Vec::new(), 0);
        loop {
            let some = (&mut self.stream).take(64 << 10).read_to_end(&mut tail).await.map_err(Error::Stream)?;
            if some == 0 {
                break;
            }
            read += some as u64;
            if read > MAX_TRAILING_BYTES {
                return Err(Error::Trailing);
            }
            tail.drain(..tail.len().saturating_sub(FOOTER_BYTES));
        }
        if tail.len() < FOOTER_BYTES {
            return Err(Error::truncated("the footer of a VHD"));
        }
        let footer = Footer::parse(&tail)?;
        if footer.id != self.head.id() || footer.size != self.head.size() {
            return Err(Error::damaged("the two footers of a VHD differ"));
        }
        Ok(())
    }
}
