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
pub async fn retry<T, F>(backoff: Backoff, cancel: &CancellationToken, mut call: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T>,
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
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_on_while_it_may_pass() {
        let mut calls = 0;
        let done = retry(Backoff::default(), &CancellationToken::new(), async || {
            calls += 1;
            if calls < 5 { Err(Error::api("VDI_IN_USE", ["v", "destroy"])) } else { Ok(calls) }
        });
        assert_eq!(done.await.unwrap(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_at_once_or_in_the_end() {
        let mut calls = 0;
        let done = retry(Backoff::default(), &CancellationToken::new(), async || {
            calls += 1;
            Err::<(), _>(Error::api("HANDLE_INVALID", ["VDI", "v"]))
        });
        assert!(done.await.unwrap_err().is_gone());
        assert_eq!(calls, 1);
        let mut calls = 0;
        let begin = tokio::time::Instant::now();
        let done = retry(Backoff::default(), &CancellationToken::new(), async || {
            calls += 1;
            Err::<(), _>(Error::api("VDI_IN_USE", ["v"]))
        });
        assert!(done.await.unwrap_err().is_vdi_in_use());
        assert_eq!(calls, 14);
        assert!(begin.elapsed() > Duration::from_secs(40) && begin.elapsed() < Duration::from_secs(70));
    }

    #[tokio::test(start_paused = true)]
    async fn cancel_ends_a_pause() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let done = retry(Backoff::default(), &cancel, async || Err::<(), _>(Error::api("VDI_IN_USE", ["v"])));
        assert!(matches!(done.await, Err(Error::Cancelled)));
    }
}
