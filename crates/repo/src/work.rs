//! Where the work is done: a pool of threads of our own for hashing, compressing and sealing.
//!
//! tokio's threads wait, these compute. There is one pool a process, with a thread a core, whatever the number of
//! repositories and jobs.

use std::cell::RefCell;
use std::sync::OnceLock;

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::oneshot;
use zstd::bulk::{Compressor, Decompressor};

use crate::{Error, Result};

fn pool() -> &'static ThreadPool {
    static POOL: OnceLock<ThreadPool> = OnceLock::new();
    POOL.get_or_init(|| {
        ThreadPoolBuilder::new()
            .thread_name(|index| format!("repo-work-{index}"))
            // Whoever waits for the result finds its channel closed.
            .panic_handler(|_| tracing::error!("a worker thread panicked"))
            .build()
            .expect("threads can be started")
    })
}

/// Does the work on the pool, in the order of the calls as far as the threads allow.
pub(crate) fn spawn(work: impl FnOnce() + Send + 'static) {
    pool().spawn_fifo(work);
}

/// Does the work on the pool and waits for its result.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    spawn(move || drop(sender.send(work())));
    receiver.await.map_err(|_| Error::BrokenOff("a worker thread panicked"))
}

/// Does blocking work (files) on tokio's threads for that.
pub(crate) async fn block<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::BrokenOff("the runtime shuts down"))
}

/// What a thread keeps from one chunk to the next, because it is expensive to make.
pub(crate) struct Scratch {
    pub(crate) compressor: Compressor<'static>,
    pub(crate) decompressor: Decompressor<'static>,
    /// Bytes that are only needed for a moment.
    pub(crate) buf: Vec<u8>,
    /// What was unpacked and is only looked at.
    pub(crate) raw: Vec<u8>,
}

/// zstd's fastest ordinary level: chunks of disks are many, and most time goes here.
const LEVEL: i32 = 1;

pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
            compressor: Compressor::new(LEVEL).expect("a zstd context can be made"),
            decompressor: Decompressor::new().expect("a zstd context can be made"),
            buf: Vec::new(),
            raw: Vec::new(),
        });
    }
    SCRATCH.with_borrow_mut(work)
}
