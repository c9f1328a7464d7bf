//! How long a job is still ours, by our own clock: a mover that is cut off from its server stops by itself, before the
//! job goes to another.
//!
//! The time of a lease counts from the moment at which we *asked* for it, so whatever the network did to the answer, we
//! stop first. Two clocks are read: the monotonic one, and the kernel's time since boot, which also counts while the
//! machine sleeps.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often is looked whether the time is up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The lease of one job.
#[derive(Debug)]
pub(crate) struct Fence {
    /// How long it is good for after it was asked for; for ever where the server lives and dies with us.
    lasts: Option<Duration>,
    asked: Mutex<Moment>,
}

/// A moment on this machine's clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    monotonic: Instant,
    since_boot: Option<Duration>,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { monotonic: Instant::now(), since_boot: since_boot() }
    }

    /// Time since then, by the clock that says more.
    fn elapsed(self) -> Duration {
        let monotonic = self.monotonic.elapsed();
        match (self.since_boot, since_boot()) {
            (Some(then), Some(now)) => monotonic.max(now.saturating_sub(then)),
            _ => monotonic,
        }
    }
}

/// The kernel's time since boot, in hundredths of a second.
fn since_boot() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

impl Fence {
    /// A lease of `lasts` that was asked for at `asked`. The last fifth of it is kept back: in that time what is under
    /// way comes to its end.
    pub(crate) fn new(lasts: Option<Duration>, asked: Moment) -> Self {
        Self { lasts: lasts.map(|lasts| lasts - lasts / 5), asked: Mutex::new(asked) }
    }

    /// The lease was renewed, as asked for at `asked`.
    pub(crate) fn renewed(&self, asked: Moment) {
        let mut known = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.monotonic > known.monotonic {
            *known = asked;
        }
    }

    /// The job is still ours.
    pub(crate) fn holds(&self) -> bool {
        let asked = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        self.lasts.is_none_or(|lasts| asked.elapsed() < lasts)
    }

    /// Returns when the job is ours no more.
    pub(crate) async fn lost(&self) {
        while self.holds() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(back: Duration) -> Moment {
        let now = Moment::now();
        Moment {
            monotonic: now.monotonic.checked_sub(back).unwrap_or(now.monotonic),
            since_boot: now.since_boot.map(|since| since.saturating_sub(back)),
        }
    }

    #[test]
    fn holds_for_four_fifths_of_a_lease_from_the_question_on() {
        let lease = Some(Duration::from_secs(1000));
        assert!(Fence::new(lease, ago(Duration::from_secs(0))).holds());
        assert!(Fence::new(lease, Moment::now()).holds());
        let fence = Fence::new(Some(Duration::from_millis(100)), ago(Duration::from_secs(2)));
        assert!(!fence.holds());
        fence.renewed(ago(Duration::from_secs(1)));
        assert!(!fence.holds(), "an answer to an old question");
        assert!(Fence::new(None, ago(Duration::from_secs(2))).holds());
    }

    #[test]
    fn time_asleep_counts() {
        // The monotonic clock stood still while the machine slept for an hour.
        let now = Moment::now();
        let Some(since) = now.since_boot else { return };
        let fence = Fence::new(Some(Duration::from_secs(60)), now);
        assert!(fence.holds());
        let asleep =
            Moment { since_boot: since.checked_sub(Duration::from_secs(3600)).or(Some(Duration::ZERO)), ..now };
        assert!(asleep.elapsed() >= since.min(Duration::from_secs(3600)));
    }
}
