//! How many transfers go on at once: for tests of who asks for how many.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Counts transfers by their path, from the request to the end of the task.
#[derive(Debug, Default)]
pub struct Transfers(Mutex<BTreeMap<&'static str, Count>>);

/// How many there are of a kind.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Count {
    /// That go on now.
    pub now: usize,
    /// That have gone on at once, at most.
    pub most: usize,
}

/// One of them, for as long as it goes on.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    all: &'a Transfers,
    path: &'static str,
}

impl Transfers {
    pub(crate) fn begin(&self, path: &'static str) -> Transfer<'_> {
        let mut counts = self.lock();
        let count = counts.entry(path).or_default();
        count.now += 1;
        count.most = count.most.max(count.now);
        Transfer { all: self, path }
    }

    /// Each path that was asked for, such as `/export`.
    pub fn counts(&self) -> BTreeMap<&'static str, Count> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.all.lock().get_mut(self.path) {
            count.now -= 1;
        }
    }
}
