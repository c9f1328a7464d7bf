use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::footer::{FOOTER_BYTES, Footer, Type};
use super::head::Head;
use super::header::{HEADER_BYTES, Header};
use super::{ImageId, Kind, MAX_TABLE_BYTES, SECTOR_BYTES, bitmap_bytes, run_of};
use crate::block::{Extent, MAX_BLOCK_BYTES, check_range};
use crate::feed::{self, Feed};
use crate::{Block, Blocks, DiskRead, Error};

/// How many files a chain may have; XenServer allows 30.
const MAX_FILES: usize = 128;

/// How many blocks one look at the tables goes over, at most.
const MAX_LOOK_BLOCKS: u64 = 256;

/// A disk in one file, or in a chain of files of which each holds what differs from the next.
#[derive(Debug)]
pub struct Disk {
    chain: Arc<Chain>,
}

/// The files of a disk, the newest first.
#[derive(Debug)]
struct Chain {
    layers: Vec<Layer>,
}

/// Opens an image, or a chain of them in any order: which is whose parent stand in the files.
pub async fn open(paths: &[PathBuf]) -> Result<Arc<Disk>, Error> {
    let paths = paths.to_owned();
    let open = move || {
        if paths.len() > MAX_FILES {
            return Err(Error::TooLarge { what: "the chain of VHD files".into(), limit: MAX_FILES as u64 });
        }
        let layers = paths.iter().map(|path| Layer::open(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Arc::new(Disk { chain: Arc::new(Chain { layers: in_order(layers)? }) }))
    };
    spawn_blocking(open).await.map_err(|_| Error::Abandoned)?
}

/// One file.
#[derive(Debug)]
struct Layer {
    file: File,
    path: PathBuf,
    id: ImageId,
    size: u64,
    /// None of a fixed image.
    head: Option<Head>,
}

impl Layer {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::file(path))?;
        let len = file.metadata().map_err(Error::file(path))?.len();
        let footer = find_footer(&file, path, len)?;
        let (id, size) = (footer.id, footer.size);
        let mut layer = Layer { file, path: path.to_owned(), id, size, head: None };
        if footer.kind == Type::Fixed {
            if size > len - FOOTER_BYTES as u64 || size == 0 {
                return Err(Error::truncated(format!("{}, a fixed VHD", path.display())));
            }
            return Ok(layer);
        }
        let mut header = [0; HEADER_BYTES];
        layer.read(footer.header_at, &mut header)?;
        let header = Header::parse(&header)?;
        let wanted = size.div_ceil(u64::from(header.block_bytes.max(1))).saturating_mul(4).min(MAX_TABLE_BYTES);
        if header.table_at.checked_add(wanted).is_none_or(|end| end > len) {
            return Err(Error::truncated(format!("the table of {}", path.display())));
        }
        let mut table = vec![0; wanted as usize];
        layer.read(header.table_at, &mut table)?;
        layer.head = Some(Head::new(&footer, &header, &table)?);
        Ok(layer)
    }

    fn parent(&self) -> Option<(ImageId, &str)> {
        match self.head.as_ref()?.kind() {
            Kind::Differencing { parent, parent_name } => Some((*parent, parent_name)),
            Kind::Fixed | Kind::Dynamic => None,
        }
    }

    fn read(&self, at: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(buf, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::truncated(format!("{} at {at}", self.path.display())),
            _ => Error::file(&self.path)(error),
        })
    }
}

/// The footer at the end, or its copy at the start if a crash has taken the first.
fn find_footer(file: &File, path: &Path, len: u64) -> Result<Footer, Error> {
    let mut bytes = [0; FOOTER_BYTES];
    let Some(last) = len.checked_sub(FOOTER_BYTES as u64) else {
        return Err(Error::damaged(format!("{} is too short for a VHD", path.display())));
    };
    file.read_exact_at(&mut bytes, last).map_err(Error::file(path))?;
    let at_end = Footer::parse(&bytes);
    if at_end.is_ok() {
        return at_end;
    }
    file.read_exact_at(&mut bytes, 0).map_err(Error::file(path))?;
    match Footer::parse(&bytes) {
        Ok(footer) if footer.kind != Type::Fixed => Ok(footer),
        Err(error @ Error::Unsupported(_)) => Err(error),
        _ => at_end,
    }
}

/// The newest first, each followed by its parent.
fn in_order(layers: Vec<Layer>) -> Result<Vec<Layer>, Error> {
    let count = layers.len();
    let parents: Vec<ImageId> = layers.iter().filter_map(|layer| layer.parent().map(|(id, _)| id)).collect();
    let mut newest: Vec<ImageId> =
        layers.iter().map(|layer| layer.id).filter(|id| count == 1 || !parents.contains(id)).collect();
    let mut by_id: HashMap<ImageId, Layer> = layers.into_iter().map(|layer| (layer.id, layer)).collect();
    if by_id.len() < count {
        return Err(Error::Unsupported("the same VHD image twice in a chain".into()));
    }
    let (Some(mut next), true) = (newest.pop(), newest.is_empty()) else {
        return Err(Error::Unsupported("these VHD files are not one chain: give those of one disk".into()));
    };
    let mut chain: Vec<Layer> = Vec::new();
    loop {
        let Some(layer) = by_id.remove(&next) else { return Err(no_parent(chain.last(), next)) };
        let parent = layer.parent().map(|(id, _)| id);
        chain.push(layer);
        match parent {
            Some(parent) => next = parent,
            None if by_id.is_empty() => return Ok(chain),
            None => return Err(Error::Unsupported("not all of these VHD files belong to the chain".into())),
        }
    }
}

