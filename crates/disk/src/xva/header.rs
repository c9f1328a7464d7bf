//! Headers of tar, as far as an XVA needs them.

use crate::Error;

/// Size of a tar block: headers are one block, contents are padded to whole blocks.
pub(super) const BLOCK_BYTES: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const SUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..263;
const PREFIX: std::ops::Range<usize> = 345..500;

/// A file's name and size: all that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub name: String,
    pub size: u64,
}

impl Header {
    /// Reads a header of V7, ustar or GNU tar. `None` for a directory, which means nothing here.
    ///
    /// Long names and extended headers are refused: no writer of XVAs needs them, and they are where readers of tar
    /// have been led astray.
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Result<Option<Self>, Error> {
        if number(&block[SUM]) != Some(sum(block)) {
            return Err(Error::damaged("neither the header of a file nor the end of the archive"));
        }
        let size = number(&block[SIZE]).ok_or_else(|| Error::damaged("a file without size"))?;
        let name = name(block)?;
        match block[TYPE] {
            0 | b'0' => Ok(Some(Header { name, size })),
            b'5' if size == 0 => Ok(None),
            other => Err(Error::Unsupported(format!("a tar entry of type {:?}", char::from(other)))),
        }
    }

    /// The header as xapi writes it: V7, without magic, type NUL, mode 0400 (ocaml-tar: `tar.ml`).
    pub(super) fn write(name: &str, size: u64) -> [u8; BLOCK_BYTES] {
        let mut block = [0; BLOCK_BYTES];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000400\0");
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        block[136..148].copy_from_slice(b"00000000000\0");
        let text = format!("{:06o}\0 ", sum(&block));
        block[SUM].copy_from_slice(text.as_bytes());
        block
    }

    /// Size of the contents with their padding.
    pub(super) fn padded(&self) -> u64 {
        padded(self.size)
    }
}

/// Size of contents with their padding.
pub(super) fn padded(size: u64) -> u64 {
    size.saturating_add(BLOCK_BYTES as u64 - 1) & !(BLOCK_BYTES as u64 - 1)
}

/// The sum of all bytes, those of the sum itself taken for spaces.
fn sum(block: &[u8; BLOCK_BYTES]) -> u64 {
    let bytes = block.iter().enumerate();
    bytes.map(|(at, byte)| if SUM.contains(&at) { u64::from(b' ') } else { u64::from(*byte) }).sum()
}

/// An octal number with spaces or NULs around it, or a binary one as GNU tar writes large ones.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        return field[1..].iter().try_fold(0_u64, |all, byte| all.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+'))
}

fn name(block: &[u8; BLOCK_BYTES]) -> Result<String, Error> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8(field[..end].to_vec()).map_err(|_| Error::damaged("a file whose name is not UTF-8"))
    };
    let mut name = text(&block[NAME])?;
    if &block[MAGIC] == b"ustar\0" && block[PREFIX.start] != 0 {
        name = format!("{}/{name}", text(&block[PREFIX])?);
    }
    Ok(name.strip_prefix("./").map(str::to_owned).unwrap_or(name))
}
