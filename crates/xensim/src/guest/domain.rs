//! What there is of a machine only while its domain lives: what is in its memory, and whether it is frozen.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{model::Ref, world::World};

/// A domain.
#[derive(Debug, Clone, Default)]
pub(crate) struct Domain {
    /// All of its memory comes of this.
    pub(crate) memory: u64,
    /// Who has its file systems frozen: nothing is written meanwhile.
    pub(crate) frozen_by: Option<String>,
    /// The request of a backup that its hook has seen last.
    pub(crate) request: String,
}

/// All domains, by their machines.
#[derive(Debug, Default)]
pub(crate) struct Domains(Mutex<HashMap<Ref, Domain>>);

impl Domains {
    /// A machine begins to run with this in its memory.
    pub(crate) fn begin(&self, vm: &Ref, memory: u64) {
        self.lock().insert(vm.clone(), Domain { memory, ..Domain::default() });
    }

    /// A machine runs no more; gives what its domain was.
    pub(crate) fn end(&self, vm: &Ref) -> Option<Domain> {
        self.lock().remove(vm)
    }

    /// The domain of a machine, if it lives.
    pub(crate) fn get(&self, vm: &Ref) -> Option<Domain> {
        self.lock().get(vm).cloned()
    }

    /// Changes the domain of a machine, if it lives.
    pub(crate) fn change<T>(&self, vm: &Ref, change: impl FnOnce(&mut Domain) -> T) -> Option<T> {
        self.lock().get_mut(vm).map(change)
    }

    /// Whether nothing may be written to the disks of a machine.
    pub(crate) fn is_frozen(&self, vm: &Ref) -> bool {
        self.lock().get(vm).is_some_and(|domain| domain.frozen_by.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Ref, Domain>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Whether the file systems in a machine are frozen.
    pub fn is_frozen(&self, vm: &Ref) -> bool {
        self.domains.is_frozen(vm)
    }
}
