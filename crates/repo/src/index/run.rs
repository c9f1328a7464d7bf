//! A sorted file of places, never changed once it is written.
//!
//! ```text
//! page … page ‖ first 8 bytes of each page's first id (u64 each) ‖ filter (u64 each) ‖ footer
//! page   = 85 records of 48 bytes ‖ 8 bytes of zeros ‖ XXH64 of what is before it
//! record = id (32) ‖ pack and kind ‖ offset ‖ sealed length ‖ raw length (u32, big endian each)
//! footer = magic (16) ‖ records ‖ words of the filter ‖ XXH64 of all between pages and footer, and of the footer
//! ```
//!
//! Numbers are little endian but those in a record, so that records sort as bytes.

use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::filter::Filter;
use super::recent::Slot;
use crate::id::Id;

pub(super) const RECORD_BYTES: usize = 48;
const PAGE_BYTES: usize = 4096;
const PAGE_RECORDS: u64 = 85;
const SUM_BYTES: usize = 8;
const MAGIC: &[u8; 16] = b"xenkeep run 1\n\0\0";
const FOOTER_BYTES: usize = 40;
/// Bytes that are read or written at once when a run is read or written whole.
const BUFFER_BYTES: usize = 64 << 10;
const BUFFER_PAGES: usize = BUFFER_BYTES / PAGE_BYTES;

/// A blob's id and one place of it. Sorts as its bytes do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record([u8; RECORD_BYTES]);

impl Record {
    pub(super) fn new(id: &Id, slot: &Slot) -> Self {
        let mut bytes = [0; RECORD_BYTES];
        bytes[..32].copy_from_slice(id.as_bytes());
        for (target, word) in bytes[32..].chunks_exact_mut(4).zip(slot.words()) {
            target.copy_from_slice(&word.to_be_bytes());
        }
        Record(bytes)
    }

    pub(super) fn id(&self) -> Id {
        Id::from_bytes(*self.0.first_chunk().expect("a record begins with an id"))
    }

    pub(super) fn slot(&self) -> Slot {
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(self.0[32..].as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Slot::from_words(words)
    }
}

/// First bytes of an id, as a number that sorts as they do.
fn prefix(id: &Id) -> u64 {
    id.as_bytes().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A run that is open.
pub(super) struct Run {
    pub(super) path: PathBuf,
    pub(super) records: u64,
    file: Arc<File>,
    /// [`prefix`] of the first record of each page.
    firsts: Vec<u64>,
    filter: Filter,
}

impl Run {
    /// Opens a run, if it is what it was when it was written. Pages are checked when they are read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let footer_at = len.checked_sub(FOOTER_BYTES as u64).ok_or_else(|| damaged("it is cut off"))?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at)?;
        let number = |at: usize| footer[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (records, words) = (number(16), number(24));
        if footer[..16] != *MAGIC {
            return Err(damaged("it has another format"));
        }
        let pages = records.div_ceil(PAGE_RECORDS);
        let tail = pages.checked_add(words).and_then(|numbers| numbers.checked_mul(8));
        let pages_bytes = pages.checked_mul(PAGE_BYTES as u64);
        if tail.zip(pages_bytes).and_then(|(tail, pages)| tail.checked_add(pages)) != Some(footer_at) {
            return Err(damaged("it has the wrong length"));
        }
        file.seek(SeekFrom::Start(footer_at - 8 * (pages + words)))?;
        let mut tail = Summed { reader: BufReader::with_capacity(BUFFER_BYTES, &file), sum: Xxh64::new(0) };
        let firsts = tail.numbers(pages)?;
        let filter = tail.numbers(words)?;
        tail.sum.write(&footer[..32]);
        if tail.sum.finish() != number(32) {
            return Err(damaged("its sum is wrong"));
        }
        let filter = Filter::from_words(filter).ok_or_else(|| damaged("it has no filter"))?;
        Ok(Run { path: path.to_owned(), records, file: Arc::new(file), firsts, filter })
    }

    /// Shows all places of a blob.
    pub(super) fn find(&self, id: &Id, mut visit: impl FnMut(Slot)) -> io::Result<()> {
        if !self.filter.may_contain(id) {
            return Ok(());
        }
        let prefix = prefix(id);
        // Places of one blob may begin at the end of a page and go on in the next.
        let first = self.firsts.partition_point(|first| *first < prefix).saturating_sub(1);
        let mut page = [0; PAGE_BYTES];
        for number in first..self.firsts.len() {
            if self.firsts[number] > prefix {
                break;
            }
            self.file.read_exact_at(&mut page, (number * PAGE_BYTES) as u64)?;
            let records = records_of(&page, self.records_in(number as u64))?;
            let start = records.partition_point(|record| record[..32] < id.as_bytes()[..]);
            for record in records[start..].iter().take_while(|record| record[..32] == id.as_bytes()[..]) {
                visit(Record(*record).slot());
            }
        }
        Ok(())
    }

    fn records_in(&self, page: u64) -> usize {
        (self.records - page * PAGE_RECORDS).min(PAGE_RECORDS) as usize
    }

    /// All records, in order. Goes on when the file has been removed.
    pub(super) fn read(&self) -> impl Iterator<Item = io::Result<Record>> + use<> {
        let (file, pages) = (self.file.clone(), self.firsts.len());
        let mut buffer = vec![[0; PAGE_BYTES]; BUFFER_PAGES];
        let mut next = 0;
        let mut read = move || {
            let (page, record) = (next / PAGE_RECORDS as usize, next % PAGE_RECORDS as usize);
            if record == 0 {
                let ahead = &mut buffer[..BUFFER_PAGES.min(pages - page / BUFFER_PAGES * BUFFER_PAGES)];
                if page.is_multiple_of(BUFFER_PAGES) {
                    file.read_exact_at(ahead.as_flattened_mut(), (page * PAGE_BYTES) as u64)?;
                }
                records_of(&buffer[page % BUFFER_PAGES], 0)?;
            }
            next += 1;
            Ok(Record(buffer[page % BUFFER_PAGES].as_chunks().0[record]))
        };
        let mut left = self.records;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            Some(read())
        })
    }
}

