use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};

use super::READS_IN_FLIGHT;
use crate::id::Id;
use crate::pack::BlobKind;
use crate::repo::Opened;
use crate::session::Session;
use crate::{Error, Result};

/// No chunk of ours is longer, whichever way it was cut.
const MAX_CHUNK_BYTES: usize = 4 << 20;

/// A file beside the disks, read from its first to its last byte. While it lives, our lock keeps a foreign prune away.
pub struct FileReader {
    repo: Arc<Opened>,
    session: Arc<Session>,
    label: String,
    size: u64,
    chunks: Vec<Id>,
}

impl FileReader {
    pub(super) fn new(repo: Arc<Opened>, session: Arc<Session>, label: String, size: u64, chunks: Vec<Id>) -> Self {
        FileReader { repo, session, label, size, chunks }
    }

    /// Its size in bytes. That many come, or an error.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its bytes, in pieces of at most 4 MiB.
    #[must_use]
    pub fn pieces(self) -> BoxStream<'static, Result<Bytes>> {
        let FileReader { repo, session, label, size, chunks } = self;
        let read = move |id| {
            let (repo, label) = (repo.clone(), label.clone());
            async move {
                let len = repo.blobs.locate(BlobKind::Data, &id)?.len() as usize;
                if len > MAX_CHUNK_BYTES {
                    return Err(Error::damaged(label, format!("chunk {id} has {len} bytes")));
                }
                Ok((label, repo.blobs.chunk(id, len).await?))
            }
        };
        let pieces = stream::iter(chunks).map(read).buffered(READS_IN_FLIGHT);
        let checked =
            stream::try_unfold((pieces.boxed(), 0_u64, session), move |(mut pieces, sent, session)| async move {
                match pieces.try_next().await? {
                    Some((label, piece)) => {
                        let sent = sent + piece.len() as u64;
                        let fits = sent <= size;
                        let piece = fits.then_some(piece).ok_or_else(|| wrong_size(&label))?;
                        Ok(Some((piece, (pieces, sent, session))))
                    }
                    None if sent == size => Ok(None),
                    None => Err(wrong_size("a file beside the disks")),
                }
            });
        checked.boxed()
    }
}

fn wrong_size(label: &str) -> Error {
    Error::damaged(label.to_owned(), "its size is wrong")
}
