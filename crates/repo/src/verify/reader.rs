//! Reads packs whole: a few ahead of those that are being judged, no more than memory and the throttle allow.

use std::mem;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;
use xenkeep_disk::buffers::{Buffer, Buffers};

use crate::id::Id;
use crate::store::{Name, Store};
use crate::{Error, Result};

/// Bytes of packs in memory at once.
const BUDGET_BYTES: usize = 168 << 20;

/// An ordinary pack, with its header.
const PACK_BYTES: usize = 33 << 20;

/// Longer packs are not read whole. restic's are never longer than 128 MiB and a chunk.
pub(super) const MAX_PACK_BYTES: u64 = 256 << 20;

pub(super) struct Reader<'a> {
    store: &'a dyn Store,
    budget: Semaphore,
    memory: Buffers,
    throttle: Throttle,
}

/// A pack in memory.
pub(super) struct PackFile<'a> {
    pub(super) bytes: Buffer,
    pub(super) permit: SemaphorePermit<'a>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(store: &'a dyn Store, bytes_per_second: Option<u64>) -> Self {
        let throttle = Throttle { bytes_per_second, free_at: Mutex::new(Instant::now()) };
        Reader {
            store,
            budget: Semaphore::new(BUDGET_BYTES),
            memory: Buffers::new(BUDGET_BYTES / PACK_BYTES),
            throttle,
        }
    }

    /// Reads a part of a pack, which is damaged if it is shorter.
    pub(super) async fn read(&self, pack: Id, offset: u64, len: u64) -> Result<PackFile<'_>> {
        let too_long = || Error::Invalid("a pack of more than 256 MiB is not read whole".to_owned());
        let len = usize::try_from(len).ok().filter(|len| *len as u64 <= MAX_PACK_BYTES).ok_or_else(too_long)?;
        let permits = u32::try_from(len.min(BUDGET_BYTES)).expect("the budget is below 4 GiB");
        let permit = self.budget.acquire_many(permits).await.map_err(|_| Error::BrokenOff("the verification ended"))?;
        self.throttle.wait(len as u64).await;
        let mut bytes = self.memory.take(len.max(PACK_BYTES));
        *bytes = self.store.get_range(Name::Pack(pack), offset, len, mem::take(&mut *bytes)).await?;
        Ok(PackFile { bytes, permit })
    }
}

/// Lets bytes through at a given speed.
struct Throttle {
    bytes_per_second: Option<u64>,
    free_at: Mutex<Instant>,
}

impl Throttle {
    async fn wait(&self, bytes: u64) {
        let Some(speed) = self.bytes_per_second else { return };
        let takes = Duration::from_secs_f64(bytes as f64 / speed.max(1) as f64);
        let turn = {
            let mut free_at = self.free_at.lock().expect("no panic while held");
            let turn = (*free_at).max(Instant::now());
            *free_at = turn + takes;
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_throttle_lets_bytes_through_at_its_speed() {
        let throttle = Throttle { bytes_per_second: Some(1000), free_at: Mutex::new(Instant::now()) };
        let start = Instant::now();
        for _ in 0..4 {
            throttle.wait(500).await;
        }
        // The fourth begins when three have had their time.
        assert_eq!(start.elapsed().as_millis(), 1500);
        let open = Throttle { bytes_per_second: None, free_at: Mutex::new(Instant::now()) };
        open.wait(u64::MAX).await;
        assert_eq!(start.elapsed().as_millis(), 1500);
    }
}
