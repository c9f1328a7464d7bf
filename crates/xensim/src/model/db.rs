//! The pool's database: the tables behind one lock, and a signal at each change.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Tables;

/// All objects of the pool. Cheap to clone; all clones are the same database.
#[derive(Clone, Debug)]
pub struct Db {
    tables: Arc<Mutex<Tables>>,
    changed: watch::Sender<u64>,
}

impl Default for Db {
    fn default() -> Db {
        Db { tables: Arc::default(), changed: watch::Sender::new(0) }
    }
}

impl Db {
    /// Looks at the tables. Don't call `read` or `write` from within.
    pub fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the tables; who waits for changes is woken when the closure is done.
    pub fn write<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut tables);
        let generation = tables.generation();
        drop(tables);
        self.changed.send_if_modified(|seen| {
            let newer = generation > *seen;
            *seen = generation.max(*seen);
            newer
        });
        result
    }

    /// A signal that holds the generation of the latest change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
