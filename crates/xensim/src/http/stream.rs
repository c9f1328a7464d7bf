//! Bodies of transfers on their way: counted, slowed down, broken where a fault says so.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};

use super::conn::Conn;

/// A slow link moves bytes in pieces of this size.
const SLOW_PIECE_BYTES: usize = 64 << 10;

/// What happens at a place of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The connection breaks.
    Cut,
    /// The transfer fails, with a second answer in the stream.
    Fail,
    /// A byte is flipped.
    Flip,
    /// Nothing moves for a while.
    Stall,
    /// All sessions are forgotten.
    ForgetSessions,
}

/// What a stream calls when something happens to it.
pub(super) struct Hooks {
    /// What it waits for when it stalls.
    pub(super) pause: Option<BoxFuture<'static, ()>>,
    /// Forgets all sessions.
    pub(super) forget_sessions: Box<dyn Fn() + Send>,
}

/// How a stream shall go: what happens where, and how fast it is.
#[derive(Debug, Default)]
pub(super) struct Course {
    events: VecDeque<(u64, Event)>,
    bytes_per_second: Option<u64>,
}

/// Where a stream is; shared with those that only watch it.
#[derive(Debug, Clone, Default)]
pub(super) struct Position(Arc<AtomicU64>);

impl Position {
    /// Bytes of body that went by.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Course {
    /// Adds an event.
    pub(super) fn at(&mut self, byte: u64, event: Event) {
        self.events.push_back((byte, event));
        self.events.make_contiguous().sort_by_key(|(byte, _)| *byte);
    }

    /// Slows it down.
    pub(super) fn slow_down(&mut self, bytes_per_second: u64) {
        self.bytes_per_second = Some(bytes_per_second.max(1));
    }
}

/// What may happen to the next bytes.
enum Step {
    /// So many may pass as they are.
    Pass(usize),
    /// One passes flipped.
    Flip,
}

/// The rules of a stream, and how far it is.
struct Pace {
    course: Course,
    position: Position,
    began: Instant,
    pause: Option<BoxFuture<'static, ()>>,
    /// The event that ended the stream.
    broken_by: Option<Event>,
    hooks: Hooks,
}

impl Pace {
    fn new(course: Course, hooks: Hooks) -> Self {
        Self { course, position: Position::default(), began: Instant::now(), pause: None, broken_by: None, hooks }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<Step>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let moved = self.position.bytes();
            let mut allowed = wanted;
            if let Some(rate) = self.course.bytes_per_second {
                let due = Duration::from_secs_f64(moved as f64 / rate as f64);
                let early = due.saturating_sub(self.began.elapsed());
                if !early.is_zero() {
                    self.pause = Some(Box::pin(sleep(early)));
                    continue;
                }
                allowed = allowed.min(SLOW_PIECE_BYTES);
            }
            let Some(&(byte, event)) = self.course.events.front() else {
                return Poll::Ready(Ok(Step::Pass(allowed)));
            };
            if byte > moved {
                let before = usize::try_from(byte - moved).unwrap_or(usize::MAX);
                return Poll::Ready(Ok(Step::Pass(allowed.min(before))));
            }
            self.course.events.pop_front();
            match event {
                Event::Flip => return Poll::Ready(Ok(Step::Flip)),
                Event::Stall => self.pause = self.hooks.pause.take(),
                Event::ForgetSessions => (self.hooks.forget_sessions)(),
                Event::Cut | Event::Fail => {
                    self.broken_by = Some(event);
                    return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                }
            }
        }
    }

    fn passed(&self, count: usize) {
        self.position.0.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// The body of an answer.
///
/// Shutting it down only flushes: the connection has an end of its own.
pub(super) struct Outgoing<'a> {
    conn: &'a mut Conn,
    pace: Pace,
}

impl<'a> Outgoing<'a> {
    pub(super) fn new(conn: &'a mut Conn, course: Course, hooks: Hooks) -> Self {
        Self { conn, pace: Pace::new(course, hooks) }
    }

    /// Where the stream is.
    pub(super) fn position(&self) -> Position {
        self.pace.position.clone()
    }

    /// The event that ended the stream, if one did.
    pub(super) fn broken_by(&self) -> Option<Event> {
        self.pace.broken_by
    }
}

impl AsyncWrite for Outgoing<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let this = &mut *self;
        let count = match ready!(this.pace.poll_step(cx, buf.len()))? {
            Step::Pass(count) => ready!(Pin::new(&mut *this.conn).poll_write(cx, &buf[..count]))?,
            Step::Flip => match Pin::new(&mut *this.conn).poll_write(cx, &[!buf[0]]) {
                Poll::Ready(count) => count?,
                Poll::Pending => {
                    this.pace.course.events.push_front((0, Event::Flip));
                    return Poll::Pending;
                }
            },
        };
        this.pace.passed(count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.conn).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// The body of a request, as long as was announced, or else until the client ends the stream.
pub(super) struct Incoming<'a> {
    conn: &'a mut Conn,
    pace: Pace,
    left_bytes: u64,
    /// The first bytes of the body.
    first: Vec<u8>,
}

/// The name of a file in a tar archive is at most so long.
const TAR_NAME_BYTES: usize = 100;

impl<'a> Incoming<'a> {
    pub(super) fn new(conn: &'a mut Conn, announced: Option<u64>, course: Course, hooks: Hooks) -> Self {
        let pace = Pace::new(course, hooks);
        Self { conn, pace, left_bytes: announced.unwrap_or(u64::MAX), first: Vec::new() }
    }

    /// The event that ended the stream, if one did.
    pub(super) fn broken_by(&self) -> Option<Event> {
        self.pace.broken_by
    }

    /// The name of the first file, if the body is an uncompressed tar archive.
    pub(super) fn first_file(&self) -> Option<String> {
        let name = self.first.split(|byte| *byte == 0).next()?;
        let is_name = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
        is_name.then(|| String::from_utf8_lossy(name).into_owned())
    }
}

impl AsyncRead for Incoming<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = usize::try_from(this.left_bytes).unwrap_or(usize::MAX).min(buf.remaining());
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        let (limit, flip) = match ready!(this.pace.poll_step(cx, left))? {
            Step::Pass(count) => (count, false),
            Step::Flip => (1, true),
        };
        let count = if limit >= buf.remaining() && !flip {
            let before = buf.filled().len();
            ready!(Pin::new(&mut *this.conn).poll_read(cx, buf))?;
            buf.filled().len() - before
        } else {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(limit));
            let read = Pin::new(&mut *this.conn).poll_read(cx, &mut part);
            if read.is_pending() && flip {
                this.pace.course.events.push_front((0, Event::Flip));
            }
            ready!(read)?;
            let count = part.filled().len();
            if flip {
                part.filled_mut().iter_mut().for_each(|byte| *byte = !*byte);
            }
            buf.advance(count);
            count
        };
        if this.first.len() < TAR_NAME_BYTES {
            let read = &buf.filled()[buf.filled().len() - count..];
            let missing = (TAR_NAME_BYTES - this.first.len()).min(read.len());
            this.first.extend_from_slice(&read[..missing]);
        }
        this.left_bytes -= count as u64;
        this.pace.passed(count);
        Poll::Ready(Ok(()))
    }
}
