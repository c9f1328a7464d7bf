//! The rules of the queue, and which mover may do what: both together say who gets which job.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xenkeep_api::{JobKind, Problem};
use xenkeep_catalog::{QueueEntry, Rules, Standing, Verdict};

use super::Engine;
use super::queue::Turn;
use super::roster::{Needs, Roster};
use crate::{Error, Limits};

/// Who waits for work at one moment, and who may do what.
#[derive(Debug)]
pub(super) struct Choice {
    roster: Arc<Roster>,
    /// The movers that wait for a job.
    waiting: Vec<String>,
    /// The roster may be older than a job that waits.
    cached: bool,
    /// A job was left alone because of that.
    stale: AtomicBool,
}

/// A [`Choice`] under the rules of the queue.
#[derive(Debug)]
pub(super) struct Placing<'a> {
    choice: &'a Choice,
    turn: Turn<'a>,
}

impl Engine {
    /// Who may do what, as it was at most a second ago.
    pub(super) async fn choice(&self) -> Result<Choice, Error> {
        let roster = self.roster().await?;
        Ok(Choice { roster, waiting: self.waiting_movers(), cached: true, stale: AtomicBool::new(false) })
    }

    /// Who may do what now; none if that is what `choice` has said.
    pub(super) async fn fresher(&self, choice: &Choice) -> Result<Option<Choice>, Error> {
        if !choice.stale.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.forget_roster();
        Ok(Some(Choice { cached: false, ..self.choice().await? }))
    }

    pub(super) fn turn(&self) -> Turn<'_> {
        Turn { now: self.0.clock.now(), limits: self.limits() }
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }
}

impl Choice {
    pub(super) fn under<'a>(&'a self, turn: Turn<'a>) -> Placing<'a> {
        Placing { choice: self, turn }
    }
}

impl Placing<'_> {
    /// Why a queued job waits.
    pub(super) fn reason(&self, standing: &Standing, job: &QueueEntry) -> Problem {
        let reason = self.turn.reason(standing, job);
        // Whatever else is in its way: what says the most is that nobody is there.
        if reason.code == "queue.turn" { self.choice.roster.nobody(needs(job)).unwrap_or(reason) } else { reason }
    }
}

impl Rules for Placing<'_> {
    fn rank(&self, kind: JobKind) -> u8 {
        self.turn.rank(kind)
    }

    fn judge(&self, standing: &Standing, mover: &str, job: &QueueEntry) -> Verdict {
        let (choice, needs) = (self.choice, needs(job));
        if choice.cached && !choice.roster.knows(needs) {
            choice.stale.store(true, Ordering::Relaxed);
            return Verdict::LaneWaits(Problem::new("queue.turn", "it has only just come"));
        }
        // Jobs of a lane need the same pool and datastores, and so the same movers.
        if let Err(problem) = choice.roster.eligible(mover, needs) {
            return Verdict::LaneWaits(problem);
        }
        let running = |name: &str| standing.running.iter().filter(|other| other.mover.as_deref() == Some(name)).count();
        if choice.roster.leaves(mover, needs, &choice.waiting, &running) {
            return Verdict::LaneWaits(Problem::new("queue.turn", "another mover has less to do"));
        }
        self.turn.judge(standing, mover, job)
    }
}

fn needs(job: &QueueEntry) -> Needs {
    Needs { client: job.client, datastore: job.datastore, target: job.target }
}
