//! What every step of a job is given: whether to go on, where to say how far it is, where to write what it made.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use xenkeep_api::{JobId, JobResult, LogLevel, LogLine, Places, PoolSummary, Problem, Progress};

use crate::{MoverConfig, datastore::Repos, journal::Journal, progress::Board};

/// Lines that a job keeps for a server that does not answer; the oldest go first.
const LOG_LINES: usize = 10_000;

/// Lines that are handed over at once, and the bytes that they may have.
const LINES_AT_ONCE: usize = 500;
const LINES_BYTES: usize = 256 << 10;
/// What a line takes besides its text.
const LINE_BYTES: usize = 128;
/// Longest line; the server keeps no more of it.
const LINE_MAX_BYTES: usize = 4096;

/// How often is looked at which step a job is whose steps are taken elsewhere.
const STEP_EVERY: Duration = Duration::from_millis(200);

/// How often is asked again whether there is room on a host or an SR.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Why a job does not go on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stop {
    /// Someone wants it to end.
    Cancelled,
    /// It can't.
    Problem(Box<Problem>),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(Box::new(problem))
    }
}

impl Stop {
    /// The reason in words, for the log.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Cancelled => "the job was cancelled",
            Self::Problem(problem) => &problem.message,
        }
    }
}

/// The first argument of every long function. Cheap to clone; all clones are of the same job.
#[derive(Clone)]
pub(crate) struct JobContext {
    pub(crate) job: JobId,
    pub(crate) cancel: CancellationToken,
    pub(crate) board: Arc<Board>,
    pub(crate) log: Arc<Log>,
    pub(crate) journal: Journal,
    /// What has been done so far, told also by a job that ends badly.
    pub(crate) so_far: Arc<Mutex<Option<JobResult>>>,
    /// The pool, if its hosts were not where the job was told.
    pub(crate) pool: Arc<Mutex<Option<PoolSummary>>>,
    /// The task that it belongs to.
    pub(crate) task: Option<String>,
    pub(crate) config: Arc<MoverConfig>,
    /// What the mover has open.
    pub(crate) repos: Arc<Repos>,
}

impl JobContext {
    /// Begins a step: shown as progress, and written with each log line from now on.
    pub(crate) fn step(&self, name: &'static str) {
        self.board.step(name);
        tracing::debug!(job = %self.job, step = name, "step");
    }

    /// Stops here if the job is to be cancelled.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() { Err(Stop::Cancelled) } else { Ok(()) }
    }

    /// Awaits `work` unless the job is cancelled first. Only for work that may be dropped half-way: reading, waiting.
    pub(crate) async fn or_cancelled<T, E: Into<Stop>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Stop::Cancelled),
            result = work => result.map_err(Into::into),
        }
    }

    /// Waits until the job may work on a host and its SRs, as the limits of their pool say.
    pub(crate) async fn occupy(&self, places: &Places) -> Result<(), Stop> {
        let mut told: Option<String> = None;
        while let Some(problem) = self.or_cancelled(self.journal.occupy(places)).await? {
            if told.as_ref() != Some(&problem.code) {
                self.step("wait");
                self.info(problem.message);
                told = Some(problem.code);
            }
            self.or_cancelled(async {
                tokio::time::sleep(ASK_AGAIN).await;
                Ok::<_, Stop>(())
            })
            .await?;
        }
        Ok(())
    }

    /// Changes what is told of the job even if it ends badly: what has been done so far and stays done.
    pub(crate) fn so_far(&self, change: impl FnOnce(&mut Option<JobResult>)) {
        change(&mut self.so_far.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What has been done so far; it is told once.
    pub(crate) fn kept(&self) -> Option<JobResult> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells the server what the pool's hosts are now.
    pub(crate) fn found(&self, pool: PoolSummary) {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Some(pool);
    }

    /// Awaits `work`, and shows as step what `step` says meanwhile.
    pub(crate) async fn stepping<T>(&self, work: impl Future<Output = T>, step: impl Fn() -> &'static str) -> T {
        let mut ticks = tokio::time::interval(STEP_EVERY);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = ticks.tick() => {
                    if self.board.current_step() != step() {
                        self.step(step());
                    }
                }
            }
        }
    }

    /// Says what happened.
    pub(crate) fn info(&self, text: impl Into<String>) {
        self.say(LogLevel::Info, text.into());
    }

    /// Says what the administrator should look at, without making it a warning of the job.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.say(LogLevel::Warning, text.into());
    }

    /// Makes the job end as *warning* if it succeeds.
    pub(crate) fn warn(&self, problem: Problem) {
        self.say(LogLevel::Warning, problem.message.clone());
        self.log.lock().warnings.push(problem);
    }

    /// Says why the job fails.
    pub(crate) fn error(&self, text: impl Into<String>) {
        self.say(LogLevel::Error, text.into());
    }

    /// The numbers as they stand.
    pub(crate) fn progress(&self) -> Progress {
        self.board.sample()
    }

    fn say(&self, level: LogLevel, text: String) {
        let step = self.board.current_step();
        match level {
            LogLevel::Info => tracing::info!(job = %self.job, step, "{text}"),
            LogLevel::Warning => tracing::warn!(job = %self.job, step, "{text}"),
            LogLevel::Error => tracing::error!(job = %self.job, step, "{text}"),
        }
        let text = text[..text.floor_char_boundary(LINE_MAX_BYTES)].to_owned();
        self.log.push(LogLine { at: now(), level, step: step.to_owned(), text });
    }
}

/// The lines of a job that its server has not seen yet, and its warnings.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<LogInner>,
}

#[derive(Debug, Default)]
struct LogInner {
    lines: VecDeque<LogLine>,
    warnings: Vec<Problem>,
}

impl Log {
    /// Takes lines that were not handed over yet, as many as fit into one call.
    pub(crate) fn take(&self) -> Vec<LogLine> {
        let mut inner = self.lock();
        let mut left = LINES_BYTES;
        let fits = |line: &&LogLine| {
            left = left.saturating_sub(line.text.len() + LINE_BYTES);
            left > 0
        };
        // Never none of them: a single line is shortened where it is kept.
        let count = inner.lines.iter().take(LINES_AT_ONCE).take_while(fits).count().max(1);
        let count = count.min(inner.lines.len());
        inner.lines.drain(..count).collect()
    }

    /// There are lines to hand over.
    pub(crate) fn has_lines(&self) -> bool {
        !self.lock().lines.is_empty()
    }

    /// Puts back lines that could not be handed over.
    pub(crate) fn put_back(&self, lines: Vec<LogLine>) {
        let mut inner = self.lock();
        for line in lines.into_iter().rev() {
            if inner.lines.len() < LOG_LINES {
                inner.lines.push_front(line);
            }
        }
    }

    /// All warnings so far.
    pub(crate) fn warnings(&self) -> Vec<Problem> {
        self.lock().warnings.clone()
    }

    fn push(&self, line: LogLine) {
        let mut inner = self.lock();
        if inner.lines.len() == LOG_LINES {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wall time: the one place where this crate asks for it.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
