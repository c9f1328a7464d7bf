//! How far a job is: counters that its steps turn and that anyone may sample.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xenkeep_api::{DiskProgress, Progress};
use xenkeep_repo::Counters;

/// The numbers of one job.
#[derive(Default)]
pub(crate) struct Board {
    step: Mutex<&'static str>,
    disks: Mutex<Vec<Disk>>,
    moved_bytes: AtomicU64,
    store: OnceLock<Arc<Counters>>,
    meter: OnceLock<Meter>,
}

/// Asks a job that moves no disks how far it is.
type Meter = Box<dyn Fn() -> Reading + Send + Sync>;

/// What a meter says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Bytes to deal with in all, 0 while unknown.
    pub(crate) total_bytes: u64,
    /// Bytes dealt with.
    pub(crate) done_bytes: u64,
    /// Bytes that were read or written for it.
    pub(crate) moved_bytes: u64,
}

#[derive(Debug)]
struct Disk {
    position: String,
    total_bytes: u64,
    done: DoneBytes,
}

/// Bytes of one disk that are dealt with.
#[derive(Debug, Clone, Default)]
pub(crate) struct DoneBytes(Arc<AtomicU64>);

impl DoneBytes {
    /// `bytes` more are dealt with.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Board {
    pub(crate) fn step(&self, name: &'static str) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    pub(crate) fn current_step(&self) -> &'static str {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A disk that will be moved.
    pub(crate) fn disk(&self, position: &str, total_bytes: u64) -> DoneBytes {
        let done = DoneBytes::default();
        let disk = Disk { position: position.to_owned(), total_bytes, done: done.clone() };
        self.disks.lock().unwrap_or_else(PoisonError::into_inner).push(disk);
        done
    }

    /// Bytes that came over the wire, or went out.
    pub(crate) fn moved(&self, bytes: u64) {
        self.moved_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The counters of the datastore that is written to.
    pub(crate) fn watch_store(&self, counters: Arc<Counters>) {
        // A job writes to one datastore; a second call would be a second point, which there is none of.
        let _ = self.store.set(counters);
    }

    /// Where the numbers come from in a job that moves no disks.
    pub(crate) fn watch(&self, meter: impl Fn() -> Reading + Send + Sync + 'static) {
        // As above: one job, one meter.
        let _ = self.meter.set(Box::new(meter));
    }

    /// The numbers as they stand.
    pub(crate) fn sample(&self) -> Progress {
        let disks: Vec<DiskProgress> = self
            .disks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|disk| DiskProgress {
                position: disk.position.clone(),
                total_bytes: disk.total_bytes,
                done_bytes: disk.done.get(),
            })
            .collect();
        let store = self.store.get();
        let reading = self.meter.get().map(|meter| meter()).unwrap_or_default();
        Progress {
            step: self.current_step().to_owned(),
            total_bytes: disks.iter().map(|disk| disk.total_bytes).sum::<u64>() + reading.total_bytes,
            done_bytes: disks.iter().map(|disk| disk.done_bytes).sum::<u64>() + reading.done_bytes,
            moved_bytes: self.moved_bytes.load(Ordering::Relaxed) + reading.moved_bytes,
            new_bytes: store.map_or(0, |counters| counters.new_bytes()),
            stored_bytes: store.map_or(0, |counters| counters.stored_bytes()),
            disks,
        }
    }
}

/// A stream whose bytes are counted as moved.
pub(crate) struct Counted<S> {
    stream: S,
    board: Arc<Board>,
}

impl<S> Counted<S> {
    pub(crate) fn new(stream: S, board: Arc<Board>) -> Self {
        Self { stream, board }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.board.moved((buf.filled().len() - before) as u64);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.board.moved(written as u64);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.board.moved(written as u64);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
