use std::ops::Range;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::footer::{FOOTER_BYTES, Footer, Type};
use super::header::{HEADER_BYTES, Header};
use super::{ImageId, Kind, MAX_READ_BLOCK_BYTES, MAX_TABLE_BYTES, SECTOR_BYTES, UNUSED, bitmap_bytes};
use crate::Error;

/// Where header and table must begin in a stream.
const MAX_LEAD_BYTES: u64 = 1 << 20;

/// What stands before the blocks of an image: what it is, and which blocks it holds.
///
/// All of it comes within the first bytes of a stream: so a client that wants to know only this may hang up then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    size: u64,
    id: ImageId,
    kind: Kind,
    block_bytes: u64,
    table_end: u64,
    table: Vec<u32>,
}

impl Head {
    /// How many bytes from the start of an image hold its head. Of few bytes that is as far as they tell: whoever has
    /// fewer than the answer reads on and asks again.
    pub fn bytes_needed(start: &[u8]) -> Result<u64, Error> {
        let Some(footer) = start.get(..FOOTER_BYTES) else { return Ok(FOOTER_BYTES as u64) };
        let footer = Footer::parse(footer)?;
        if footer.kind == Type::Fixed {
            return Err(Error::Unsupported("a fixed VHD as a stream".into()));
        }
        let at = footer.header_at;
        if !(FOOTER_BYTES as u64..=MAX_LEAD_BYTES).contains(&at) {
            return Err(Error::damaged(format!("the header of a VHD stands at {at}")));
        }
        let Some(header) = start.get(at as usize..at as usize + HEADER_BYTES) else {
            return Ok(at + HEADER_BYTES as u64);
        };
        let header = Header::parse(header)?;
        let at = header.table_at;
        if !(FOOTER_BYTES as u64..=MAX_LEAD_BYTES).contains(&at) {
            return Err(Error::damaged(format!("the table of a VHD stands at {at}")));
        }
        Ok(at + table_bytes(&footer, &header)?)
    }

    /// Understands the first bytes of an image, [`Head::bytes_needed`] of them or more.
    pub fn parse(start: &[u8]) -> Result<Self, Error> {
        let needed = Self::bytes_needed(start)?;
        if (start.len() as u64) < needed {
            return Err(Error::truncated("the head of a VHD"));
        }
        let footer = Footer::parse(&start[..FOOTER_BYTES])?;
        let at = footer.header_at as usize;
        let header = Header::parse(&start[at..at + HEADER_BYTES])?;
        Self::new(&footer, &header, &start[header.table_at as usize..needed as usize])
    }

    /// Reads the head of an image from a stream, and not one byte more.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, Error> {
        Self::parse(&read_start(stream).await?)
    }

    /// From its parts; the table may be longer than what is needed of it.
    pub(super) fn new(footer: &Footer, header: &Header, table: &[u8]) -> Result<Self, Error> {
        let needed = table_bytes(footer, header)? as usize;
        let table = table.get(..needed).ok_or_else(|| Error::truncated("the table of a VHD"))?;
        let table: Vec<u32> =
            table.chunks_exact(4).map(|entry| u32::from_be_bytes(entry.try_into().expect("four bytes"))).collect();
        let kind = match footer.kind {
            Type::Differencing => Kind::Differencing { parent: header.parent, parent_name: header.parent_name.clone() },
            Type::Fixed | Type::Dynamic => Kind::Dynamic,
        };
        Ok(Head {
            size: footer.size,
            id: footer.id,
            kind,
            block_bytes: u64::from(header.block_bytes),
            table_end: header.table_at + needed as u64,
            table,
        })
    }

    /// Size of the disk in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Id of the image.
    #[must_use]
    pub fn id(&self) -> ImageId {
        self.id
    }

    /// How it relates to the disk; never [`Kind::Fixed`].
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Size of its blocks in bytes.
    #[must_use]
    pub fn block_bytes(&self) -> u64 {
        self.block_bytes
    }

    /// What the image holds, in whole blocks: ascending ranges of the disk that don't touch.
    pub fn allocated(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut block = 0;
        std::iter::from_fn(move || {
            let start = (block..self.blocks()).find(|block| self.is_allocated(*block))?;
            let end = (start..self.blocks()).find(|block| !self.is_allocated(*block)).unwrap_or(self.blocks());
            block = end;
            Some(start * self.block_bytes..(end * self.block_bytes).min(self.size))
        })
    }

    /// Bytes of the disk that the image holds.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated().map(|range| range.end - range.start).sum()
    }

    /// Length of the whole image in the order in which xapi writes it: all blocks without gap, then the footer.
    #[must_use]
    pub fn stream_bytes(&self) -> u64 {
        let blocks = self.table.iter().filter(|entry| **entry != UNUSED).count() as u64;
        let block = bitmap_bytes(self.block_bytes) + self.block_bytes;
        self.table_end.next_multiple_of(SECTOR_BYTES) + blocks * block + FOOTER_BYTES as u64
    }

    pub(super) fn blocks(&self) -> u64 {
        self.table.len() as u64
    }

    pub(super) fn is_allocated(&self, block: u64) -> bool {
        self.place(block).is_some()
    }

    /// Where a block stands in the image, its bitmap first.
    pub(super) fn place(&self, block: u64) -> Option<u64> {
        let entry = self.table.get(block as usize).filter(|entry| **entry != UNUSED)?;
        Some(u64::from(*entry) * SECTOR_BYTES)
    }

    /// The first byte behind what was read to make this.
    pub(super) fn table_end(&self) -> u64 {
        self.table_end
    }
}

/// Reads what [`Head::parse`] needs.
pub(super) async fn read_start(stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, Error> {
    let mut start = Vec::new();
    loop {
        let missing = Head::bytes_needed(&start)?.saturating_sub(start.len() as u64);
        if missing == 0 {
            return Ok(start.into());
        }
        match (&mut *stream).take(missing).read_to_end(&mut start).await {
            Ok(read) if read as u64 == missing => {}
            Ok(_) => return Err(Error::truncated("the head of a VHD")),
            Err(error) => return Err(Error::Stream(error)),
        }
    }
}

/// Length of the part of the table that the disk needs, once all numbers are sound.
fn table_bytes(footer: &Footer, header: &Header) -> Result<u64, Error> {
    let (size, block_bytes) = (footer.size, u64::from(header.block_bytes));
    if size == 0 || !size.is_multiple_of(SECTOR_BYTES) {
        return Err(Error::damaged(format!("a VHD of {size} bytes")));
    }
    if !block_bytes.is_power_of_two() || !(SECTOR_BYTES..=MAX_READ_BLOCK_BYTES).contains(&block_bytes) {
        return Err(Error::damaged(format!("a VHD with blocks of {block_bytes} bytes")));
    }
    let entries = size.div_ceil(block_bytes);
    if entries > u64::from(header.entries) {
        return Err(Error::damaged("the table of a VHD is shorter than its disk"));
    }
    match entries * 4 {
        bytes if bytes > MAX_TABLE_BYTES => {
            Err(Error::TooLarge { what: "the table of a VHD".into(), limit: MAX_TABLE_BYTES })
        }
        bytes => Ok(bytes),
    }
}
