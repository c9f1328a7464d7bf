//! Everything that the parts of the simulator share.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::{Clock, Timing},
    config::Config,
    error::ApiError,
    fault::Faults,
    guest::domain::Domains,
    model::{Db, Ref},
    rpc::legacy::Queues,
    seed,
    storage::Storage,
    task::Workers,
    transfers::Transfers,
};

/// Where a host of the pool answers, and with which certificate.
#[derive(Clone, Debug)]
pub struct HostAddress {
    /// `host.address`: IP, with the port unless it is 443.
    pub address: String,
    /// Its certificate.
    pub certificate_pem: String,
    /// SHA-256 of the certificate: upper case hex pairs with colons.
    pub certificate_sha256: String,
    /// SHA-1 of the certificate, in the same form.
    pub certificate_sha1: String,
}

/// The state of a pool. Cheap to clone; all clones are the same pool.
#[derive(Clone, Debug)]
pub struct World(Arc<State>);

/// What a [`World`] holds.
#[derive(Debug)]
pub struct State {
    /// All objects.
    pub db: Db,
    /// All disks.
    pub storage: Storage,
    /// What goes wrong on demand.
    pub faults: Faults,
    /// What the pool was made from.
    pub config: Config,
    /// The time.
    pub clock: Clock,
    /// How long things take.
    pub timing: Timing,
    /// The hosts by position; the first one is the master at first.
    pub hosts: Vec<Ref>,
    /// Where they answer.
    pub addresses: Vec<HostAddress>,
    /// Work that goes on behind calls; it ends with the pool.
    pub background: TaskTracker,
    /// Cancelled when the pool ends.
    pub shutdown: CancellationToken,
    /// How often the master has restarted.
    pub restarts: AtomicU32,
    /// How many transfers go on.
    pub transfers: Transfers,
    pub(crate) backup_partitions: Mutex<HashMap<usize, Vec<u8>>>,
    /// Position of the master.
    pub(crate) master: AtomicUsize,
    /// Whether each host is up.
    pub(crate) hosts_up: Vec<watch::Sender<bool>>,
    pub(crate) pool: Ref,
    pub(crate) sr_configs: HashMap<Ref, usize>,
    pub(crate) workers: Workers,
    pub(crate) queues: Queues,
    pub(crate) progress_seen: Mutex<HashMap<Ref, f64>>,
    pub(crate) vtpm_contents: Mutex<HashMap<Ref, String>>,
    pub(crate) domains: Domains,
}

impl Deref for World {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl World {
    /// Fills a pool from its description; its disks still hold nothing. `addresses` are those of the hosts, in order.
    pub fn new(
        config: Config,
        storage: Storage,
        faults: Faults,
        addresses: Vec<HostAddress>,
    ) -> Result<World, ApiError> {
        let db = Db::default();
        let clock = Clock::default();
        let timing = config.timing;
        let seeded = seed::pool(&db, &storage, &config, &addresses, &clock)?;
        let hosts_up = seeded.hosts.iter().map(|_| watch::Sender::new(true)).collect();
        let world = World(Arc::new(State {
            db,
            storage,
            faults,
            config,
            clock,
            timing,
            hosts: seeded.hosts,
            addresses,
            background: TaskTracker::new(),
            shutdown: CancellationToken::new(),
            restarts: AtomicU32::new(0),
            transfers: Transfers::default(),
            backup_partitions: Mutex::default(),
            master: AtomicUsize::new(0),
            hosts_up,
            pool: seeded.pool,
            sr_configs: seeded.srs,
            workers: Workers::default(),
            queues: Queues::default(),
            progress_seen: Mutex::default(),
            vtpm_contents: Mutex::default(),
            domains: Domains::default(),
        }));
        Ok(world)
    }

    /// The master.
    pub fn master(&self) -> &Ref {
        &self.hosts[self.master_position()]
    }

    /// Position of the master.
    pub fn master_position(&self) -> usize {
        self.master.load(Ordering::SeqCst)
    }

    /// The pool object.
    pub fn pool(&self) -> &Ref {
        &self.pool
    }

    /// Fails if the pool's licence leaves a feature out, such as `Checkpoint`, which `restrict_checkpoint` takes away.
    pub(crate) fn check_licence(&self, restriction: &str, feature: &str) -> Result<(), ApiError> {
        let restricted = self.db.read(|t| t.entry(&self.pool, "restrictions", restriction));
        if restricted.as_deref() == Some("true") {
            return Err(ApiError::new("LICENCE_RESTRICTION", [feature]));
        }
        Ok(())
    }

    /// What was put on the backup partition of a host.
    pub fn backup_partition(&self, host: usize) -> Option<Vec<u8>> {
        self.backup_partitions.lock().unwrap_or_else(PoisonError::into_inner).get(&host).cloned()
    }

    pub(crate) fn set_backup_partition(&self, host: usize, archive: Vec<u8>) {
        self.backup_partitions.lock().unwrap_or_else(PoisonError::into_inner).insert(host, archive);
    }

    /// Runs something behind the calls, until it is done or the pool ends.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.background.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Starts what a pool does by itself: sweeping out old tasks and sessions.
    pub fn start_sweeping(&self) {
        let world = self.clone();
        self.spawn(async move {
            loop {
                tokio::time::sleep(world.timing.sweep).await;
                world.sweep();
            }
        });
    }
}