fn no_parent(child: Option<&Layer>, parent: ImageId) -> Error {
    let (file, name) = match child {
        Some(child) => (child.path.display().to_string(), child.parent().map_or("", |(_, name)| name)),
        None => (String::new(), ""),
    };
    let called = if name.is_empty() { String::new() } else { format!(" (called {name:?} there)") };
    Error::Unsupported(format!("{file} holds differences only, and its parent {parent}{called} is not among the files"))
}

impl Disk {
    /// Number of files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.chain.layers.len()
    }
}

impl Chain {
    fn size(&self) -> u64 {
        self.layers.first().map_or(0, |layer| layer.size / SECTOR_BYTES * SECTOR_BYTES)
    }

    /// Fills `buf` from a layer, and what that does not hold from those below it.
    fn fill(&self, layer: usize, mut offset: u64, mut buf: &mut [u8]) -> Result<(), Error> {
        let Some(this) = self.layers.get(layer) else {
            buf.fill(0);
            return Ok(());
        };
        while !buf.is_empty() {
            let within = this.size.saturating_sub(offset).min(buf.len() as u64);
            if within == 0 {
                buf.fill(0);
                return Ok(());
            }
            let Some(head) = &this.head else {
                let (some, rest) = buf.split_at_mut(within as usize);
                this.read(offset, some)?;
                (buf, offset) = (rest, offset + within);
                continue;
            };
            let start = offset / head.block_bytes() * head.block_bytes();
            let len = within.min(start + head.block_bytes() - offset);
            let (some, rest) = buf.split_at_mut(len as usize);
            match head.place(offset / head.block_bytes()) {
                Some(place) => self.fill_from_block(layer, (start, place), offset, some)?,
                None => self.fill(layer + 1, offset, some)?,
            }
            (buf, offset) = (rest, offset + len);
        }
        Ok(())
    }

    /// Fills `buf` from a block that starts at `start` on the disk and at `place` in the file.
    fn fill_from_block(
        &self,
        layer: usize,
        (start, place): (u64, u64),
        mut offset: u64,
        mut buf: &mut [u8],
    ) -> Result<(), Error> {
        let this = &self.layers[layer];
        let block_bytes = this.head.as_ref().map_or(0, Head::block_bytes);
        let mut bitmap = vec![0; bitmap_bytes(block_bytes) as usize];
        this.read(place, &mut bitmap)?;
        let data = place + bitmap.len() as u64;
        while !buf.is_empty() {
            let within = offset - start;
            let (marked, len) = run_of(&bitmap, within, block_bytes);
            let len = len.min(buf.len() as u64);
            let (some, rest) = buf.split_at_mut(len as usize);
            if marked {
                this.read(data + within, some)?;
            } else {
                self.fill(layer + 1, offset, some)?;
            }
            (buf, offset) = (rest, offset + len);
        }
        Ok(())
    }

    /// What the tables of a layer and of those below it know of a run.
    fn extent(&self, layer: usize, offset: u64, len: u64) -> Extent {
        let Some(this) = self.layers.get(layer).filter(|this| offset < this.size) else {
            return Extent { len, zero: true };
        };
        let len = len.min(this.size - offset);
        let Some(head) = &this.head else { return Extent { len, zero: false } };
        let first = offset / head.block_bytes();
        let held = head.is_allocated(first);
        let last = head.blocks().min(first + MAX_LOOK_BLOCKS);
        let end = (first..last).find(|block| head.is_allocated(*block) != held).unwrap_or(last);
        let len = len.min(end * head.block_bytes() - offset);
        if held { Extent { len, zero: false } } else { self.extent(layer + 1, offset, len) }
    }

    fn read_all(&self, feed: &Feed) -> Result<(), Error> {
        let mut offset = 0;
        while offset < self.size() {
            let extent = self.extent(0, offset, self.size() - offset);
            if extent.zero {
                feed.put(Block::zero(offset, extent.len))?;
                offset += extent.len;
                continue;
            }
            // Pieces end where blocks do, so that each bitmap is read once or twice.
            let piece = MAX_BLOCK_BYTES as u64 - offset % MAX_BLOCK_BYTES as u64;
            let len = extent.len.min(piece);
            let mut bytes = vec![0; len as usize];
            self.fill(0, offset, &mut bytes)?;
            feed.put(Block::bytes(offset, bytes.into()))?;
            offset += len;
        }
        Ok(())
    }
}

#[async_trait]
impl DiskRead for Disk {
    fn size(&self) -> u64 {
        self.chain.size()
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        check_range(offset, buf.len() as u64, self.size())?;
        let (chain, len) = (Arc::clone(&self.chain), buf.len());
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; len];
            chain.fill(0, offset, &mut bytes).map(|()| bytes)
        });
        buf.copy_from_slice(&read.await.map_err(|_| Error::Abandoned)??);
        Ok(())
    }

    async fn extent_at(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        check_range(offset, len, self.size())?;
        Ok(self.chain.extent(0, offset, len))
    }

    fn blocks(self: Arc<Self>) -> Blocks {
        feed::blocks(move |feed| self.chain.read_all(feed))
    }
}
