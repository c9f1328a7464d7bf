//! Hosts that go down and come back, and the change of the pool's master.

use std::sync::atomic::Ordering;

use crate::model::{Class, Ref, Value};
use crate::world::World;

impl World {
    /// Takes the host at that position down, or brings it back: connections to it are refused while it is down, and the
    /// master notices. A pool whose master is down answers nobody.
    pub fn set_host_up(&self, position: usize, up: bool) {
        let host = &self.hosts[position];
        self.db.write(|t| {
            let metrics = t.reference(host, "metrics");
            t.set(&metrics, "live", Value::Bool(up));
            t.set(host, "enabled", Value::Bool(up));
        });
        self.hosts_up[position].send_replace(up);
    }

    /// Makes the host at that position the master. Sessions end with the restart of the toolstack that this takes.
    pub fn make_master(&self, position: usize) {
        let host: &Ref = &self.hosts[position];
        self.master.store(position, Ordering::SeqCst);
        self.db.write(|t| {
            for pool in t.all(Class::Pool) {
                t.set(&pool, "master", host);
            }
        });
        self.forget_sessions();
    }
}
