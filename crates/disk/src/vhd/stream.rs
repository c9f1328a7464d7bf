use std::collections::VecDeque;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};

use super::{BLOCK_BYTES, Plan, SECTOR_BYTES, bitmap_bytes};
use crate::block::MAX_BLOCK_BYTES;
use crate::{Block, Blocks, Data, Error, Gapless, is_zero};

static ZEROS: [u8; MAX_BLOCK_BYTES] = [0; MAX_BLOCK_BYTES];
const BITMAP_BYTES: usize = bitmap_bytes_of_ours();

const fn bitmap_bytes_of_ours() -> usize {
    (BLOCK_BYTES / SECTOR_BYTES / 8) as usize
}

/// Turns the blocks of a disk into the bytes of an image, without copying data.
pub(super) struct Encoder {
    plan: Plan,
    blocks: Gapless,
    ready: VecDeque<Bytes>,
    /// The block of the image that is being put together.
    pieces: Vec<Bytes>,
    bitmap: [u8; BITMAP_BYTES],
    /// The next byte of the disk.
    offset: u64,
    ended: bool,
}

impl Encoder {
    pub(super) fn new(plan: Plan, blocks: Blocks) -> Self {
        debug_assert_eq!(bitmap_bytes(BLOCK_BYTES) as usize, BITMAP_BYTES);
        let blocks = Gapless::new(blocks, plan.size());
        let mut encoder = Encoder {
            blocks,
            ready: VecDeque::new(),
            pieces: Vec::new(),
            bitmap: [0xff; BITMAP_BYTES],
            offset: 0,
            ended: false,
            plan,
        };
        let head = encoder.plan.head();
        encoder.hand_out(head);
        encoder
    }

    pub(super) fn into_stream(self) -> BoxStream<'static, Result<Bytes, Error>> {
        stream::try_unfold(self, |mut encoder| async move {
            let piece = encoder.next().await?;
            Ok(piece.map(|piece| (piece, encoder)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.ready.is_empty() && !self.ended {
            match self.blocks.next().await {
                Some(block) => self.take(block?)?,
                None => {
                    self.ended = true;
                    let footer = Bytes::copy_from_slice(&self.plan.footer());
                    self.hand_out(footer);
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Takes a run of the disk, which may reach over many blocks of the image.
    fn take(&mut self, mut run: Block) -> Result<(), Error> {
        while run.len > 0 {
            let block = self.offset / BLOCK_BYTES;
            let end = ((block + 1) * BLOCK_BYTES).min(self.plan.size());
            let len = run.len.min(end - self.offset);
            let data = match &mut run.data {
                Data::Bytes(bytes) => Data::Bytes(bytes.split_to(len as usize)),
                other => other.clone(),
            };
            run.len -= len;
            if self.plan.is_present(block) {
                self.add(data, len)?;
            } else {
                self.check_absent(&data)?;
            }
            self.offset += len;
            if self.offset == end && self.plan.is_present(block) {
                self.close_block();
            }
        }
        Ok(())
    }

    fn check_absent(&self, data: &Data) -> Result<(), Error> {
        let absent = match data {
            Data::Unchanged => self.plan.is_differencing(),
            Data::Zero => !self.plan.is_differencing(),
            Data::Bytes(bytes) => !self.plan.is_differencing() && is_zero(bytes),
        };
        if absent {
            return Ok(());
        }
        Err(Error::damaged(format!("there are data at {}, where the plan of the VHD has none", self.offset)))
    }

    /// Adds a run to the block that is being put together.
    fn add(&mut self, data: Data, len: u64) -> Result<(), Error> {
        match data {
            Data::Bytes(bytes) => self.pieces.push(bytes),
            Data::Zero => self.add_zeros(len),
            Data::Unchanged => {
                let within = self.offset % BLOCK_BYTES;
                if !self.plan.is_differencing()
                    || !within.is_multiple_of(SECTOR_BYTES)
                    || !len.is_multiple_of(SECTOR_BYTES)
                {
                    return Err(Error::Unsupported(format!("changes only at {}, in a VHD", self.offset)));
                }
                for sector in within / SECTOR_BYTES..(within + len) / SECTOR_BYTES {
                    self.bitmap[(sector / 8) as usize] &= !(0x80 >> (sector % 8));
                }
                self.add_zeros(len);
            }
        }
        Ok(())
    }

    fn add_zeros(&mut self, mut len: u64) {
        while len > 0 {
            let some = len.min(ZEROS.len() as u64);
            self.pieces.push(Bytes::from_static(&ZEROS[..some as usize]));
            len -= some;
        }
    }

    /// The last block of a disk is as long as any other, in the image.
    fn close_block(&mut self) {
        let missing = (BLOCK_BYTES - self.offset % BLOCK_BYTES) % BLOCK_BYTES;
        self.add_zeros(missing);
        let bitmap = Bytes::copy_from_slice(&self.bitmap);
        self.bitmap = [0xff; BITMAP_BYTES];
        self.hand_out(bitmap);
        for piece in std::mem::take(&mut self.pieces) {
            self.hand_out(piece);
        }
    }

    fn hand_out(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let some = bytes.split_to(bytes.len().min(MAX_BLOCK_BYTES));
            self.ready.push_back(some);
        }
    }
}
