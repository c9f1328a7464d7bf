//! Filling disks from image files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::StreamExt;
use xenkeep_disk::{Data, DiskRead};

use super::{Error, Storage};

/// How an image file is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// The bytes of the disk as they are.
    Raw,
    /// QEMU's format.
    Qcow2,
}

/// An image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where it lies.
    pub path: PathBuf,
}

impl Image {
    /// An image at a path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Which format its first bytes show.
    pub fn format(&self) -> Result<ImageFormat, Error> {
        let mut magic = [0; 4];
        let mut file = File::open(&self.path).map_err(|error| self.failed(error))?;
        match file.read_exact(&mut magic) {
            Ok(()) if magic == *b"QFI\xfb" => Ok(ImageFormat::Qcow2),
            Ok(()) => Ok(ImageFormat::Raw),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(ImageFormat::Raw),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Opens it for reading.
    pub async fn open(&self) -> Result<Arc<dyn DiskRead>, Error> {
        match self.format()? {
            ImageFormat::Raw => {
                let file = xenkeep_disk::raw::RawFile::open(&self.path);
                Ok(file.map_err(|error| self.failed(error))?)
            }
            ImageFormat::Qcow2 => {
                let disk = xenkeep_disk::qcow2::open(&self.path).await;
                disk.map_err(|error| self.failed(error))
            }
        }
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Image { path: self.path.display().to_string(), source: source.into() }
    }
}

impl Storage {
    /// Writes what an opened image holds to a disk that was empty before.
    pub async fn fill(&self, vdi: &str, image: Arc<dyn DiskRead>) -> Result<(), Error> {
        let mut blocks = image.blocks();
        while let Some(block) = blocks.next().await {
            let block = block.map_err(|error| Error::Image { path: vdi.to_owned(), source: error.into() })?;
            let Data::Bytes(bytes) = block.data else { continue };
            let (storage, vdi) = (self.clone(), vdi.to_owned());
            super::reader::run_blocking(move || storage.write_unless_zero(&vdi, block.offset, &bytes)).await?;
        }
        Ok(())
    }

    /// Writes data, and leaves holes where whole clusters are zero.
    pub(crate) fn write_unless_zero(&self, vdi: &str, offset: u64, data: &[u8]) -> Result<(), Error> {
        let cluster = super::CLUSTER_BYTES as usize;
        let first = (cluster - (offset % super::CLUSTER_BYTES) as usize).min(data.len());
        let (head, rest) = data.split_at(first);
        let mut pending = 0..0usize;
        let mut position = 0;
        for part in std::iter::once(head).chain(rest.chunks(cluster)) {
            let end = position + part.len();
            if xenkeep_disk::block::is_zero(part) {
                self.write(vdi, offset + pending.start as u64, &data[pending])?;
                pending = end..end;
            } else {
                pending.end = end;
            }
            position = end;
        }
        self.write(vdi, offset + pending.start as u64, &data[pending])
    }
}
