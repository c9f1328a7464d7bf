//! A pool without network, for tests of calls.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use crate::{
    clock::Timing,
    config::{Config, DiskConfig, VmConfig},
    error::ApiError,
    fault::Faults,
    model::{Class, Ref, Value},
    rpc,
    storage::Storage,
    world::{HostAddress, World},
};

/// Size of the disks of the test machine.
pub(crate) const DISK_BYTES: u64 = 8 << 20;

/// A pool of a master and a member, with a machine `vm` of two disks and one interface.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) session: Value,
    pub(crate) vm: Ref,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn new() -> Bench {
        Bench::with(|_| {}).await
    }

    /// The same, with something changed in what the pool is made from.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path());
        config.timing = Timing {
            wrong_password: Duration::ZERO,
            guest_boot: Duration::ZERO,
            start: Duration::ZERO,
            shutdown: Duration::ZERO,
            quiesce: Duration::ZERO,
            restart: Duration::ZERO,
            sweep: Duration::from_secs(3600),
        };
        change(&mut config);
        let storage = Storage::new(dir.path()).unwrap();
        let address = |at: usize| HostAddress {
            address: format!("192.0.2.{at}"),
            certificate_pem: String::new(),
            certificate_sha256: "AA:BB".to_owned(),
            certificate_sha1: "CC:DD".to_owned(),
        };
        let world = World::new(config, storage, Faults::default(), vec![address(1), address(2)]).unwrap();
        let described =
            VmConfig::new("vm").with_disk(DiskConfig::empty(DISK_BYTES)).with_disk(DiskConfig::empty(DISK_BYTES));
        let (vm, _) = world.add_vm(&described, &[DISK_BYTES, DISK_BYTES]).unwrap();
        let session = Value::from(world.login("root", "xensim", "test").await.unwrap());
        Bench { world, session, vm, _dir: dir }
    }

    /// Calls the master in the name of the session.
    pub(crate) async fn call(&self, method: &str, args: impl IntoIterator<Item = Value>) -> Result<Value, ApiError> {
        let params = std::iter::once(self.session.clone()).chain(args).collect();
        rpc::call(&self.world, 0, method, params).await
    }

    /// Calls the master, and expects it to work.
    pub(crate) async fn done(&self, method: &str, args: impl IntoIterator<Item = Value>) -> Value {
        self.call(method, args).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// Calls the master, and expects it to be refused.
    pub(crate) async fn refused(&self, method: &str, args: impl IntoIterator<Item = Value>) -> (String, Vec<String>) {
        match self.call(method, args).await {
            Ok(value) => panic!("{method} worked: {value:?}"),
            Err(error) => (error.code, error.params),
        }
    }

    /// Calls the master, and takes what it answers as a reference.
    pub(crate) async fn made(&self, method: &str, args: impl IntoIterator<Item = Value>) -> Ref {
        Ref::from(self.done(method, args).await.as_str().unwrap())
    }

    pub(crate) fn text(&self, object: &Ref, field: &str) -> String {
        self.world.db.read(|t| t.str(object, field))
    }

    pub(crate) fn refs(&self, object: &Ref, field: &str) -> Vec<Ref> {
        self.world.db.read(|t| t.references(object, field))
    }

    pub(crate) fn one(&self, object: &Ref, field: &str) -> Ref {
        self.world.db.read(|t| t.reference(object, field))
    }

    pub(crate) fn default_sr(&self) -> Ref {
        self.one(self.world.pool(), "default_SR")
    }

    pub(crate) fn named(&self, class: Class, name: &str) -> Ref {
        self.world.db.read(|t| t.by_name(class, name)).remove(0)
    }

    pub(crate) fn count(&self, class: Class) -> usize {
        self.world.db.read(|t| t.count(class))
    }
}
