use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use tokio::io::AsyncRead;

use super::header::{BLOCK_BYTES, Header};
use super::input::Input;
use super::{CHUNK_BYTES, Checksum, MAX_OVA_BYTES, Ova, OvaDisk};
use crate::block::MAX_BLOCK_BYTES;
use crate::{Block, Error, is_zero};

/// Chunks are 1 MiB; a strange writer may make larger ones, up to this.
const MAX_CHUNK_BYTES: u64 = 8 << 20;
/// Longest text of a checksum.
const MAX_SUM_BYTES: u64 = 128;
/// Longest `checksum.xml` that is skipped.
const MAX_SUMS_BYTES: u64 = 256 << 20;

/// A run of one of the disks of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskBlock {
    /// Which disk: its place in [`Reader::disks`].
    pub disk: usize,
    /// The run.
    pub block: Block,
}

/// How long a chunk is that was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GapRule {
    /// As long as the first chunk of the same disk. It is right for all archives that xapi writes.
    #[default]
    OfDisk,
    /// As long as the first chunk of the whole archive, as xapi's own import has it (`stream_vdi.ml`): it puts data
    /// in the wrong place when the first disk is smaller than 1 MiB. For a simulator.
    OfArchive,
}

/// Takes an XVA apart as it arrives: block by block, all disks one after the other.
///
/// Memory is bounded by a few chunks. A chunk is handed out after its checksum was verified.
pub struct Reader<R> {
    input: Input<R>,
    ova: Ova,
    ova_xml: Bytes,
    disks: Vec<OvaDisk>,
    index: HashMap<String, usize>,
    complete: Vec<bool>,
    current: Option<Position>,
    gap_rule: GapRule,
    ignores_checksums: bool,
    first_chunk_bytes: Option<u64>,
    ready: VecDeque<DiskBlock>,
    ended: bool,
}

/// How far the disk that is being read has come.
struct Position {
    disk: usize,
    offset: u64,
    next_number: u64,
    first_chunk_bytes: Option<u64>,
}

impl<R: AsyncRead + Unpin + Send> Reader<R> {
    /// Finds out how the stream is compressed, and reads `ova.xml`.
    pub async fn open(stream: R) -> Result<Self, Error> {
        let mut input = Input::open(stream).await?;
        let (ova, ova_xml) = match read_ova(&mut input).await {
            Ok(ova) => ova,
            Err(error) => return Err(input.explain(error).await),
        };
        let disks = ova.disks()?;
        let index = disks.iter().enumerate().map(|(at, disk)| (disk.id.clone(), at)).collect();
        let complete = disks.iter().map(|disk| disk.virtual_size == 0).collect();
        Ok(Reader {
            input,
            ova,
            ova_xml,
            disks,
            index,
            complete,
            current: None,
            gap_rule: GapRule::default(),
            ignores_checksums: false,
            first_chunk_bytes: None,
            ready: VecDeque::new(),
            ended: false,
        })
    }

    /// Chooses how long chunks are that were left out.
    #[must_use]
    pub fn with_gap_rule(mut self, rule: GapRule) -> Self {
        self.gap_rule = rule;
        self
    }

    /// Hands out chunks whose checksum is wrong too, as xapi's import does by force (`import.ml`). For a simulator.
    #[must_use]
    pub fn ignoring_checksums(mut self) -> Self {
        self.ignores_checksums = true;
        self
    }

    /// The description of the VM.
    pub fn ova(&self) -> &Ova {
        &self.ova
    }

    /// The description of the VM, byte for byte.
    pub fn ova_xml(&self) -> &Bytes {
        &self.ova_xml
    }

    /// The disks whose contents the archive must hold.
    pub fn disks(&self) -> &[OvaDisk] {
        &self.disks
    }

    /// Drops the rest of the stream: for archives that hold metadata only.
    pub fn into_ova(self) -> Ova {
        self.ova
    }

