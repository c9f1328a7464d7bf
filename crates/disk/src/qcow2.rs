//! qcow2, the image format of QEMU.
//!
//! [`Plan`] makes one in one pass, sparse or compressed. Reading goes through `imago`.
//!
//! An image is taken as hostile: backing files and external data files, which would let it name other files of this
//! machine, are refused. imago's futures can't move between threads, and its parser is not ours: each image gets a
//! thread of its own, whose panic is an error here.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::executor::block_on;
use imago::file::File as Storage;
use imago::qcow2::Qcow2;
use imago::{DenyImplicitOpenGate, FormatAccess, FormatDriverBuilder, Mapping};
use tokio::sync::{mpsc, oneshot};

use crate::block::{Extent, MAX_BLOCK_BYTES, check_range};
use crate::feed::{self, Feed};
use crate::{Block, Blocks, DiskRead, Error};

mod clusters;
mod layout;
mod plan;
mod stream;
#[cfg(test)]
mod tests;

pub use plan::{Compression, Plan};

/// The part of the header that says what we refuse.
const HEADER_BYTES: usize = 104;
const MAGIC: &[u8] = b"QFI\xfb";
const EXTERNAL_DATA_FILE: u64 = 1 << 2;
/// Questions that may wait for the thread of an image.
const MAX_WAITING: usize = 16;

/// Opens an image.
pub async fn open(path: &Path) -> Result<Arc<dyn DiskRead>, Error> {
    let path = path.to_owned();
    let open = move || -> Result<Arc<dyn DiskRead>, Error> {
        let file = File::open(&path).map_err(Error::file(&path))?;
        check_header(&file, &path)?;
        let image = Image::open(&file, &path)?;
        let size = image.access.size();
        let (questions, waiting) = mpsc::channel(MAX_WAITING);
        let worker = std::thread::Builder::new().name("qcow2".into()).spawn({
            let (file, path) = (file.try_clone().map_err(Error::file(&path))?, path.clone());
            move || answer(waiting, &file, &path)
        });
        worker.map_err(Error::file(&path))?;
        Ok(Arc::new(Disk { file, path, size, questions }))
    };
    tokio::task::spawn_blocking(open).await.map_err(|_| Error::damaged("its reader broke down"))?
}

fn check_header(file: &File, path: &Path) -> Result<(), Error> {
    let mut header = [0; HEADER_BYTES];
    file.read_exact_at(&mut header, 0).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::truncated("the header of a qcow2 image"),
        _ => Error::file(path)(error),
    })?;
    if !header.starts_with(MAGIC) {
        return Err(Error::damaged("not a qcow2 image"));
    }
    let is_set = |range: std::ops::Range<usize>| header[range].iter().any(|byte| *byte != 0);
    let version_3 = header[7] >= 3;
    let features = u64::from_be_bytes(header[72..80].try_into().expect("eight bytes"));
    if is_set(8..16) {
        return Err(Error::Unsupported("a qcow2 image with a backing file".into()));
    }
    if is_set(32..36) {
        return Err(Error::Unsupported("an encrypted qcow2 image".into()));
    }
    match features {
        0 => Ok(()),
        _ if !version_3 => Ok(()),
        EXTERNAL_DATA_FILE => Err(Error::Unsupported("a qcow2 image whose data lie in another file".into())),
        _ => Err(Error::Unsupported(format!("a qcow2 image with the incompatible features {features:#x}"))),
    }
}

/// An image within the thread that may use it.
struct Image<'a> {
    access: FormatAccess<Storage>,
    path: &'a Path,
}

