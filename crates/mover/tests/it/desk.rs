//! Whoever hands out jobs, in memory: what a server does, without a server.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;
use xenkeep_api::*;
use xenkeep_mover::{ContentSink, LeaseError, Leases};

/// Nothing in a test takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the mover is struck dead: it never comes back from that call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strike {
    /// Before the call of that number (from 1) on the journal is kept.
    BeforeJournal(usize),
    /// After it was kept, before the mover hears of it.
    AfterJournal(usize),
    /// When that many bytes of disks have been dealt with.
    AtBytes(u64),
    /// Instead of the report.
    AtReport,
}

#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    queue: VecDeque<LeasedJob>,
    fences: HashMap<JobId, i64>,
    journals: HashMap<JobId, Vec<JournalEntry>>,
    journal_calls: usize,
    reports: HashMap<JobId, JobReport>,
    logs: HashMap<JobId, Vec<LogLine>>,
    progress: HashMap<JobId, Progress>,
    cancelled: HashSet<JobId>,
    cancel_at_step: Option<&'static str>,
    give_away_at_step: Option<&'static str>,
    lasts: Option<Duration>,
    cancel_at_journal: Option<usize>,
    strike: Option<Strike>,
    struck: bool,
    unavailable: usize,
    places: HashMap<JobId, Places>,
    no_room: VecDeque<Problem>,
    readers: HashMap<JobId, mpsc::Sender<Result<bytes::Bytes, Problem>>>,
}

impl Desk {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn queue(&self, job: LeasedJob) {
        let mut state = self.lock();
        state.fences.insert(job.id, job.fence);
        state.queue.push_back(job);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Strikes the mover dead at that point of the next job.
    pub(crate) fn strike(&self, strike: Strike) {
        let mut state = self.lock();
        state.journal_calls = 0;
        state.strike = Some(strike);
        state.struck = false;
    }

    /// Takes the strike away; true if it had struck.
    pub(crate) fn no_strike(&self) -> bool {
        let mut state = self.lock();
        state.strike = None;
        std::mem::take(&mut state.struck)
    }

    pub(crate) fn cancel(&self, job: JobId) {
        self.lock().cancelled.insert(job);
    }

    /// Gives whatever job shows that step to another mover, before this one hears of it.
    pub(crate) fn give_away_at_step(&self, step: &'static str) {
        self.lock().give_away_at_step = Some(step);
    }

    /// Waits until that has happened.
    pub(crate) async fn given_away(&self) {
        let given = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.lock().give_away_at_step.is_none() {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, given).await.expect("the job comes so far");
    }

    /// From now on jobs are lent for so long.
    pub(crate) fn lasts(&self, lease: Duration) {
        self.lock().lasts = Some(lease);
    }

    /// Cancels whatever job shows that step.
    pub(crate) fn cancel_at_step(&self, step: &'static str) {
        self.lock().cancel_at_step = Some(step);
    }

    /// Cancels whatever job makes that call (from 1) on its journal; the call returns when the job has heard.
    pub(crate) fn cancel_at_journal(&self, call: usize) {
        let mut state = self.lock();
        state.journal_calls = 0;
        state.cancel_at_journal = Some(call);
    }

    pub(crate) fn journal_calls(&self) -> usize {
        self.lock().journal_calls
    }

    /// Takes the job away from the mover.
    pub(crate) fn take_away(&self, job: JobId) {
        self.lock().fences.insert(job, i64::MAX);
    }

    /// The next calls fail.
    pub(crate) fn unavailable(&self, calls: usize) {
        self.lock().unavailable = calls;
    }

    /// The next who says where it works is told to wait.
    pub(crate) fn no_room(&self, problem: Problem) {
        self.lock().no_room.push_back(problem);
    }

    /// Where a job has said that it works.
    pub(crate) fn places(&self, job: JobId) -> Places {
        self.lock().places.get(&job).cloned().unwrap_or_default()
    }

    pub(crate) fn journal(&self, job: JobId) -> Vec<JournalEntry> {
        self.lock().journals.get(&job).cloned().unwrap_or_default()
    }

    pub(crate) fn log(&self, job: JobId) -> Vec<LogLine> {
        self.lock().logs.get(&job).cloned().unwrap_or_default()
    }

    pub(crate) fn read(&self, job: JobId) -> mpsc::Receiver<Result<bytes::Bytes, Problem>> {
        let (sender, receiver) = mpsc::channel(4);
        self.lock().readers.insert(job, sender);
        receiver
    }

    /// The report of a job; none when the mover was struck dead before.
    pub(crate) async fn report_or_death(&self, job: JobId) -> Option<JobReport> {
        let found = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                {
                    let state = self.lock();
                    if let Some(report) = state.reports.get(&job) {
                        return Some(report.clone());
                    }
                    if state.struck {
                        return None;
                    }
                }
                changed.await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await;
        found.unwrap_or_else(|_| panic!("no report of {job}; log: {:#?}", self.log(job)))
    }

    pub(crate) async fn report(&self, job: JobId) -> JobReport {
        self.report_or_death(job).await.expect("the mover lives")
    }

