//! Walking through a tar archive without keeping any of it: headers are read, contents passed over.
//!
//! GNU's forms are understood as far as they change where the next header is: sparse files with their lists of pieces, sizes in
//! base 256, and long names, which are passed over, as no name that matters here is long.

use std::io::Read;

const BLOCK: usize = 512;
/// Pieces of a sparse file beyond this are no real file.
const SPARSE_BLOCKS_MAX: usize = 1 << 20;

/// An entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As the archive has it. Of a long one only the beginning.
    pub(super) path: String,
    /// A regular file.
    pub(super) is_file: bool,
    /// Its length, holes counted.
    pub(super) real_bytes: u64,
}

/// A walk through an archive.
pub(super) struct Walk<R> {
    from: R,
    /// Bytes of the present entry that were not read yet, with its padding.
    left_bytes: u64,
    padding_bytes: u64,
}

impl<R: Read> Walk<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, left_bytes: 0, padding_bytes: 0 }
    }

    /// The next entry; none at the archive's end mark. An archive without one is not whole.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, String> {
        loop {
            self.skip()?;
            let header = self.block()?;
            if is_zero(&header) {
                let second = self.block()?;
                return if is_zero(&second) { Ok(None) } else { Err("its end mark is damaged".to_owned()) };
            }
            check_sum(&header)?;
            let size = number(&header[124..136])?;
            self.left_bytes = size;
            self.padding_bytes = size.next_multiple_of(BLOCK as u64).saturating_sub(size);
            match header[156] {
                // A name or attributes of the entry that follows.
                b'L' | b'K' | b'x' | b'g' => {}
                b'S' => {
                    let real_bytes = number(&header[483..495])?;
                    self.sparse_list(header[482] != 0)?;
                    return Ok(Some(Entry { path: path(&header), is_file: true, real_bytes }));
                }
                kind => {
                    let is_file = matches!(kind, b'0' | 0 | b'7');
                    return Ok(Some(Entry { path: path(&header), is_file, real_bytes: size }));
                }
            }
        }
    }

    /// The content of the present entry, if it is no longer than `most`.
    pub(super) fn content(&mut self, most: u64) -> Result<Vec<u8>, String> {
        if self.left_bytes > most {
            return Err("a file in it is larger than it can be".to_owned());
        }
        let mut content = Vec::new();
        let wanted = self.left_bytes;
        (&mut self.from).take(wanted).read_to_end(&mut content).map_err(broken)?;
        if (content.len() as u64) < wanted {
            return Err("it ends within a file".to_owned());
        }
        self.left_bytes = 0;
        Ok(content)
    }

    /// What the archive came from, behind its end mark.
    pub(super) fn into_inner(self) -> R {
        self.from
    }

    /// Further pieces of a sparse file stand in blocks behind its header, before its content.
    fn sparse_list(&mut self, mut more: bool) -> Result<(), String> {
        let mut blocks = 0;
        while more {
            blocks += 1;
            if blocks > SPARSE_BLOCKS_MAX {
                return Err("a sparse file in it has too many pieces".to_owned());
            }
            more = self.block()?[504] != 0;
        }
        Ok(())
    }

    fn skip(&mut self) -> Result<(), String> {
        let wanted = self.left_bytes.checked_add(self.padding_bytes).ok_or("a file in it is too large")?;
        let passed = std::io::copy(&mut (&mut self.from).take(wanted), &mut std::io::sink()).map_err(broken)?;
        (self.left_bytes, self.padding_bytes) = (0, 0);
        if passed < wanted { Err("it ends within a file".to_owned()) } else { Ok(()) }
    }

    fn block(&mut self) -> Result<[u8; BLOCK], String> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(broken)?;
        Ok(block)
    }
}

fn broken(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "it ends before its end mark".to_owned(),
        _ => format!("it cannot be unpacked: {error}"),
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

/// The sum of a header's bytes, its own place taken as spaces.
fn check_sum(header: &[u8; BLOCK]) -> Result<(), String> {
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
    let said = number(&header[148..156])?;
    if sum - own + 8 * u64::from(b' ') == said { Ok(()) } else { Err("a header in it is damaged".to_owned()) }
}

/// A number in octal digits, or in base 256 where it is too large for them.
fn number(field: &[u8]) -> Result<u64, String> {
    let bad = || "a number in it is damaged".to_owned();
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256).and_then(|value| value.checked_add(u64::from(*byte))).ok_or_else(bad)?;
        }
        return Ok(value);
    }
    let text = std::str::from_utf8(field).map_err(|_| bad())?;
    let digits = text.trim_matches([' ', '\0']);
    if digits.is_empty() { Ok(0) } else { u64::from_str_radix(digits, 8).map_err(|_| bad()) }
}

fn path(header: &[u8; BLOCK]) -> String {
    let name = header[..100].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