/// The first records of a page, whose sum must be right.
fn records_of(page: &[u8; PAGE_BYTES], count: usize) -> io::Result<&[[u8; RECORD_BYTES]]> {
    let (content, sum) = page.split_at(PAGE_BYTES - SUM_BYTES);
    if xxh64(content, 0).to_le_bytes() != *sum {
        return Err(damaged("the sum of a page is wrong"));
    }
    Ok(&content.as_chunks().0[..count])
}

struct Summed<R> {
    reader: R,
    sum: Xxh64,
}

impl<R: Read> Summed<R> {
    fn numbers(&mut self, count: u64) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::with_capacity(count as usize); // the length of the file says that they are there
        let mut bytes = [0; 8];
        for _ in 0..count {
            self.reader.read_exact(&mut bytes)?;
            self.sum.write(&bytes);
            numbers.push(u64::from_le_bytes(bytes));
        }
        Ok(numbers)
    }
}

/// Writes a run from records in order.
pub(super) struct RunWriter {
    path: PathBuf,
    out: BufWriter<File>,
    page: Vec<u8>,
    last: Option<Record>,
    records: u64,
    firsts: Vec<u64>,
    filter: Filter,
}

impl RunWriter {
    /// For at most so many records.
    pub(super) fn new(path: &Path, most_records: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(RunWriter {
            path: path.to_owned(),
            out: BufWriter::with_capacity(BUFFER_BYTES, file),
            page: Vec::with_capacity(PAGE_BYTES),
            last: None,
            records: 0,
            firsts: Vec::with_capacity(most_records.div_ceil(PAGE_RECORDS) as usize),
            filter: Filter::new(most_records),
        })
    }

    pub(super) fn push(&mut self, record: Record) -> io::Result<()> {
        if self.last.replace(record) == Some(record) {
            return Ok(());
        }
        let id = record.id();
        if self.page.is_empty() {
            self.firsts.push(prefix(&id));
        }
        self.filter.insert(&id);
        self.page.extend_from_slice(&record.0);
        self.records += 1;
        if self.page.len() == PAGE_RECORDS as usize * RECORD_BYTES { self.close_page() } else { Ok(()) }
    }

    fn close_page(&mut self) -> io::Result<()> {
        self.page.resize(PAGE_BYTES - SUM_BYTES, 0);
        let sum = xxh64(&self.page, 0);
        self.out.write_all(&self.page)?;
        self.out.write_all(&sum.to_le_bytes())?;
        self.page.clear();
        Ok(())
    }

    /// Makes it durable and opens it.
    pub(super) fn finish(mut self) -> io::Result<Run> {
        if !self.page.is_empty() {
            self.close_page()?;
        }
        let words = self.filter.words();
        let mut sum = Xxh64::new(0);
        for number in self.firsts.iter().chain(words) {
            sum.write(&number.to_le_bytes());
            self.out.write_all(&number.to_le_bytes())?;
        }
        let mut footer = MAGIC.to_vec();
        footer.extend(self.records.to_le_bytes());
        footer.extend((words.len() as u64).to_le_bytes());
        sum.write(&footer);
        footer.extend(sum.finish().to_le_bytes());
        self.out.write_all(&footer)?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        let RunWriter { path, records, firsts, filter, .. } = self;
        let file = Arc::new(File::open(&path)?);
        Ok(Run { path, records, file, firsts, filter })
    }
}
