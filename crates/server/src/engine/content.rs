//! The stream of an export: the mover at one end, whoever asked for it at the other, the bytes unread in between.
//!
//! Reader and mover may come in either order; the mover waits for the reader, the reader for the mover or the end of the
//! job. The reader's stream ends well only after the job itself has: a mover that dies half-way looks like an error.

use std::collections::HashMap;
use std::sync::Mutex;

use bytes::Bytes;
use futures::Stream;
use tokio::sync::{Notify, mpsc, oneshot};
use xenkeep_api::{Job, JobId, JobKind, Problem};

use super::Engine;
use crate::Error;

/// The mover's end: bounded; pieces should have at most 1 MiB. Closing it says that all has been sent.
pub type ContentSender = mpsc::Sender<Result<Bytes, Problem>>;

/// Pieces that may be on their way.
const PIECES: usize = 4;

/// The readers that are there.
#[derive(Debug, Default)]
pub(super) struct Contents {
    readers: Mutex<HashMap<JobId, Reader>>,
    arrived: Notify,
}

#[derive(Debug)]
enum Reader {
    /// Waits for the mover.
    Waiting(oneshot::Sender<mpsc::Receiver<Result<Bytes, Problem>>>),
    /// Has met it.
    Reading,
}

/// The reader's end of an export's stream.
#[derive(Debug)]
pub struct ContentReader {
    engine: Engine,
    job: Job,
    pieces: mpsc::Receiver<Result<Bytes, Problem>>,
    _seat: Seat,
}

/// The reader's entry among the readers; leaving takes it away.
#[derive(Debug)]
struct Seat {
    engine: Engine,
    job: JobId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.engine.0.contents.lock().remove(&self.job);
    }
}

impl Contents {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Reader>> {
        // A panic between two statements leaves the map whole.
        self.readers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Engine {
    /// The mover's end of the stream of its export. Waits, not for ever, until somebody reads.
    pub async fn content(&self, job: JobId, fence: i64) -> Result<ContentSender, Error> {
        self.0.catalog.holds(job, fence).await?;
        self.until_reader(job, |engine| engine.meet_reader(job)).await
    }

    /// Looks, now and whenever a reader comes, until `look` finds what it wants.
    async fn until_reader<T>(&self, job: JobId, look: impl Fn(&Self) -> Option<T>) -> Result<T, Error> {
        let deadline = tokio::time::Instant::now() + self.0.limits.content_wait;
        loop {
            let arrived = self.0.contents.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(found) = look(self) {
                return Ok(found);
            }
            tokio::select! {
                () = arrived => {}
                () = self.0.stopping.cancelled() => return Err(Error::ShuttingDown),
                () = tokio::time::sleep_until(deadline) => return Err(Error::NoReader(job)),
            }
        }
    }

    /// Waits, not for ever, until somebody reads the stream of an export.
    pub async fn await_reader(&self, job: JobId, fence: i64) -> Result<(), Error> {
        self.0.catalog.holds(job, fence).await?;
        self.until_reader(job, |engine| engine.has_reader(job).then_some(())).await
    }

    fn has_reader(&self, job: JobId) -> bool {
        matches!(self.0.contents.lock().get(&job), Some(Reader::Waiting(_)))
    }

    fn meet_reader(&self, job: JobId) -> Option<ContentSender> {
        let mut readers = self.0.contents.lock();
        let reader = readers.get_mut(&job)?;
        let Reader::Waiting(waiting) = std::mem::replace(reader, Reader::Reading) else { return None };
        let (sender, pieces) = mpsc::channel(PIECES);
        // It may just have gone: then its seat goes too.
        waiting.send(pieces).ok()?;
        Some(sender)
    }

    /// The reader's end of the stream of an export. Waits until the mover has begun, or the job has ended without.
    pub async fn read_content(&self, id_or_prefix: &str) -> Result<ContentReader, Error> {
        let job = self.job(id_or_prefix).await?;
        if job.spec.kind() != JobKind::Export {
            let message = format!("job {} is no export: there is nothing to read", job.id);
            return Err(Error::Conflict(Problem::new("export.none", message).about(job.id.to_string())));
        }
        let (meet, met) = oneshot::channel();
        let seat = self.take_seat(job.id, meet)?;
        tokio::select! {
            biased;
            Ok(pieces) = met => Ok(ContentReader { engine: self.clone(), job, pieces, _seat: seat }),
            ended = self.wait_for_end(job.id) => Err(over(&ended?)),
        }
    }

    fn take_seat(
        &self,
        job: JobId,
        meet: oneshot::Sender<mpsc::Receiver<Result<Bytes, Problem>>>,
    ) -> Result<Seat, Error> {
        let mut readers = self.0.contents.lock();
        if readers.contains_key(&job) {
            let problem = Problem::new("export.taken", format!("somebody else is reading the stream of job {job}"));
            return Err(Error::Conflict(problem.hint("start another export").about(job.to_string())));
        }
        readers.insert(job, Reader::Waiting(meet));
        drop(readers);
        self.0.contents.arrived.notify_waiters();
        Ok(Seat { engine: self.clone(), job })
    }
}

impl ContentReader {
    /// The job whose stream it is.
    #[must_use]
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The pieces, until the job has ended well; an error if it did not, or sent one.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, Problem>> + Send + 'static {
        futures::stream::unfold(Some(self), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Some(Ok(piece)) => Some((Ok(piece), Some(reader))),
                Some(Err(problem)) => Some((Err(problem), None)),
                None => None,
            }
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        let ended = tokio::select! {
            biased;
            piece = self.pieces.recv() => match piece {
                Some(piece) => return Some(piece),
                None => self.engine.wait_for_end(self.job.id).await,
            },
            // A mover may be stuck with its end open, long after its lease is lost.
            ended = self.engine.wait_for_end(self.job.id) => ended,
        };
        match ended {
            // The last pieces may still be on their way when the job has ended.
            Ok(job) if job.state.is_good() => self.pieces.recv().await,
            Ok(job) => Some(Err(over(&job).problem())),
            Err(error) => Some(Err(error.problem())),
        }
    }
}

/// Why there is nothing (more) to read.
fn over(job: &Job) -> Error {
    if job.state.is_good() {
        let problem = Problem::new("export.over", format!("the stream of job {} has been read already", job.id));
        return Error::Conflict(problem.hint("start another export").about(job.id.to_string()));
    }
    Error::JobFailed(super::jobs::failure(job))
}
