//! Buffers that are used again.
//!
//! Memory that comes fresh from the system costs a page fault every 4 KiB; for a stream of large blocks that is as much
//! work as uncompressing them. So who makes many blocks takes their memory from here, and it comes back by itself when
//! the last reader of a block lets go.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

#[cfg(test)]
mod tests;

/// Buffers of about the same size that wait to be used again.
#[derive(Clone, Debug)]
pub struct Buffers(Arc<Shelf>);

#[derive(Debug)]
struct Shelf {
    spare: Mutex<Vec<Vec<u8>>>,
    kept: usize,
}

impl Buffers {
    /// Keeps up to so many buffers while nobody uses them. How many are in use is up to the caller.
    #[must_use]
    pub fn new(kept: usize) -> Self {
        Buffers(Arc::new(Shelf { spare: Mutex::default(), kept }))
    }

    /// An empty buffer with room for at least `capacity` bytes.
    #[must_use]
    pub fn take(&self, capacity: usize) -> Buffer {
        let spare = self.0.spare.lock().expect("no panic while held").pop();
        let mut bytes = spare.unwrap_or_default();
        bytes.reserve_exact(capacity);
        Buffer { bytes, shelf: self.0.clone() }
    }
}

/// A vector whose memory goes back to where it was taken from.
#[derive(Debug)]
pub struct Buffer {
    bytes: Vec<u8>,
    shelf: Arc<Shelf>,
}

impl Buffer {
    /// Gives the contents to readers. The memory goes back when the last of them has gone.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        // A poisoned lock is no reason to panic in a drop.
        if let Ok(mut spare) = self.shelf.spare.lock()
            && spare.len() < self.shelf.kept
        {
            spare.push(bytes);
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
