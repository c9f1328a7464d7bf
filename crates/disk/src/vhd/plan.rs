use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::footer::{FOOTER_BYTES, Footer, Type};
use super::header::{HEADER_BYTES, Header, Locator};
use super::stream::Encoder;
use super::{BLOCK_BYTES, ImageId, Kind, MAX_SIZE, SECTOR_BYTES, UNUSED, bitmap_bytes};
use crate::{Blocks, DiskRead, Error};

const HEADER_AT: u64 = FOOTER_BYTES as u64;
const LOCATOR_AT: u64 = HEADER_AT + HEADER_BYTES as u64;
const TABLE_AT: u64 = LOCATOR_AT + SECTOR_BYTES;
/// Creators whose images are as large as they say, for readers that otherwise believe the geometry (`qemu-img`).
const CREATOR: [u8; 4] = *b"tap\0";

/// An image that is to be made: what it is, and which blocks it will hold, so that its length is known before its first
/// byte is sent.
#[derive(Clone, Debug)]
pub struct Plan {
    size: u64,
    id: ImageId,
    kind: Kind,
    created: u32,
    creator: [u8; 4],
    /// A bit for each block of 2 MiB.
    present: Vec<u64>,
}

impl Plan {
    /// A dynamic image without any block. XenServer's limit of 2040 GiB is that of the format as well.
    pub fn new(size: u64, id: ImageId) -> Result<Self, Error> {
        if size == 0 || !size.is_multiple_of(SECTOR_BYTES) {
            return Err(Error::Unsupported(format!("a VHD of {size} bytes, which are not whole sectors")));
        }
        if size > MAX_SIZE {
            return Err(Error::TooLarge { what: "a disk as VHD".into(), limit: MAX_SIZE });
        }
        let present = vec![0; size.div_ceil(BLOCK_BYTES).div_ceil(64) as usize];
        Ok(Plan { size, id, kind: Kind::Dynamic, created: 0, creator: CREATOR, present })
    }

    /// Makes it a difference to another image.
    #[must_use]
    pub fn differing_from(mut self, parent: ImageId, parent_name: &str) -> Self {
        self.kind = Kind::Differencing { parent, parent_name: parent_name.to_owned() };
        self
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn created_at(mut self, unix_seconds: i64) -> Self {
        const YEAR_2000: i64 = 946_684_800;
        self.created = u32::try_from(unix_seconds - YEAR_2000).unwrap_or(0);
        self
    }

    /// Four letters for the program that makes it (xapi's are `caml`), if it is not to be taken for XenServer's storage.
    #[must_use]
    pub fn created_by(mut self, creator: [u8; 4]) -> Self {
        self.creator = creator;
        self
    }

    /// The image will hold all blocks that this range of the disk touches.
    pub fn include(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let end = range.end.min(self.size).div_ceil(BLOCK_BYTES);
        for block in range.start / BLOCK_BYTES..end {
            self.present[(block / 64) as usize] |= 1 << (block % 64);
        }
    }

    /// The image will hold all that is not known to be zeros.
    pub async fn include_data(&mut self, disk: &dyn DiskRead) -> Result<(), Error> {
        let mut offset = 0;
        while offset < self.size {
            let extent = disk.extent_at(offset, self.size - offset).await?;
            if !extent.zero {
                self.include(offset..offset + extent.len);
            }
            offset += extent.len;
        }
        Ok(())
    }

    /// Size of the disk in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Exact length of the image in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.blocks_at() + self.present_blocks() * (bitmap_bytes(BLOCK_BYTES) + BLOCK_BYTES) + FOOTER_BYTES as u64
    }

    /// The image, in pieces of at most 1 MiB. The blocks are those of the whole disk: of what the image does not hold
    /// they must say so ([`crate::Data::Zero`], or for a difference [`crate::Data::Unchanged`]). Within the blocks
    /// that a difference holds, whole sectors may be unchanged too.
    #[must_use]
    pub fn stream(self, blocks: Blocks) -> BoxStream<'static, Result<Bytes, Error>> {
        Encoder::new(self, blocks).into_stream()
    }

    /// Writes the image, and says how long it is.
    pub async fn write(self, blocks: Blocks, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, Error> {
        let total = self.total_bytes();
        let mut pieces = self.stream(blocks);
        while let Some(piece) = pieces.next().await {
            out.write_all(&piece?).await.map_err(Error::Stream)?;
        }
        out.flush().await.map_err(Error::Stream)?;
        Ok(total)
    }

    pub(super) fn is_present(&self, block: u64) -> bool {
        self.present.get((block / 64) as usize).is_some_and(|word| word & (1 << (block % 64)) != 0)
    }

    pub(super) fn is_differencing(&self) -> bool {
        matches!(self.kind, Kind::Differencing { .. })
    }

    fn present_blocks(&self) -> u64 {
        self.present.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    fn blocks(&self) -> u64 {
        self.size.div_ceil(BLOCK_BYTES)
    }

    /// Where the first block stands.
    fn blocks_at(&self) -> u64 {
        TABLE_AT + (self.blocks() * 4).next_multiple_of(SECTOR_BYTES)
    }

    pub(super) fn footer(&self) -> [u8; FOOTER_BYTES] {
        let kind = if self.is_differencing() { Type::Differencing } else { Type::Dynamic };
        let (created, creator) = (self.created, self.creator);
        Footer { kind, header_at: HEADER_AT, created, creator, size: self.size, id: self.id }.to_bytes()
    }

    /// All that stands before the first block.
    pub(super) fn head(&self) -> Bytes {
        let mut head = Vec::with_capacity(self.blocks_at() as usize);
        head.extend_from_slice(&self.footer());
        let (parent, parent_name) = match &self.kind {
            Kind::Differencing { parent, parent_name } => (*parent, parent_name.clone()),
            Kind::Fixed | Kind::Dynamic => (ImageId::default(), String::new()),
        };
        let mut place = format!("file://{parent_name}").into_bytes();
        place.truncate(SECTOR_BYTES as usize);
        let locator = Locator { at: LOCATOR_AT, len: place.len() as u32 };
        let (entries, block_bytes) = (self.blocks() as u32, BLOCK_BYTES as u32);
        let header = Header { table_at: TABLE_AT, entries, block_bytes, parent, parent_name };
        head.extend_from_slice(&header.to_bytes(self.is_differencing().then_some(locator)));
        if self.is_differencing() {
            head.extend_from_slice(&place);
        }
        head.resize(TABLE_AT as usize, 0);
        let mut sector = self.blocks_at() / SECTOR_BYTES;
        for block in 0..self.blocks() {
            let entry = if self.is_present(block) { sector as u32 } else { UNUSED };
            head.extend_from_slice(&entry.to_be_bytes());
            if self.is_present(block) {
                sector += (bitmap_bytes(BLOCK_BYTES) + BLOCK_BYTES) / SECTOR_BYTES;
            }
        }
        head.resize(self.blocks_at() as usize, 0xff);
        head.into()
    }
}
