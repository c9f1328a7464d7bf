use super::{ImageId, checksum, id_at, u32_at, u64_at};
use crate::Error;

/// Length of the footer.
pub(super) const FOOTER_BYTES: usize = 512;
const COOKIE: &[u8] = b"conectix";
const SUM_AT: usize = 64;
/// A bit that is always set.
const RESERVED_FEATURE: u32 = 2;
const VERSION: u32 = 0x0001_0000;
/// The place of the header in an image that has none.
const NO_HEADER: u64 = u64::MAX;
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;

/// The word in the footer for [`super::Kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Fixed,
    Dynamic,
    Differencing,
}

/// The last 512 bytes of each image, which also stand at its start if it is not fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) kind: Type,
    /// Where the header stands.
    pub(super) header_at: u64,
    /// Seconds since the year 2000.
    pub(super) created: u32,
    /// Four letters for the program that made it.
    pub(super) creator: [u8; 4],
    /// `current_size`; the geometry beside it is often wrong.
    pub(super) size: u64,
    pub(super) id: ImageId,
}

impl Footer {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.starts_with(b"vhdxfile") {
            return Err(Error::Unsupported("VHDX, Hyper-V's other format".into()));
        }
        if bytes.len() != FOOTER_BYTES || !bytes.starts_with(COOKIE) {
            return Err(Error::damaged("no footer of a VHD where one must be"));
        }
        if u32_at(bytes, SUM_AT) != checksum(bytes, SUM_AT) {
            return Err(Error::Checksum { what: "the footer".into() });
        }
        if u32_at(bytes, 12) >> 16 != VERSION >> 16 {
            return Err(Error::Unsupported(format!("VHD of version {:#x}", u32_at(bytes, 12))));
        }
        let kind = match u32_at(bytes, 60) {
            FIXED => Type::Fixed,
            DYNAMIC => Type::Dynamic,
            DIFFERENCING => Type::Differencing,
            other => return Err(Error::Unsupported(format!("VHD of type {other}"))),
        };
        let creator = bytes[28..32].try_into().expect("four bytes");
        let (header_at, size) = (u64_at(bytes, 16), u64_at(bytes, 48));
        Ok(Footer { kind, header_at, created: u32_at(bytes, 24), creator, size, id: id_at(bytes, 68) })
    }

    pub(super) fn to_bytes(&self) -> [u8; FOOTER_BYTES] {
        let mut bytes = [0; FOOTER_BYTES];
        let (header_at, kind) = match self.kind {
            Type::Fixed => (NO_HEADER, FIXED),
            Type::Dynamic => (self.header_at, DYNAMIC),
            Type::Differencing => (self.header_at, DIFFERENCING),
        };
        bytes[..8].copy_from_slice(COOKIE);
        bytes[8..12].copy_from_slice(&RESERVED_FEATURE.to_be_bytes());
        bytes[12..16].copy_from_slice(&VERSION.to_be_bytes());
        bytes[16..24].copy_from_slice(&header_at.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.created.to_be_bytes());
        bytes[28..32].copy_from_slice(&self.creator);
        bytes[32..36].copy_from_slice(&1_u32.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.size.to_be_bytes());
        bytes[48..56].copy_from_slice(&self.size.to_be_bytes());
        bytes[56..60].copy_from_slice(&geometry(self.size));
        bytes[60..64].copy_from_slice(&kind.to_be_bytes());
        bytes[68..84].copy_from_slice(&self.id.0);
        let sum = checksum(&bytes, SUM_AT);
        bytes[SUM_AT..SUM_AT + 4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// Cylinders, heads and sectors of a disk by the rules of the format's specification; never more than the size.
fn geometry(size: u64) -> [u8; 4] {
    let total = (size / 512).min(65535 * 16 * 255);
    let (sectors, heads, cylinders_times_heads) = if total >= 65535 * 16 * 63 {
        (255, 16, total / 255)
    } else {
        let by_17 = total / 17;
        let heads = by_17.div_ceil(1024).max(4);
        if heads > 16 || by_17 >= heads * 1024 {
            let by_31 = total / 31;
            if by_31 >= 16 * 1024 { (63, 16, total / 63) } else { (31, 16, by_31) }
        } else {
            (17, heads, by_17)
        }
    };
    let cylinders = (cylinders_times_heads / heads).min(65535) as u16;
    let [high, low] = cylinders.to_be_bytes();
    [high, low, heads as u8, sectors as u8]
}
