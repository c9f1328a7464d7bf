//! Streams out of the pool.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::quiet::Quiet;
use super::request::Opened;
use crate::connect::Io;
use crate::{Error, Pool, Result, TaskRef, TaskResult, VmRef};

/// Compression of an XVA, done in dom0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None; the network carries all of it.
    #[default]
    None,
    /// gzip: one slow core of dom0.
    Gzip,
    /// zstd: recent releases.
    Zstd,
}

/// What to export as an XVA.
#[derive(Debug, Clone)]
pub struct Export {
    /// A halted or suspended VM, a snapshot or a template.
    pub vm: VmRef,
    /// Compression.
    pub compression: Compression,
    /// A suspended VM or checkpoint stays suspended, and its memory comes along; otherwise it is exported as if it were off.
    pub preserve_power_state: bool,
    /// A task made by [`Pool::task_create`]; without it one is made. A task serves one stream only.
    pub task: Option<TaskRef>,
}

impl Export {
    /// Of `vm`, plain.
    #[must_use]
    pub fn new(vm: VmRef) -> Self {
        Self { vm, compression: Compression::None, preserve_power_state: false, task: None }
    }
}

/// The bytes of a stream out of the pool. Read with large buffers: they are filled straight from the socket.
///
/// Its end says nothing: the connection ends alike after success and after failure, and after a failure in mid-stream a second
/// HTTP answer follows within the bytes. Check the format, then [`Download::finish`]. Dropping it ends the export.
pub struct Download {
    io: Box<dyn Io>,
    begun: Bytes,
    quiet: Quiet,
    received: u64,
    over: bool,
    pool: Pool,
    task: TaskRef,
    address: String,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download").field("task", &self.task).field("received", &self.received).finish_non_exhaustive()
    }
}

impl Pool {
    /// Begins an export. A redirect to a member is followed.
    ///
    /// # Errors
    /// Why the pool refused; the task is destroyed then.
    pub async fn export(&self, export: Export) -> Result<Download> {
        let task = match export.task {
            Some(task) => task,
            None => self.task_create("xenkeep export", "Export of a VM").await?,
        };
        let mut query = vec![("ref".to_owned(), export.vm.to_string())];
        match export.compression {
            Compression::None => {}
            Compression::Gzip => query.push(("use_compression".to_owned(), "true".to_owned())),
            Compression::Zstd => query.push(("use_compression".to_owned(), "zstd".to_owned())),
        }
        if export.preserve_power_state {
            query.push(("preserve_power_state".to_owned(), "true".to_owned()));
        }
        self.download("/export", query, task).await
    }

    pub(super) async fn download(
        &self,
        path: &'static str,
        query: Vec<(String, String)>,
        task: TaskRef,
    ) -> Result<Download> {
        self.download_at(self.master_connector(), path, query, task).await
    }
}

impl Download {
    pub(super) fn new(pool: Pool, opened: Opened, task: TaskRef) -> Self {
        let quiet = Quiet::new(pool.options().timeouts.quiet);
        let Opened { io, begun, address, .. } = opened;
        Self { io, begun, quiet, received: 0, over: false, pool, task, address }
    }

    /// The task that tells how it ends.
    #[must_use]
    pub fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Bytes read so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// `host:port` that sends it.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same as a stream of buffers of up to `bytes`, each owned by whoever takes it.
    #[must_use]
    pub fn chunks(self, bytes: usize) -> ReaderStream<Self> {
        ReaderStream::with_capacity(self, bytes)
    }

    /// After the format has said that all is there: closes the connection and asks the task. It is destroyed.
    ///
    /// # Errors
    /// As [`crate::Task::wait`].
    pub async fn finish(self, cancel: &CancellationToken) -> Result<TaskResult> {
        let Self { io, pool, task, over, .. } = self;
        // before the end of the stream a hung-up connection is a failure for the pool
        let _open = (!over).then_some(io);
        pool.task(task).wait(cancel, |_| {}).await
    }

    /// After a failure: hangs up, and tells what the task says of it, if it says more than `cause`.
    pub async fn explain(self, cause: Error) -> Error {
        let Self { io, pool, task, .. } = self;
        drop(io);
        pool.task(task).explain(cause).await
    }
}

impl AsyncRead for Download {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.over || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !this.begun.is_empty() {
            let length = this.begun.len().min(buf.remaining());
            buf.put_slice(&this.begun[..length]);
            this.begun.advance(length);
            this.received += length as u64;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                this.quiet.heard();
                let length = buf.filled().len() - before;
                this.over = length == 0;
                this.received += length as u64;
                Poll::Ready(Ok(()))
            }
            // stunnel hangs up without TLS's farewell; whether that was the end is for the format to say
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                this.over = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(source)) => {
                Poll::Ready(Err(Error::Lost { address: this.address.clone(), source }.into_io()))
            }
            Poll::Pending => match this.quiet.poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    let address = this.address.clone();
                    let silent = Error::Silent { address, what: "more of a download", after: this.quiet.after() };
                    Poll::Ready(Err(silent.into_io()))
                }
            },
        }
    }
}
