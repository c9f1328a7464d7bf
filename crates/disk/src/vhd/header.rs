use super::{ImageId, SECTOR_BYTES, checksum, id_at, u32_at, u64_at};
use crate::Error;

/// Length of the header.
pub(super) const HEADER_BYTES: usize = 1024;
const COOKIE: &[u8] = b"cxsparse";
const SUM_AT: usize = 36;
const VERSION: u32 = 0x0001_0000;
const NAME_AT: usize = 64;
const NAME_BYTES: usize = 512;
const LOCATORS_AT: usize = 576;

/// The header of an image that is not fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) table_at: u64,
    pub(super) entries: u32,
    pub(super) block_bytes: u32,
    pub(super) parent: ImageId,
    pub(super) parent_name: String,
}

/// Where the place of the parent is written down.
pub(super) struct Locator {
    pub(super) at: u64,
    pub(super) len: u32,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != HEADER_BYTES || !bytes.starts_with(COOKIE) {
            return Err(Error::damaged("no header of a VHD where one must be"));
        }
        if u32_at(bytes, SUM_AT) != checksum(bytes, SUM_AT) {
            return Err(Error::Checksum { what: "the header".into() });
        }
        let name: Vec<u16> = bytes[NAME_AT..NAME_AT + NAME_BYTES]
            .chunks_exact(2)
            .map(|unit| u16::from_be_bytes([unit[0], unit[1]]))
            .take_while(|unit| *unit != 0)
            .collect();
        Ok(Header {
            table_at: u64_at(bytes, 16),
            entries: u32_at(bytes, 28),
            block_bytes: u32_at(bytes, 32),
            parent: id_at(bytes, 40),
            parent_name: String::from_utf16_lossy(&name),
        })
    }

    /// With the first locator as xapi writes it: kind `MacX`, a URL.
    pub(super) fn to_bytes(&self, locator: Option<Locator>) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(COOKIE);
        bytes[8..16].fill(0xff);
        bytes[16..24].copy_from_slice(&self.table_at.to_be_bytes());
        bytes[24..28].copy_from_slice(&VERSION.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.entries.to_be_bytes());
        bytes[32..36].copy_from_slice(&self.block_bytes.to_be_bytes());
        bytes[40..56].copy_from_slice(&self.parent.0);
        let name = &mut bytes[NAME_AT..NAME_AT + NAME_BYTES - 2];
        for (place, unit) in name.chunks_exact_mut(2).zip(self.parent_name.encode_utf16()) {
            place.copy_from_slice(&unit.to_be_bytes());
        }
        if let Some(Locator { at, len }) = locator {
            let place = &mut bytes[LOCATORS_AT..LOCATORS_AT + 24];
            place[..4].copy_from_slice(b"MacX");
            place[4..8].copy_from_slice(&(SECTOR_BYTES as u32).to_be_bytes());
            place[8..12].copy_from_slice(&len.to_be_bytes());
            place[16..24].copy_from_slice(&at.to_be_bytes());
        }
        let sum = checksum(&bytes, SUM_AT);
        bytes[SUM_AT..SUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}
