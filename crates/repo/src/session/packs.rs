//! Packs on their way: filled, closed, stored, and made findable by an index file.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::OwnedSemaphorePermit;

use super::{Session, State};
use crate::crypto::{Key, NONCE_BYTES, SEAL_BYTES};
use crate::id::Id;
use crate::index::PackEntries;
use crate::pack::{BlobKind, PACK_BYTES, PackBuffer, TREE_PACK_BYTES};
use crate::store::Name;
use crate::{Error, Result, work};

/// An index file is written when this many blobs wait for it: so an interrupted backup keeps most of its work.
const UNINDEXED_BLOBS: usize = 20_000;

/// A pack is closed when it holds this many blobs, so that its header stays small.
const PACK_BLOBS: usize = 10_000;

/// Room for the header of a pack.
pub(super) const HEADER_ROOM: usize = 64 + PACK_BLOBS * 41;

/// A pack that is being filled, and its part of the budget.
pub(super) struct OpenPack {
    buffer: PackBuffer,
    blobs: usize,
    permit: Option<OwnedSemaphorePermit>,
}

fn pack_bytes(kind: BlobKind) -> usize {
    match kind {
        BlobKind::Data => PACK_BYTES,
        BlobKind::Tree => TREE_PACK_BYTES,
    }
}

impl Session {
    pub(super) fn add(
        self: &Arc<Self>,
        kind: BlobKind,
        id: Id,
        sealed: &[u8],
        raw_len: Option<u32>,
        permit: Option<OwnedSemaphorePermit>,
    ) {
        // What compression has saved comes free at once.
        let permit = permit.and_then(|mut permit| permit.split(sealed.len().min(permit.num_permits())));
        let mut state = self.state();
        if state.failure.is_some() {
            return;
        }
        let is_full =
            |open: &mut OpenPack| open.buffer.len() + sealed.len() > pack_bytes(kind) || open.blobs >= PACK_BLOBS;
        let full = state.open(kind).take_if(is_full);
        if let Some(full) = full {
            self.upload(&mut state, full);
        }
        let spare = state.open(kind).is_none().then(|| state.spare.take_if(|_| kind == BlobKind::Data)).flatten();
        let open = state.open(kind).get_or_insert_with(|| {
            let bytes = spare.unwrap_or_else(|| BytesMut::with_capacity(pack_bytes(kind) + HEADER_ROOM));
            OpenPack { buffer: PackBuffer::new(bytes), blobs: 0, permit: None }
        });
        open.buffer.add(kind, id, sealed, raw_len);
        open.blobs += 1;
        match (&mut open.permit, permit) {
            (Some(all), Some(permit)) => all.merge(permit),
            (none, permit) => *none = permit,
        }
    }

    /// Starts to store a pack that is full, or the last one.
    fn upload(self: &Arc<Self>, state: &mut State, pack: OpenPack) {
        let number = state.next_number;
        state.next_number += 1;
        state.in_flight.insert(number);
        let session = self.clone();
        self.runtime.spawn(async move {
            let mut upload = Upload { session: &session, number, done: false };
            upload.run(pack).await;
            upload.done = true;
        });
    }

    async fn store_pack(&self, pack: OpenPack) -> Result<PackEntries> {
        let _slot = self.uploads.acquire().await.map_err(|_| Error::BrokenOff("the session has ended"))?;
        self.check()?;
        let OpenPack { buffer, permit, .. } = pack;
        let key = self.key.clone();
        let (id, bytes, entries) = work::run(move || {
            let (bytes, entries) = buffer.close(&key);
            (Id::of(&bytes), bytes.freeze(), entries)
        })
        .await?;
        self.written.add(id);
        self.store.put(Name::Pack(id), bytes.clone()).await?;
        if let Ok(bytes) = bytes.try_into_mut()
            && bytes.capacity() >= PACK_BYTES
        {
            self.state().spare = Some(bytes);
        }
        drop(permit);
        Ok(PackEntries { id, entries })
    }

    /// Notes that a pack is durable. True if an index file is due.
    fn uploaded(&self, number: u64, pack: PackEntries) -> bool {
        let mut state = self.state();
        state.unindexed_blobs += pack.entries.len();
        state.unindexed.push(pack);
        state.in_flight.remove(&number);
        state.unindexed_blobs >= UNINDEXED_BLOBS
    }

    pub(super) async fn flush_packs(self: &Arc<Self>) -> Result<()> {
        // What others have claimed, we may refer to: let it come to a pack.
        let claims = self.state().next_claim;
        self.wait_until(|state| state.on_their_way.first().is_none_or(|first| *first >= claims)).await?;
        let until = {
            let mut state = self.state();
            for kind in [BlobKind::Data, BlobKind::Tree] {
                if let Some(open) = state.open(kind).take() {
                    self.upload(&mut state, open);
                }
            }
            state.next_number
        };
        self.wait_until(|state| state.in_flight.first().is_none_or(|first| *first >= until)).await
    }

    /// Waits for this, or for the session's failure.
    async fn wait_until(&self, is_done: impl Fn(&State) -> bool + Send) -> Result<()> {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            self.check()?;
            if is_done(&self.state()) {
                return Ok(());
            }
            progress.await;
        }
    }

    /// Makes what is durable findable, so that an interruption keeps it.
    pub(crate) async fn write_index(&self) -> Result<()> {
        let _indexing = self.indexing.lock().await;
        let packs = {
            let mut state = self.state();
            state.unindexed_blobs = 0;
            std::mem::take(&mut state.unindexed)
        };
        if packs.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.index.write(packs.clone()).await {
            self.fail(error.clone());
            return Err(error);
        }
        let mut state = self.state();
        for entry in packs.iter().flat_map(|pack| &pack.entries) {
            state.claimed(entry.kind).remove(&entry.id);
        }
        Ok(())
    }
}

/// A pack on its way. If its task is dropped half-way, the session fails: nobody would wait for ever.
struct Upload<'a> {
    session: &'a Session,
    number: u64,
    done: bool,
}

impl Upload<'_> {
    async fn run(&mut self, pack: OpenPack) {
        let session = self.session;
        match session.store_pack(pack).await {
            Ok(pack) => {
                let many = session.uploaded(self.number, pack);
                session.progress.notify_waiters();
                if many {
                    drop(session.write_index().await); // has failed the session
                }
            }
            Err(error) => {
                session.state().in_flight.remove(&self.number);
                session.fail(error);
            }
        }
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.session.fail(Error::BrokenOff("the runtime shuts down"));
        }
    }
}

/// Compresses and seals a blob in the thread's buffer. What does not shrink is stored as it is.
pub(super) fn pack_blob<'a>(key: &Key, scratch: &'a mut work::Scratch, raw: &[u8]) -> (&'a [u8], Option<u32>) {
    let room = zstd::zstd_safe::compress_bound(raw.len()) + SEAL_BYTES;
    if scratch.buf.len() < room {
        scratch.buf.resize(room, 0);
    }
    let target = &mut scratch.buf[NONCE_BYTES..];
    let zipped = scratch.compressor.compress_to_buffer(raw, target).expect("the buffer has zstd's upper bound");
    let (len, raw_len) = if zipped < raw.len() {
        (zipped, Some(u32::try_from(raw.len()).expect("blobs are shorter than 4 GiB")))
    } else {
        target[..raw.len()].copy_from_slice(raw);
        (raw.len(), None)
    };
    let sealed = &mut scratch.buf[..len + SEAL_BYTES];
    key.seal_in_place(sealed);
    (sealed, raw_len)
}
