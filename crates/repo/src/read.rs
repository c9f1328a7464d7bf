//! Reading a restore point.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};

use crate::id::Id;
use crate::pack::BlobKind;
use crate::repo::Opened;
use crate::session::Session;
use crate::tree::{Node, NodeType, Tree};
use crate::write::{DISKS_DIR, MAX_SIDE_FILE_BYTES};
use crate::{Error, PointMeta, Result};

mod disk;
mod file;
mod stream;
#[cfg(test)]
mod tests;

pub use disk::DiskReader;
pub use file::FileReader;

/// Chunks of a file beside the disks that are read at once.
const READS_IN_FLIGHT: usize = 16;

/// A restore point, opened for reading. While it (or a disk of it) lives, our lock keeps a foreign prune away.
pub struct PointReader {
    repo: Arc<Opened>,
    session: Arc<Session>,
    meta: PointMeta,
    root: Tree,
}

impl PointReader {
    pub(crate) async fn open(repo: Arc<Opened>, session: Arc<Session>, meta: PointMeta, tree: Id) -> Result<Self> {
        let mut root = repo.blobs.tree(tree).await?;
        for component in meta.root.trim_start_matches('/').split('/') {
            let subtree = root.find(component).and_then(|node| node.subtree);
            root = repo.blobs.tree(subtree.ok_or_else(|| not_found(&meta, component))?).await?;
        }
        Ok(PointReader { repo, session, meta, root })
    }

    /// What the point's snapshot file says.
    #[must_use]
    pub fn meta(&self) -> &PointMeta {
        &self.meta
    }

    /// Names of the files beside the disks, sorted.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let files = self.root.nodes.iter().filter(|node| node.node_type == NodeType::File);
        files.filter_map(|node| node.plain_name().map(str::to_owned)).collect()
    }

    /// A file beside the disks, such as `point.json`.
    pub async fn file(&self, name: &str) -> Result<Bytes> {
        let node = self.root.find(name).filter(|node| node.node_type == NodeType::File);
        let node = node.ok_or_else(|| not_found(&self.meta, name))?;
        let damaged = || Error::damaged(format!("file {name} of point {}", self.meta.id), "its size is wrong");
        let size = usize::try_from(node.size).ok().filter(|size| *size <= MAX_SIDE_FILE_BYTES).ok_or_else(damaged)?;
        let blobs = &self.repo.blobs;
        let mut chunks = Vec::with_capacity(node.content.len());
        let mut rest = size;
        for chunk in &node.content {
            let len = blobs.locate(BlobKind::Data, chunk)?.len() as usize;
            rest = rest.checked_sub(len).ok_or_else(damaged)?;
            chunks.push((*chunk, len));
        }
        let mut content = BytesMut::with_capacity(size);
        let read = futures::stream::iter(chunks).map(|(chunk, len)| blobs.chunk(chunk, len));
        let mut chunks = read.buffered(READS_IN_FLIGHT);
        while let Some(chunk) = chunks.try_next().await? {
            content.extend_from_slice(&chunk);
        }
        if content.len() == size { Ok(content.freeze()) } else { Err(damaged()) }
    }

    /// A file beside the disks that may be large: it is read piece by piece.
    pub fn file_reader(&self, name: &str) -> Result<FileReader> {
        let node = self.root.find(name).filter(|node| node.node_type == NodeType::File);
        let node = node.ok_or_else(|| not_found(&self.meta, name))?;
        let label = format!("file {name} of point {}", self.meta.id.short());
        Ok(FileReader::new(self.repo.clone(), self.session.clone(), label, node.size, node.content.clone()))
    }

    /// Names of the disks, sorted.
    pub async fn disks(&self) -> Result<Vec<String>> {
        let disks = self.disks_tree().await?;
        Ok(disks.nodes.iter().filter_map(|node| node.plain_name().map(str::to_owned)).collect())
    }

    /// A disk.
    pub async fn disk(&self, name: &str) -> Result<Arc<DiskReader>> {
        let disks = self.disks_tree().await?;
        let tree = disks
            .find(name)
            .and_then(|node| node.subtree)
            .ok_or_else(|| not_found(&self.meta, &format!("disk {name}")))?;
        let label = format!("disk {name} of point {}", self.meta.id.short());
        Ok(Arc::new(DiskReader::open(self.repo.clone(), self.session.clone(), label, tree).await?))
    }

    async fn disks_tree(&self) -> Result<Tree> {
        match self.root.find(DISKS_DIR) {
            Some(Node { subtree: Some(tree), .. }) => self.repo.blobs.tree(*tree).await,
            _ => Ok(Tree::default()),
        }
    }
}

fn not_found(meta: &PointMeta, what: &str) -> Error {
    Error::NotFound { what: format!("{what} in point {}", meta.id.short()) }
}
