//! Blocks that a thread of its own reads ahead, for files whose reads block.

use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::{Block, Blocks, Error};

/// How many blocks (of up to 1 MiB) may wait to be taken.
const READ_AHEAD: usize = 8;

/// Where the thread puts its blocks.
pub(crate) struct Feed(mpsc::Sender<Block>);

impl Feed {
    /// Waits for room. Fails when nobody wants the blocks any more.
    pub(crate) fn put(&self, block: Block) -> Result<(), Error> {
        self.0.blocking_send(block).map_err(|_| Error::Abandoned)
    }
}

/// Runs `work` in a thread as soon as the first block is asked for. The thread ends when the stream is dropped.
pub(crate) fn blocks(work: impl FnOnce(&Feed) -> Result<(), Error> + Send + 'static) -> Blocks {
    let begin = async move {
        let (feed, blocks) = mpsc::channel(READ_AHEAD);
        let worker = spawn_blocking(move || work(&Feed(feed)));
        stream::unfold(Some((blocks, worker)), |state| async move {
            let (mut blocks, worker) = state?;
            if let Some(block) = blocks.recv().await {
                return Some((Ok(block), Some((blocks, worker))));
            }
            match worker.await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some((Err(error), None)),
                Err(_) => Some((Err(Error::damaged("its reader broke down")), None)),
            }
        })
    };
    stream::once(begin).flatten().boxed()
}
