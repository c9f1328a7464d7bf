//! Trying again what may pass by itself.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// How often, and after what pauses.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Tries in all, at least one.
    pub tries: u32,
    /// First pause; each further one is twice as long.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Default for Backoff {
    /// About a minute in all: a disk is let go by dom0 some seconds after an export has ended.
    fn default() -> Self {
        Self { tries: 14, first: Duration::from_millis(250), longest: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// The pause after try number `done` (from 1), or none when there is no further one.
    #[must_use]
    pub fn pause(&self, done: u32) -> Option<Duration> {
        if done >= self.tries {
            return None;
        }
        let factor = 1u32.checked_shl(done.saturating_sub(1)).unwrap_or(u32::MAX);
        Some(self.first.saturating_mul(factor).min(self.longest))
    }
}

/// Repeats `call` while its error [is transient](Error::is_transient).
///
/// # Errors
/// The last error; [`Error::Cancelled`] when `cancel` comes during a pause.
pub async fn retry<T, F, C>(backoff: Backoff, cancel: &CancellationToken, mut call: C) -> Result<T>
where
    C: FnMut() -> F,
    F: Future<Output = Result<T>>,
{
    let mut done = 0;
    loop {
        let error = match call().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        done += 1;
        let Some(pause) = backoff.pause(done).filter(|_| error.is_transient()) else { return Err(error) };
        tracing::debug!(%error, ?pause, "trying again");
        tokio::select! {
            () = cancel.cancelled() => return Err(Error::Cancelled),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use super::*;

    async fn failing(calls: &Cell<u32>, code: &str, times: u32) -> Result<u32> {
        calls.set(calls.get() + 1);
        if calls.get() <= times { Err(Error::api(code, ["v"])) } else { Ok(calls.get()) }
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_while_it_may_pass() {
        let (calls, cancel) = (Cell::new(0), CancellationToken::new());
        let done = retry(Backoff::default(), &cancel, || failing(&calls, "VDI_IN_USE", 4)).await;
        assert_eq!(done.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_once_when_it_will_not_pass() {
        let (calls, cancel) = (Cell::new(0), CancellationToken::new());
        let done = retry(Backoff::default(), &cancel, || failing(&calls, "HANDLE_INVALID", 99)).await;
        assert!(done.unwrap_err().is_gone());
        assert_eq!(calls.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_about_a_minute() {
        let (calls, cancel) = (Cell::new(0), CancellationToken::new());
        let begin = tokio::time::Instant::now();
        let done = retry(Backoff::default(), &cancel, || failing(&calls, "VDI_IN_USE", 99)).await;
        assert!(done.unwrap_err().is_vdi_in_use());
        assert_eq!(calls.get(), Backoff::default().tries);
        assert!(begin.elapsed() > Duration::from_secs(40) && begin.elapsed() < Duration::from_secs(70));
    }

    #[tokio::test(start_paused = true)]
    async fn cancel_ends_a_pause() {
        let (calls, cancel) = (Cell::new(0), CancellationToken::new());
        cancel.cancel();
        let done = retry(Backoff::default(), &cancel, || failing(&calls, "VDI_IN_USE", 99)).await;
        assert!(matches!(done, Err(Error::Cancelled)));
    }
}
