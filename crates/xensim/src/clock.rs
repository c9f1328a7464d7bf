//! The pool's clock, which tests may push forward, and how long things take.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;

/// Wall time plus a shift. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    shift_seconds: Arc<AtomicI64>,
}

impl Clock {
    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        Timestamp::now().as_second().saturating_add(self.shift_seconds.load(Ordering::Relaxed))
    }

    /// Moves the clock; connections and sleeps don't notice, but what goes by age does.
    pub fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        self.shift_seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Turns the clock back, for a pool that has a past. Best before anything has happened on it.
    pub fn turn_back(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        self.shift_seconds.fetch_sub(seconds, Ordering::Relaxed);
    }
}

/// How long the slow parts of a pool take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The pause before a wrong password is answered.
    pub wrong_password: Duration,
    /// From the start of a domain until the guest's tools report.
    pub guest_boot: Duration,
    /// What a start or resume takes.
    pub start: Duration,
    /// What a clean shutdown or suspend takes.
    pub shutdown: Duration,
    /// How long a guest may take to quiesce.
    pub quiesce: Duration,
    /// From the end of a restored database until the master has restarted with it.
    pub restart: Duration,
    /// How often old tasks and sessions are swept out.
    pub sweep: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            wrong_password: Duration::from_secs(5),
            guest_boot: Duration::from_secs(2),
            start: Duration::from_millis(300),
            shutdown: Duration::from_millis(300),
            quiesce: Duration::from_secs(600),
            restart: Duration::from_secs(30),
            sweep: Duration::from_secs(30),
        }
    }
}
