//! Waiting for what runs on the pool.

use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::record::{self, TaskStatus};
use crate::{Error, Json, Pool, Result, TaskRef, TaskResult, params};

/// How long one `event.from` blocks. After each silent one the task is asked itself, in case an event was lost.
const EVENTS_SECONDS: f64 = 30.0;
/// How long the pool may be late with the answer to one.
const EVENTS_GRACE: Duration = Duration::from_secs(60);
/// Between questions where events don't work.
const POLL: Duration = Duration::from_secs(1);

/// A task of the pool.
#[derive(Debug, Clone)]
pub struct Task {
    pool: Pool,
    task: TaskRef,
}

/// A reply of `event.from`, as far as it matters here.
#[derive(Deserialize)]
struct Events {
    #[serde(default)]
    events: Vec<Event>,
    token: String,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    operation: String,
    #[serde(default, rename = "ref")]
    reference: String,
    snapshot: Option<Json>,
}

impl Task {
    pub(crate) fn new(pool: Pool, task: TaskRef) -> Self {
        Self { pool, task }
    }

    /// Its reference.
    #[must_use]
    pub fn reference(&self) -> &TaskRef {
        &self.task
    }

    /// Waits for its end, and then destroys it. `on_progress` hears numbers from 0 to 1.
    ///
    /// When `cancel` comes, the task is cancelled and its end waited for. If it succeeds all the same, its result is
    /// returned as ever: something may have been made that has to be undone.
    ///
    /// # Errors
    /// What it failed with; [`Error::Cancelled`] whoever cancelled it; [`Error::TaskLost`] when the pool no longer knows it; what
    /// can happen to a connection, after some patience.
    pub async fn wait(&self, cancel: &CancellationToken, on_progress: impl FnMut(f64)) -> Result<TaskResult> {
        let ended = tokio::select! {
            ended = self.ended(on_progress) => ended?,
            () = cancel.cancelled() => {
                if let Err(error) = self.cancel().await {
                    tracing::warn!(task = %self.task, %error, "cancel not heard");
                }
                match self.ended_soon(self.pool.options().timeouts.cancel).await {
                    // it does not mind us: it goes when it ends
                    Err(Error::Cancelled) => {
                        self.destroy().await;
                        return Err(Error::Cancelled);
                    }
                    other => other?,
                }
            }
        };
        self.destroy().await;
        outcome(ended)
    }