    /// The next run of a disk, `None` after the end of the archive. All runs of a disk follow each other without gap.
    pub async fn next(&mut self) -> Result<Option<DiskBlock>, Error> {
        while self.ready.is_empty() && !self.ended {
            if let Err(error) = self.step().await {
                return Err(self.input.explain(error).await);
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Reads what is left, and demands that the archive is whole and that the stream ends with it.
    pub async fn finish(mut self) -> Result<(), Error> {
        while self.next().await?.is_some() {}
        match self.input.expect_end().await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.input.explain(error).await),
        }
    }

    /// Reads one file of the archive.
    async fn step(&mut self) -> Result<(), Error> {
        let Some(header) = next_header(&mut self.input).await? else {
            return self.end().await;
        };
        if header.name == "checksum.xml" && self.ova.export_version() < 2 {
            if header.size > MAX_SUMS_BYTES {
                return Err(Error::TooLarge { what: "checksum.xml".into(), limit: MAX_SUMS_BYTES });
            }
            return self.input.skip(header.padded(), "checksum.xml").await;
        }
        let (disk, number) = self.locate(&header.name)?;
        if header.size > MAX_CHUNK_BYTES {
            return Err(Error::TooLarge { what: header.name, limit: MAX_CHUNK_BYTES });
        }
        let gap = self.advance(disk, number, header.size, &header.name)?;
        let bytes = read_chunk(&mut self.input, &header, self.ignores_checksums).await?;
        self.hand_out(disk, gap, bytes);
        Ok(())
    }

    /// The disk and the number that the name of a chunk stands for.
    fn locate(&self, name: &str) -> Result<(usize, u64), Error> {
        let unexpected = || Error::damaged(format!("it has an unexpected file {name:?}"));
        let (id, number) = name.rsplit_once('/').ok_or_else(unexpected)?;
        let digits = (8..=18).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits).ok_or_else(unexpected)?;
        let disk = *self.index.get(id).ok_or_else(unexpected)?;
        Ok((disk, number))
    }

    /// Moves on to a chunk of `len` bytes, and says how many zeros were left out before it.
    ///
    /// Numbers count chunks, also empty ones, which xapi writes to keep a connection alive: those move nothing.
    fn advance(&mut self, disk: usize, number: u64, len: u64, name: &str) -> Result<u64, Error> {
        if self.current.as_ref().is_none_or(|current| current.disk != disk) {
            self.leave_disk()?;
            if self.complete[disk] {
                return Err(Error::damaged(format!("{name} belongs to a disk that was complete")));
            }
            self.current = Some(Position { disk, offset: 0, next_number: 0, first_chunk_bytes: None });
        }
        let position = self.current.as_mut().expect("it was set above");
        if len > 0 {
            self.first_chunk_bytes.get_or_insert(len);
            position.first_chunk_bytes.get_or_insert(len);
        }
        let chunk_bytes = match self.gap_rule {
            GapRule::OfDisk if position.next_number == 0 => CHUNK_BYTES,
            GapRule::OfDisk => position.first_chunk_bytes.unwrap_or(CHUNK_BYTES),
            GapRule::OfArchive => self.first_chunk_bytes.unwrap_or(CHUNK_BYTES),
        };
        let skipped = number.checked_sub(position.next_number);
        let skipped = skipped.ok_or_else(|| Error::damaged(format!("{name} comes too late")))?;
        let size = self.disks[disk].virtual_size;
        let gap = skipped.checked_mul(chunk_bytes);
        let start = gap.and_then(|gap| position.offset.checked_add(gap));
        let end = start.and_then(|start| start.checked_add(len)).filter(|end| *end <= size);
        let (Some(gap), Some(end)) = (gap, end) else {
            return Err(Error::damaged(format!("{name} lies behind the end of the disk of {size} bytes")));
        };
        position.offset = end;
        position.next_number = number + 1;
        Ok(gap)
    }

    /// Queues a chunk, and the zeros before it.
    fn hand_out(&mut self, disk: usize, gap: u64, mut bytes: Bytes) {
        let end = self.current.as_ref().map_or(0, |position| position.offset);
        let mut offset = end - bytes.len() as u64;
        if gap > 0 {
            self.ready.push_back(DiskBlock { disk, block: Block::zero(offset - gap, gap) });
        }
        while !bytes.is_empty() {
            let some = bytes.split_to(bytes.len().min(MAX_BLOCK_BYTES));
            let block = Block::bytes(offset, some);
            offset = block.end();
            self.ready.push_back(DiskBlock { disk, block });
        }
    }

