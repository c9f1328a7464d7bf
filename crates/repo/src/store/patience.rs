//! A store that is asked again when it fails for a reason that may pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Kind, Name, Store};
use crate::id::Id;
use crate::{Error, Result};

/// How often something is tried, and when we give up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The first pause; each is twice as long as the one before.
    pub(crate) first_pause: Duration,
    /// The longest pause.
    pub(crate) longest_pause: Duration,
    /// When we give up on a store that has done something for us before.
    pub(crate) give_up_after: Duration,
    /// When we give up on one that never has: whoever waits has probably mistyped its address.
    pub(crate) give_up_first_after: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            give_up_after: Duration::from_secs(3 * 60),
            give_up_first_after: Duration::from_secs(8),
        }
    }
}

/// The attempts at one thing.
struct Attempts {
    patience: Patience,
    started: Instant,
    pause: Duration,
}

impl Attempts {
    fn new(patience: Patience) -> Self {
        Attempts { patience, started: Instant::now(), pause: patience.first_pause }
    }

    /// Waits for the next attempt; false when it is time to give up.
    async fn next(&mut self, is_known: bool) -> bool {
        let patience = &self.patience;
        let limit = if is_known { patience.give_up_after } else { patience.give_up_first_after };
        // Many that were refused at the same time shall not come back at the same time.
        let pause = self.pause.mul_f64(rand::random_range(0.5..1.0));
        if self.started.elapsed() + pause > limit {
            return false;
        }
        tokio::time::sleep(pause).await;
        self.pause = (self.pause * 2).min(patience.longest_pause);
        true
    }
}

pub(crate) struct Patient {
    store: Arc<dyn Store>,
    patience: Patience,
    /// Has it ever done what it was asked?
    is_known: AtomicBool,
}

impl Patient {
    pub(crate) fn over(store: Arc<dyn Store>, patience: Patience) -> Arc<dyn Store> {
        Arc::new(Patient { store, patience, is_known: AtomicBool::new(false) })
    }

    /// True if it shall be tried once more, after a pause.
    async fn again<T>(&self, what: &str, result: &Result<T>, attempts: &mut Attempts) -> bool {
        let error = match result {
            Err(error) if error.is_transient() => error,
            // Neither does it do what it was asked, nor does it say that something is not there.
            Err(Error::Refused { .. }) => return false,
            _ => {
                self.is_known.store(true, Ordering::Relaxed);
                return false;
            }
        };
        let again = attempts.next(self.is_known.load(Ordering::Relaxed)).await;
        if again {
            tracing::info!(error = error as &dyn std::error::Error, "{what} is tried again");
        }
        again
    }
}

/// Does something until it goes well, is refused, or we have waited long enough.
macro_rules! patiently {
    ($self:ident, $what:expr, $attempt:expr) => {{
        let mut attempts = Attempts::new($self.patience);
        loop {
            let result = $attempt.await;
            if !$self.again($what, &result, &mut attempts).await {
                break result;
            }
        }
    }};
}

#[async_trait]
impl Store for Patient {
    async fn prepare(&self) -> Result<Vec<String>> {
        patiently!(self, "preparing the place", self.store.prepare())
    }

    async fn sweep(&self) {
        self.store.sweep().await;
    }

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        patiently!(self, "a write", self.store.put(name, content.clone()))
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        patiently!(self, "a read", self.store.get(name, max_bytes))
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        // What a failure does to the buffer is no matter: the next attempt takes a new one.
        let mut buffer = Some(buffer);
        patiently!(self, "a read", self.store.get_range(name, offset, len, buffer.take().unwrap_or_default()))
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        patiently!(self, "a look", self.store.len(name))
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        patiently!(self, "a listing", self.store.list(kind))
    }

    async fn remove(&self, name: Name) -> Result<()> {
        patiently!(self, "a removal", self.store.remove(name))
    }

    fn remove_now(&self, name: Name) {
        self.store.remove_now(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_end() {
        for (is_known, limit, at_least) in [(true, 180, 12), (false, 8, 4)] {
            let started = Instant::now();
            let mut attempts = Attempts::new(Patience::default());
            let (mut count, mut last) = (0, Duration::ZERO);
            loop {
                let before = Instant::now();
                if !attempts.next(is_known).await {
                    break;
                }
                last = before.elapsed();
                count += 1;
            }
            assert!(started.elapsed() <= Duration::from_secs(limit));
            assert!((at_least..40).contains(&count), "{count} attempts");
            assert!(last >= Duration::from_secs(1) && last <= Duration::from_secs(15), "{last:?}");
        }
    }
}