    /// Waits until `condition` holds for the progress of a job.
    pub(crate) async fn until(&self, job: JobId, condition: impl Fn(&Progress) -> bool) {
        let seen = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if self.lock().progress.get(&job).is_some_and(&condition) {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("the job comes so far");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn journal_call(&self, job: JobId, fence: i64, apply: impl FnOnce(&mut State)) -> Result<(), LeaseError> {
        let (dead, cancelled) = {
            let mut state = self.lock();
            state.check(job, fence)?;
            state.journal_calls += 1;
            let call = state.journal_calls;
            let dead = match state.strike {
                Some(Strike::BeforeJournal(at)) if at == call => true,
                Some(Strike::AfterJournal(at)) if at == call => {
                    apply(&mut state);
                    true
                }
                _ => {
                    apply(&mut state);
                    false
                }
            };
            state.struck |= dead;
            let cancelled = state.cancel_at_journal == Some(call);
            if cancelled {
                state.cancelled.insert(job);
            }
            (dead, cancelled)
        };
        if dead {
            self.changed.notify_waiters();
            std::future::pending::<()>().await;
        }
        if cancelled {
            // Two renewals later the job has heard of it for sure.
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        Ok(())
    }
}

impl State {
    fn check(&mut self, job: JobId, fence: i64) -> Result<(), LeaseError> {
        if self.unavailable > 0 {
            self.unavailable -= 1;
            return Err(LeaseError::Unavailable("no server today".into()));
        }
        if self.fences.get(&job) == Some(&fence) { Ok(()) } else { Err(LeaseError::Lost) }
    }
}

#[async_trait]
impl Leases for Desk {
    fn lasts(&self) -> Option<Duration> {
        self.lock().lasts
    }

    async fn lease(&self) -> Result<Option<LeasedJob>, LeaseError> {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if let Some(job) = self.lock().queue.pop_front() {
            return Ok(Some(job));
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), changed).await;
        Ok(self.lock().queue.pop_front())
    }

    async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, LeaseError> {
        let (dead, directive) = {
            let mut state = self.lock();
            if state.give_away_at_step.is_some_and(|step| step == progress.step) {
                state.give_away_at_step = None;
                state.fences.insert(job, i64::MAX);
                self.changed.notify_waiters();
            }
            state.check(job, fence)?;
            state.logs.entry(job).or_default().extend(log);
            state.progress.insert(job, progress.clone());
            if state.cancel_at_step.is_some_and(|step| step == progress.step) {
                state.cancel_at_step = None;
                state.cancelled.insert(job);
            }
            let dead = matches!(state.strike, Some(Strike::AtBytes(at)) if progress.done_bytes >= at);
            state.struck |= dead;
            let cancelled = state.cancelled.contains(&job);
            (dead, if cancelled { Directive::Cancel } else { Directive::Continue })
        };
        self.changed.notify_waiters();
        if dead {
            std::future::pending::<()>().await;
        }
        Ok(directive)
    }

    async fn occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, LeaseError> {
        let mut state = self.lock();
        state.check(job, fence)?;
        state.places.insert(job, places.clone());
        Ok(state.no_room.pop_front())
    }

    async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), LeaseError> {
        let entry = entry.clone();
        self.journal_call(job, fence, move |state| {
            let known = state.journals.values_mut().flatten().find(|known| known.id == entry.id);
            match known {
                Some(known) => *known = entry,
                None => state.journals.entry(job).or_default().push(entry),
            }
        })
        .await
    }

    async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), LeaseError> {
        self.journal_call(job, fence, move |state| {
            for journal in state.journals.values_mut() {
                journal.retain(|known| known.id != entry);
            }
        })
        .await
    }

    async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), LeaseError> {
        let dead = {
            let mut state = self.lock();
            state.check(job, fence)?;
            let dead = state.strike == Some(Strike::AtReport);
            state.struck |= dead;
            if !dead {
                state.reports.insert(job, report.clone());
            }
            dead
        };
        self.changed.notify_waiters();
        if dead {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    async fn content(&self, job: JobId, fence: i64) -> Result<ContentSink, LeaseError> {
        let mut state = self.lock();
        state.check(job, fence)?;
        state.readers.remove(&job).map(ContentSink::new).ok_or(LeaseError::NoReader)
    }
}

/// A mover's own line to the desk. Once it is cut nothing comes back: threads of a mover that is being killed may run on
/// for an instant, and must not take the job that is meant for its successor.
pub(crate) struct Line {
    desk: Arc<Desk>,
    is_cut: AtomicBool,
}

impl Line {
    pub(crate) fn to(desk: &Arc<Desk>) -> Self {
        Self { desk: Arc::clone(desk), is_cut: AtomicBool::new(false) }
    }

    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    async fn whole(&self) -> &Desk {
        if self.is_cut.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        &self.desk
    }
}

#[async_trait]
impl Leases for Line {
    async fn lease(&self) -> Result<Option<LeasedJob>, LeaseError> {
        let leased = self.whole().await.lease().await?;
        if let Some(job) = leased.clone().filter(|_| self.is_cut.load(Ordering::SeqCst)) {
            self.desk.queue(job);
        }
        self.whole().await;
        Ok(leased)
    }

    async fn renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, LeaseError> {
        self.whole().await.renew(job, fence, progress, log).await
    }

    async fn occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, LeaseError> {
        self.whole().await.occupy(job, fence, places).await
    }

    async fn journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), LeaseError> {
        self.whole().await.journal_write(job, fence, entry).await
    }

    async fn journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), LeaseError> {
        self.whole().await.journal_clear(job, fence, entry).await
    }

    async fn finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), LeaseError> {
        self.whole().await.finish(job, fence, report).await
    }

    async fn content(&self, job: JobId, fence: i64) -> Result<ContentSink, LeaseError> {
        self.whole().await.content(job, fence).await
    }
}
