//! The stream of an export, on its way to whoever asked for it.

use bytes::Bytes;
use tokio::sync::mpsc;
use xenkeep_api::Problem;

/// Where the bytes of an export go: bounded, so that a slow reader slows the mover down.
///
/// Its other end is a plain channel. It ends after the last byte; what was cut short ends with a [`Problem`] instead, and
/// the job's result holds length and SHA-256 of the whole for whoever wants to be sure.
#[derive(Debug)]
pub struct ContentSink {
    sender: mpsc::Sender<Result<Bytes, Problem>>,
    finished: bool,
}

/// Whoever read the stream has gone away.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the stream has gone away")]
pub struct ReaderGone;

impl ContentSink {
    /// Sends to `sender`. Its capacity bounds what is under way; one piece is at most 1 MiB.
    #[must_use]
    pub fn new(sender: mpsc::Sender<Result<Bytes, Problem>>) -> Self {
        Self { sender, finished: false }
    }

    /// Hands over the next bytes, waiting for room.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ReaderGone> {
        self.sender.send(Ok(bytes)).await.map_err(|_| ReaderGone)
    }

    /// All has been sent.
    pub fn finish(mut self) {
        self.finished = true;
    }

    /// There is no more to come, and this is why.
    pub async fn fail(mut self, problem: Problem) {
        self.finished = true;
        // A reader that has gone away needs no reason.
        let _ = self.sender.send(Err(problem)).await;
    }
}

impl Drop for ContentSink {
    /// A sink that is dropped half-way must not look like the end of the stream.
    fn drop(&mut self) {
        if !self.finished {
            let problem = Problem::new("export.interrupted", "the export ended before its last byte");
            if let Err(mpsc::error::TrySendError::Full(lost)) = self.sender.try_send(Err(problem)) {
                let sender = self.sender.clone();
                if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                    runtime.spawn(async move { sender.send(lost).await });
                }
            }
        }
    }
}
