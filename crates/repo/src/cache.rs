//! A small cache that forgets what was used longest ago.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;

#[cfg(test)]
mod tests;

pub(crate) struct Cache<K, V> {
    capacity: usize,
    entries: Mutex<Entries<K, V>>,
}

struct Entries<K, V> {
    /// Values with the moment of their last use.
    map: HashMap<K, (V, u64)>,
    now: u64,
}

impl<K: Eq + Hash + Copy, V: Clone> Cache<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Cache { capacity, entries: Mutex::new(Entries { map: HashMap::new(), now: 0 }) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut entries = self.entries.lock().expect("no panic while held");
        entries.now += 1;
        let now = entries.now;
        let (value, used) = entries.map.get_mut(key)?;
        *used = now;
        Some(value.clone())
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        let mut entries = self.entries.lock().expect("no panic while held");
        entries.now += 1;
        let now = entries.now;
        entries.map.insert(key, (value, now));
        if entries.map.len() > self.capacity {
            let oldest = entries.map.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.and_then(|key| entries.map.remove(&key));
        }
    }
}
