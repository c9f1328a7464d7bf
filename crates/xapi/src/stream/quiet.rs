//! Noticing that a stream has fallen silent.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Rings when a stream that we wait for is silent for too long. It runs only while we wait: a slow reader of ours is no
/// silence of the peer, and a busy stream pays nothing.
#[derive(Debug)]
pub(super) struct Quiet {
    after: Duration,
    alarm: Pin<Box<Sleep>>,
    armed: bool,
}

impl Quiet {
    pub(super) fn new(after: Duration) -> Self {
        Self { after, alarm: Box::pin(sleep(after)), armed: false }
    }

    pub(super) fn after(&self) -> Duration {
        self.after
    }

    /// The stream did something.
    pub(super) fn heard(&mut self) {
        self.armed = false;
    }

    /// The stream is pending: ready when it has been so for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            self.armed = true;
            self.alarm.as_mut().reset(Instant::now() + self.after);
        }
        self.alarm.as_mut().poll(cx)
    }
}