impl<'a> Image<'a> {
    fn open(file: &File, path: &'a Path) -> Result<Self, Error> {
        let storage = file.try_clone().and_then(Storage::try_from).map_err(Error::file(path))?;
        let image = block_on(Qcow2::<Storage>::builder(storage).open(DenyImplicitOpenGate::default()));
        Ok(Image { access: FormatAccess::new(image.map_err(|error| wrong(path, error))?), path })
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; len];
        block_on(self.access.read(bytes.as_mut_slice(), offset)).map_err(|error| wrong(self.path, error))?;
        Ok(bytes)
    }

    /// The length of the run at `offset`, and whether it is zeros by the image's own tables.
    fn run(&self, offset: u64, size: u64) -> Result<(bool, u64), Error> {
        let (mapping, len) =
            block_on(self.access.get_mapping(offset, size - offset)).map_err(|error| wrong(self.path, error))?;
        match len.min(size - offset) {
            0 => Err(Error::damaged("the tables of a qcow2 image lead nowhere")),
            len => Ok((matches!(mapping, Mapping::Zero { .. }), len)),
        }
    }

    fn read_all(&self, size: u64, feed: &Feed) -> Result<(), Error> {
        let mut offset = 0;
        while offset < size {
            let (zero, len) = self.run(offset, size)?;
            if zero {
                feed.put(Block::zero(offset, len))?;
                offset += len;
            } else {
                let end = offset + len;
                while offset < end {
                    let some = (end - offset).min(MAX_BLOCK_BYTES as u64);
                    feed.put(Block::bytes(offset, Bytes::from(self.read(offset, some as usize)?)))?;
                    offset += some;
                }
            }
        }
        Ok(())
    }
}

/// imago says "invalid data" of images, anything else of files.
fn wrong(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::Other | io::ErrorKind::UnexpectedEof => {
            Error::damaged(format!("as a qcow2 image: {error}"))
        }
        io::ErrorKind::Unsupported => Error::Unsupported(error.to_string()),
        _ => Error::file(path)(error),
    }
}

/// What may be asked, and where the answer goes.
enum Question {
    /// The bytes of a run.
    Read { offset: u64, len: usize, reply: oneshot::Sender<Result<Vec<u8>, Error>> },
    /// What the tables say of a run.
    Look { offset: u64, len: u64, reply: oneshot::Sender<Result<Extent, Error>> },
}

/// The thread of an image: lives as long as somebody may ask.
fn answer(mut waiting: mpsc::Receiver<Question>, file: &File, path: &Path) {
    let image = Image::open(file, path);
    let image = || image.as_ref().map_err(|_| Error::damaged("the qcow2 image has changed"));
    while let Some(question) = waiting.blocking_recv() {
        // Whoever asked may have gone.
        match question {
            Question::Read { offset, len, reply } => {
                let _ = reply.send(image().and_then(|image| image.read(offset, len)));
            }
            Question::Look { offset, len, reply } => {
                let run = image().and_then(|image| image.run(offset, offset + len));
                let _ = reply.send(run.map(|(zero, len)| Extent { len, zero }));
            }
        }
    }
}

struct Disk {
    file: File,
    path: PathBuf,
    size: u64,
    questions: mpsc::Sender<Question>,
}

impl Disk {
    async fn ask(&self, question: Question) -> Result<(), Error> {
        self.questions.send(question).await.map_err(|_| broken())
    }
}

fn broken() -> Error {
    Error::damaged("the reader of the qcow2 image broke down")
}

#[async_trait]
impl DiskRead for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        check_range(offset, buf.len() as u64, self.size)?;
        for (buf, offset) in buf.chunks_mut(MAX_BLOCK_BYTES).zip((offset..).step_by(MAX_BLOCK_BYTES)) {
            let (reply, bytes) = oneshot::channel();
            self.ask(Question::Read { offset, len: buf.len(), reply }).await?;
            buf.copy_from_slice(&bytes.await.map_err(|_| broken())??);
        }
        Ok(())
    }

    async fn extent_at(&self, offset: u64, len: u64) -> Result<Extent, Error> {
        check_range(offset, len, self.size)?;
        let (reply, extent) = oneshot::channel();
        self.ask(Question::Look { offset, len, reply }).await?;
        extent.await.map_err(|_| broken())?
    }

    fn blocks(self: Arc<Self>) -> Blocks {
        feed::blocks(move |feed| Image::open(&self.file, &self.path)?.read_all(self.size, feed))
    }
}
