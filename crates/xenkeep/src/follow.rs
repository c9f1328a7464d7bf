//! Following a job to its end: events while they come, questions when they don't.

use std::time::Duration;

use anyhow::Context as _;
use futures::stream::{BoxStream, StreamExt};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until, timeout},
};
use xenkeep_api::{
    Job, JobId, Problem,
    http::{ApiClient, Error},
};

use crate::progress::View;

/// What `^C` means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnInterrupt {
    /// The job is ours: ask the server to cancel it and wait for its end; a second one leaves.
    Cancel,
    /// We only look on.
    Leave,
}

/// Shows a job's progress until its final state, and answers with that.
pub(crate) async fn follow(
    api: &ApiClient,
    job: Job,
    view: &mut View,
    on_interrupt: OnInterrupt,
) -> anyhow::Result<Job> {
    let id = job.id;
    let mut interrupts = Interrupts::new()?;
    let mut updates = Updates::new(api, id, Timing::default());
    let mut cancelling = false;
    view.show(&job);
    if job.state.is_final() {
        view.end();
        return Ok(job);
    }
    loop {
        tokio::select! {
            update = updates.next() => {
                let job = update.with_context(|| format!("job {id} can't be followed any more"))?;
                view.show(&job);
                if job.state.is_final() {
                    view.end();
                    return Ok(job);
                }
            }
            () = interrupts.next() => {
                if cancelling || on_interrupt == OnInterrupt::Leave {
                    view.end();
                    return Err(left(id, cancelling).into());
                }
                cancelling = true;
                view.note("cancelling: the pool is being cleaned up (^C again leaves this to the server)");
                api.cancel_job(&id.to_string()).await.with_context(|| format!("job {id} can't be cancelled"))?;
            }
        }
    }
}

fn left(id: JobId, cancelling: bool) -> Problem {
    let message =
        if cancelling { format!("job {id} is still being cancelled") } else { format!("job {id} goes on without you") };
    Problem::new("job.left", message)
        .hint(format!("`xenkeep job watch {id}` shows it, `xenkeep job list` all"))
        .about(id.to_string())
}

/// SIGINT (`^C`) and SIGTERM, which mean the same here.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
struct Timing {
    /// No event for so long: the stream may be dead, so ask.
    silence: Duration,
    /// Between two questions.
    pause: Duration,
    /// Between two attempts at a stream.
    stream_pause: Duration,
    /// How long a server may be away, for a restart say, before we give up.
    patience: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            pause: Duration::from_secs(1),
            stream_pause: Duration::from_secs(5),
            patience: Duration::from_secs(60),
        }
    }
}

/// The states of a job, from its event stream or, while that is broken, by asking again and again.
///
/// [`Updates::next`] may be dropped half-way: nothing but time is lost.
struct Updates<'a> {
    api: &'a ApiClient,
    id: String,
    timing: Timing,
    stream: Option<BoxStream<'static, Result<Job, Error>>>,
    next_stream: Instant,
    next_question: Instant,
    trouble_since: Option<Instant>,
}

impl<'a> Updates<'a> {
    fn new(api: &'a ApiClient, id: JobId, timing: Timing) -> Self {
        let now = Instant::now();
        let id = id.to_string();
        Self { api, id, timing, stream: None, next_stream: now, next_question: now, trouble_since: None }
    }

    async fn next(&mut self) -> Result<Job, Error> {
        loop {
            if let Some(job) = self.event().await {
                self.trouble_since = None;
                return Ok(job);
            }
            sleep_until(self.next_question).await;
            self.next_question = Instant::now() + self.timing.pause;
            match self.api.job(&self.id).await {
                Ok(job) => {
                    self.trouble_since = None;
                    return Ok(job);
                }
                Err(error) => {
                    let since = *self.trouble_since.get_or_insert_with(Instant::now);
                    if !error.is_transient() || since.elapsed() > self.timing.patience {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The next event; none if the stream can't be opened, breaks off, or is silent.
    async fn event(&mut self) -> Option<Job> {
        if self.stream.is_none() && Instant::now() >= self.next_stream {
            self.next_stream = Instant::now() + self.timing.stream_pause;
            self.stream = timeout(self.timing.silence, self.api.job_events(&self.id)).await.ok()?.ok();
        }
        let event = timeout(self.timing.silence, self.stream.as_mut()?.next()).await;
        if let Ok(Some(Ok(job))) = event {
            return Some(job);
        }
        if !matches!(event, Ok(None)) {
            tracing::debug!(job = self.id, "no event: asking for the job instead");
        }
        if event.is_ok() {
            self.stream = None; // a silent one may speak again
        }
        None
    }
}

#[cfg(test)]
mod tests;
