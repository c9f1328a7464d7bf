//! Streams into the pool.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::head::Answer;
use super::quiet::Quiet;
use super::request::Opened;
use crate::connect::Io;
use crate::{Error, Pool, Result, SrRef, TaskRef, TaskResult};

/// How an XVA is to be imported.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// Where its disks go; without it the pool's default SR.
    pub sr: Option<SrRef>,
    /// Keep uuid, MACs and seed of the VM. Over an existing VM the pool refuses it.
    pub restore: bool,
    /// Pass over checksums that don't match, undo nothing after a failure.
    pub force: bool,
    /// A task made by [`Pool::task_create`]; without it one is made. A task serves one stream only.
    pub task: Option<TaskRef>,
}

/// A stream into the pool. [`Upload::finish`] when all is written; dropping it earlier makes the import fail, and the pool
/// undoes it.
pub struct Upload {
    io: Box<dyn Io>,
    quiet: Quiet,
    sent: u64,
    pool: Pool,
    task: TaskRef,
    address: String,
    path: &'static str,
    /// The pool had not answered when the body began.
    unanswered: bool,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("task", &self.task).field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl Pool {
    /// Begins an import. A redirect to a member is followed before a byte of the body is sent.
    ///
    /// # Errors
    /// Why the pool refused; the task is destroyed then.
    pub async fn import(&self, import: Import) -> Result<Upload> {
        let task = match import.task {
            Some(task) => task,
            None => self.task_create("xenkeep import", "Import of a VM").await?,
        };
        let mut query = Vec::new();
        if let Some(sr) = import.sr {
            query.push(("sr_id".to_owned(), sr.to_string()));
        }
        flag(&mut query, "restore", import.restore);
        flag(&mut query, "force", import.force);
        self.upload("/import", query, task, None).await
    }

    pub(super) async fn upload(
        &self,
        path: &'static str,
        query: Vec<(String, String)>,
        task: TaskRef,
        content_length: Option<u64>,
    ) -> Result<Upload> {
        self.upload_at(self.master_connector(), path, query, task, content_length).await
    }
}

/// Only exactly `true` counts.
pub(super) fn flag(query: &mut Vec<(String, String)>, key: &str, on: bool) {
    if on {
        query.push((key.to_owned(), "true".to_owned()));
    }
}

impl Upload {
    pub(super) fn new(pool: Pool, opened: Opened, task: TaskRef, path: &'static str) -> Self {
        let quiet = Quiet::new(pool.options().timeouts.quiet);
        let Opened { io, address, answer, .. } = opened;
        Self { io, quiet, sent: 0, pool, task, address, path, unanswered: answer.is_none() }
    }

    /// The task that tells how it ends.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Bytes written so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// `host:port` that takes it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All is written: tells the pool so, and waits for the task, which is destroyed then. `on_progress` hears from 0 to 1.
    ///
    /// # Errors
    /// As [`crate::Task::wait`].
    pub async fn finish(mut self, cancel: &CancellationToken, on_progress: impl FnMut(f64)) -> Result<TaskResult> {
        if let Err(source) = self.io.flush().await {
            let cause = Error::from_io(source, &self.address);
            return Err(self.explain(cause).await);
        }
        // half a farewell: the pool may still talk; it may also have hung up already
        let _ = self.io.shutdown().await;
        let task = self.pool.task(self.task.clone());
        let wait = task.wait(cancel, on_progress);
        tokio::pin!(wait);
        let refused = tokio::select! {
            ended = &mut wait => return ended,
            refused = self.listen() => refused,
        };
        match refused {
            None => wait.await,
            Some(cause) => Err(self.explain(cause).await),
        }
    }

    /// Reads to the end: what is left unread when we close would make the kernel reset the connection, and lose bytes on
    /// their way. A late answer that is a refusal is told, since its task may stay pending for ever.
    async fn listen(&mut self) -> Option<Error> {
        if self.unanswered
            && let Ok((answer, _)) = Answer::read(&mut self.io, &self.address).await
            && !(200..300).contains(&answer.status)
        {
            return Some(Error::Http { status: answer.status, reason: answer.reason, path: self.path.to_owned() });
        }
        drain(&mut self.io).await;
        None
    }

    /// After a failure: hangs up, and tells what the task says of it, if it says more than `cause`.
    pub async fn explain(self, cause: Error) -> Error {
        let Self { io, pool, task, .. } = self;
        drop(io);
        pool.task(task).explain(cause).await
    }

    /// Hangs up and cancels the import. Some when it succeeded all the same.
    ///
    /// # Errors
    /// As [`crate::Task::abandon`].
    pub async fn abandon(self) -> Result<Option<TaskResult>> {
        let Self { io, pool, task, .. } = self;
        let task = pool.task(task);
        // first the cancel, so that the pool knows that the broken stream is our wish
        let _ = task.cancel().await;
        drop(io);
        task.abandon().await
    }

    fn broken(&self, source: io::Error) -> io::Error {
        Error::Lost { address: self.address.clone(), source }.into_io()
    }

    fn settle<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match polled {
            Poll::Ready(Ok(value)) => {
                self.quiet.heard();
                Poll::Ready(Ok(value))
            }
            Poll::Ready(Err(source)) => Poll::Ready(Err(self.broken(source))),
            Poll::Pending => match self.quiet.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    let after = self.quiet.after();
                    let silent = Error::Silent { address: self.address.clone(), what: "an upload to be taken", after };
                    Poll::Ready(Err(silent.into_io()))
                }
            },
        }
    }
}

/// Reads to the end, whatever comes.
async fn drain(io: &mut (impl AsyncRead + Unpin)) {
    let mut buffer = vec![0; 16 * 1024];
    while !matches!(io.read(&mut buffer).await, Ok(0) | Err(_)) {}
}

impl AsyncWrite for Upload {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, bytes);
        let settled = self.settle(cx, polled);
        if let Poll::Ready(Ok(length)) = settled {
            self.sent += length as u64;
        }
        settled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bytes);
        let settled = self.settle(cx, polled);
        if let Poll::Ready(Ok(length)) = settled {
            self.sent += length as u64;
        }
        settled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        self.settle(cx, polled)
    }

    /// Ends our side of the connection: a writer that shuts down what it wraps does no harm.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_shutdown(cx);
        self.settle(cx, polled)
    }
}
