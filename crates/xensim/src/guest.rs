//! Guests that write to their disks while they run, and so while they are backed up.

pub(crate) mod domain;
pub(crate) mod hook;
pub(crate) mod memory;

pub use self::hook::HOOK_KEY;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::model::{Class, Ref, Tables};
use crate::storage;
use crate::world::World;

/// Guests write pages of this size, at multiples of it.
const PAGE_BYTES: u64 = 4096;

/// How often a writer wakes up.
const TICK: Duration = Duration::from_millis(20);

/// How a guest writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriterSpec {
    /// Whether it writes at all.
    pub on: bool,
    /// How much.
    #[serde(default = "default_rate")]
    pub bytes_per_second: u64,
    /// The same seed gives the same writes.
    #[serde(default)]
    pub seed: u64,
    /// Writes only to the part of each disk that begins here.
    #[serde(default)]
    pub from_byte: u64,
}

fn default_rate() -> u64 {
    4 << 20
}

/// What a guest has written so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Written {
    /// Whether it goes on writing.
    pub on: bool,
    /// Number of pages.
    pub writes: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Writes that failed, because the storage was full.
    pub failed: u64,
}

/// All writers of a pool. Clones are handles to the same.
#[derive(Clone)]
pub struct Guests {
    world: World,
    writers: Arc<Mutex<HashMap<Ref, Writer>>>,
}

struct Writer {
    stop: CancellationToken,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    writes: AtomicU64,
    bytes: AtomicU64,
    failed: AtomicU64,
}

impl Guests {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone(), writers: Arc::default() }
    }

    /// Lets a guest write from now on, or stops it. It writes only while its machine runs.
    pub fn set(&self, vm: &Ref, spec: &WriterSpec) {
        let mut writers = self.lock();
        if let Some(writer) = writers.get(vm) {
            writer.stop.cancel();
        }
        if !spec.on {
            return;
        }
        let writer = Writer { stop: CancellationToken::new(), counts: Arc::default() };
        let work =
            write_on(self.world.clone(), vm.clone(), spec.clone(), writer.stop.clone(), Arc::clone(&writer.counts));
        // The pool waits for nobody here: the writer ends with its token.
        self.world.spawn(work);
        writers.insert(vm.clone(), writer);
    }

    /// What a guest has written since it was switched on.
    pub fn written(&self, vm: &Ref) -> Written {
        let writers = self.lock();
        let Some(writer) = writers.get(vm) else { return Written { on: false, writes: 0, bytes: 0, failed: 0 } };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Written {
            on: !writer.stop.is_cancelled(),
            writes: count(&writer.counts.writes),
            bytes: count(&writer.counts.bytes),
            failed: count(&writer.counts.failed),
        }
    }

    /// Stops all of them.
    pub fn stop_all(&self) {
        self.lock().values().for_each(|writer| writer.stop.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ref, Writer>> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn write_on(world: World, vm: Ref, spec: WriterSpec, stop: CancellationToken, counts: Arc<Counts>) {
    let mut rng = StdRng::seed_from_u64(spec.seed);
    let mut due_bytes = 0.0;
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        due_bytes += spec.bytes_per_second as f64 * TICK.as_secs_f64();
        let frozen = world.domains.is_frozen(&vm);
        let disks = if frozen { Vec::new() } else { world.db.read(|t| writable_disks(t, &vm)) };
        while due_bytes >= PAGE_BYTES as f64 && !disks.is_empty() && !stop.is_cancelled() {
            due_bytes -= PAGE_BYTES as f64;
            let (uuid, size) = &disks[rng.random_range(0..disks.len())];
            let pages = size.saturating_sub(spec.from_byte) / PAGE_BYTES;
            if pages == 0 {
                continue;
            }
            let offset = spec.from_byte / PAGE_BYTES * PAGE_BYTES + rng.random_range(0..pages) * PAGE_BYTES;
            let mut page = vec![0; PAGE_BYTES as usize];
            rng.fill(&mut page[..]);
            write_page(&world, uuid, offset, page, &counts).await;
        }
        due_bytes = due_bytes.min(PAGE_BYTES as f64);
    }
}

async fn write_page(world: &World, uuid: &str, offset: u64, page: Vec<u8>, counts: &Counts) {
    let (storage, uuid) = (world.storage.clone(), uuid.to_owned());
    let written = tokio::task::spawn_blocking(move || storage.write(&uuid, offset, &page)).await;
    if matches!(written, Ok(Ok(()))) {
        counts.writes.fetch_add(1, Ordering::Relaxed);
        counts.bytes.fetch_add(PAGE_BYTES, Ordering::Relaxed);
    } else {
        counts.failed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Uuids and sizes of the disks that a running machine may write to.
fn writable_disks(t: &Tables, vm: &Ref) -> Vec<(String, u64)> {
    if t.str(vm, "power_state") != "Running" {
        return Vec::new();
    }
    disks(t, vm)
        .into_iter()
        .filter(|(vbd, _)| t.str(vbd, "mode") == "RW" && t.bool(vbd, "currently_attached"))
        .map(|(_, vdi)| (t.str(&vdi, "uuid"), t.int(&vdi, "virtual_size").unsigned_abs()))
        .collect()
}

/// VBDs and VDIs of a machine's disks, in the order of their positions.
pub(crate) fn disks(t: &Tables, vm: &Ref) -> Vec<(Ref, Ref)> {
    let devices = t.references(vm, "VBDs").into_iter().filter(|vbd| t.str(vbd, "type") == "Disk");
    let mut disks: Vec<(Ref, Ref)> = devices.map(|vbd| (vbd.clone(), t.reference(&vbd, "VDI"))).collect();
    disks.retain(|(_, vdi)| t.has(Class::Vdi, vdi));
    disks.sort_by_key(|(vbd, _)| t.str(vbd, "userdevice").parse::<u64>().unwrap_or(u64::MAX));
    disks
}

/// Writes to a disk of a machine at once, whether it runs or not: what a test does to make changes.
pub(crate) fn write_once(world: &World, vm: &Ref, disk: &str, offset: u64, data: &[u8]) -> Result<(), ApiError> {
    let uuid = world.db.read(|t| {
        let found =
            disks(t, vm).into_iter().find(|(vbd, vdi)| t.str(vbd, "userdevice") == disk || t.str(vdi, "uuid") == disk);
        found.map(|(_, vdi)| t.str(&vdi, "uuid"))
    });
    let uuid = uuid.ok_or_else(|| ApiError::new("INVALID_DEVICE", [disk]))?;
    world.storage.write(&uuid, offset, data).map_err(|error: storage::Error| error.into())
}