    /// Cancels it; the end is not waited for. A task that has ended, or can't be cancelled, is none the wiser.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn cancel(&self) -> Result<()> {
        match self.pool.run("task.cancel", params![self.task]).await {
            Err(error) if error.is_gone() || error.is_api("OPERATION_NOT_ALLOWED") => Ok(()),
            other => other,
        }
    }

    /// Cancels it, waits for its end, destroys it. Some when it succeeded all the same.
    ///
    /// # Errors
    /// What can happen to a connection. That it failed is no error here.
    pub async fn abandon(&self) -> Result<Option<TaskResult>> {
        let ended = match self.cancel().await {
            Ok(()) => self.ended_soon(self.pool.options().timeouts.cancel).await,
            Err(error) => Err(error),
        };
        self.destroy().await;
        match ended {
            Ok(task) => Ok(outcome(task).ok()),
            Err(Error::TaskLost { .. } | Error::Cancelled) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the pool forget it: at once if it has ended, else when it will have. A trifle that may fail.
    pub async fn destroy(&self) {
        match self.pool.run("task.destroy", params![self.task]).await {
            Ok(()) => {}
            Err(error) if error.is_gone() => {}
            Err(error) => tracing::debug!(task = %self.task, %error, "task not destroyed"),
        }
    }

    /// Its record.
    ///
    /// # Errors
    /// [`Error::TaskLost`] when the pool no longer knows it; else as [`Pool::call`].
    pub async fn record(&self) -> Result<record::Task> {
        match self.pool.record(&self.task).await {
            Err(error) if error.is_gone() => Err(Error::TaskLost { task: self.task.clone() }),
            other => other,
        }
    }

    /// The better error for a stream that broke with `cause`: what its task failed with. The task is destroyed.
    ///
    /// The pool refuses some streams without a word on the wire, or with a page that says less than the task.
    pub async fn explain(&self, cause: Error) -> Error {
        let verdict = self.pool.options().timeouts.verdict;
        let patience = match &cause {
            // the task fails before the page is written, if it fails at all
            Error::Http { .. } => verdict.min(POLL),
            cause if cause.is_connection() => verdict,
            // the pool has not heard of whatever else went wrong, and the task will say nothing
            _ => Duration::ZERO,
        };
        let begin = Instant::now();
        let verdict = loop {
            match self.record().await {
                Ok(task) if !task.is_under_way() => break outcome(task).err(),
                Ok(_) if begin.elapsed() < patience => sleep(POLL / 4).await,
                // it stays pending for ever where the handler failed before it took it up
                Ok(_) => {
                    let _ = self.cancel().await;
                    break None;
                }
                Err(_) => break None,
            }
        };
        self.destroy().await;
        match (verdict, cause) {
            (_, cause @ Error::Cancelled) => cause,
            (Some(verdict), _) => verdict,
            (None, cause) => cause,
        }
    }

    /// Its record once it has ended, though the pool be away for a while.
    async fn ended(&self, mut on_progress: impl FnMut(f64)) -> Result<record::Task> {
        let mut token = String::new();
        let mut events_work = true;
        let mut away_since: Option<Instant> = None;
        let mut last = -1.0;
        loop {
            let seen = if events_work { self.next_event(&mut token).await } else { self.next_poll().await };
            match seen {
                Ok(Some(task)) => {
                    away_since = None;
                    if !task.is_under_way() {
                        return Ok(task);
                    }
                    if task.progress.is_finite() && task.progress > last {
                        last = task.progress;
                        on_progress(last.clamp(0.0, 1.0));
                    }
                }
                Ok(None) => away_since = None,
                // a pool that restarts refuses connections, then logins, then some calls
                Err(error) if error.is_transient() => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > self.pool.options().timeouts.outage {
                        return Err(error);
                    }
                    // a token of before a restart may be from a future that never came
                    token.clear();
                    sleep(POLL).await;
                }
                Err(error) if events_work && error.api_code().is_some() && !error.is_session_invalid() => {
                    tracing::debug!(%error, "no events, asking instead");
                    events_work = false;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn ended_soon(&self, patience: Duration) -> Result<record::Task> {
        // a pool that ignores the cancel must not hold us for ever
        timeout(patience, self.ended(|_| {})).await.unwrap_or(Err(Error::Cancelled))
    }

    /// The newest record in the next events; none when they say nothing.
    async fn next_event(&self, token: &mut String) -> Result<Option<record::Task>> {
        let class = format!("task/{}", self.task);
        let patience = Duration::from_secs_f64(EVENTS_SECONDS) + EVENTS_GRACE;
        let call = self.pool.call_within("event.from", params![[class], *token, EVENTS_SECONDS], patience);
        let reply: Events = call.await?;
        *token = reply.token;
        let mine = reply.events.into_iter().rfind(|event| event.reference == self.task.as_str());
        match mine {
            Some(event) if event.operation == "del" => Err(Error::TaskLost { task: self.task.clone() }),
            Some(Event { snapshot: Some(snapshot), .. }) => {
                let record = serde_json::from_value(snapshot);
                record.map(Some).map_err(|error| Error::Protocol {
                    address: self.pool.address(),
                    what: format!("event of a task: {error}"),
                })
            }
            _ => self.record().await.map(Some),
        }
    }

    async fn next_poll(&self) -> Result<Option<record::Task>> {
        sleep(POLL).await;
        self.record().await.map(Some)
    }
}

/// What a task that has ended came to.
fn outcome(task: record::Task) -> Result<TaskResult> {
    match task.status {
        TaskStatus::Success => Ok(TaskResult::parse(&task.result)),
        TaskStatus::Cancelled => Err(Error::Cancelled),
        _ => {
            let mut info = task.error_info.into_iter();
            match info.next() {
                Some(code) if code == "TASK_CANCELLED" => Err(Error::Cancelled),
                Some(code) => Err(Error::Api { code, params: info.collect() }),
                None => {
                    Err(Error::api("INTERNAL_ERROR", [format!("a task ended as {} without a reason", task.status)]))
                }
            }
        }
    }
}

impl Pool {
    /// Makes an empty task that a bulk stream completes. Write it down before it is used.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn task_create(&self, label: &str, description: &str) -> Result<TaskRef> {
        self.call("task.create", params![label, description]).await
    }

    /// Cancels a task; see [`Task::cancel`].
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn task_cancel(&self, task: &TaskRef) -> Result<()> {
        self.task(task.clone()).cancel().await
    }

    /// Has the pool forget a task; see [`Task::destroy`].
    pub async fn task_destroy(&self, task: &TaskRef) {
        self.task(task.clone()).destroy().await;
    }
}