    /// The disk that was being read must be complete now.
    fn leave_disk(&mut self) -> Result<(), Error> {
        let Some(Position { disk, offset, .. }) = self.current.take() else {
            return Ok(());
        };
        let OvaDisk { id, virtual_size, .. } = &self.disks[disk];
        if offset != *virtual_size {
            return Err(Error::damaged(format!("the disk {id} ends at {offset}, not at its size {virtual_size}")));
        }
        self.complete[disk] = true;
        Ok(())
    }

    /// A block of zeros was read; a second one ends the archive.
    async fn end(&mut self) -> Result<(), Error> {
        if !is_zero(&self.input.block("the end marker").await?) {
            return Err(Error::damaged("half of the end marker stands in the middle"));
        }
        self.leave_disk()?;
        if let Some(at) = self.complete.iter().position(|complete| !complete) {
            return Err(Error::damaged(format!("it has nothing of the disk {}", self.disks[at].id)));
        }
        self.ended = true;
        Ok(())
    }
}

/// The header of the next file; `None` for a block of zeros.
async fn next_header<R: AsyncRead + Unpin + Send>(input: &mut Input<R>) -> Result<Option<Header>, Error> {
    loop {
        let block = input.block("the header of a file").await?;
        if is_zero(&block) {
            return Ok(None);
        }
        if let Some(header) = Header::parse(&block)? {
            return Ok(Some(header));
        }
    }
}

async fn read_ova<R: AsyncRead + Unpin + Send>(input: &mut Input<R>) -> Result<(Ova, Bytes), Error> {
    let header = next_header(input).await?;
    let header = header.filter(|header| header.name == "ova.xml");
    let header = header.ok_or_else(|| Error::damaged("it does not begin with ova.xml"))?;
    if header.size > MAX_OVA_BYTES {
        return Err(Error::TooLarge { what: "ova.xml".into(), limit: MAX_OVA_BYTES });
    }
    let xml = read_padded(input, &header, 0).await?;
    let ova = Ova::parse(&xml)?;
    if ova.export_version() < 1 && !ova.disks()?.is_empty() {
        return Err(Error::Unsupported("an archive without checksums for each chunk (before 2007)".into()));
    }
    Ok((ova, xml))
}

/// The contents of a chunk, once they match the checksum that follows.
async fn read_chunk<R: AsyncRead + Unpin + Send>(
    input: &mut Input<R>,
    header: &Header,
    ignores_checksum: bool,
) -> Result<Bytes, Error> {
    // Two files of one block each, the checksum and what follows, come along in the same read.
    let bytes = read_padded(input, header, 3 * BLOCK_BYTES).await?;
    let name = &header.name;
    let missing = || Error::damaged(format!("{name} has no checksum"));
    let sum_header = next_header(input).await?.ok_or_else(missing)?;
    let kind = match sum_header.name.strip_prefix(name.as_str()) {
        Some(".xxhash") => Checksum::Xxhash,
        Some(".checksum") => Checksum::Sha1,
        _ => return Err(missing()),
    };
    if sum_header.size > MAX_SUM_BYTES {
        return Err(Error::TooLarge { what: sum_header.name, limit: MAX_SUM_BYTES });
    }
    let sum = read_padded(input, &sum_header, BLOCK_BYTES).await?;
    if !ignores_checksum && !sum.trim_ascii().eq_ignore_ascii_case(kind.of(&bytes).as_bytes()) {
        return Err(Error::Checksum { what: name.clone() });
    }
    Ok(bytes)
}

/// The contents of a file, of a size that was checked before.
async fn read_padded<R: AsyncRead + Unpin + Send>(
    input: &mut Input<R>,
    header: &Header,
    ahead: usize,
) -> Result<Bytes, Error> {
    let mut bytes = input.take(header.padded() as usize, ahead, &header.name).await?;
    bytes.truncate(header.size as usize);
    Ok(bytes)
}
