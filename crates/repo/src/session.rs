//! A time during which we hold the repository's lock, and what of it lives as long: blobs that are on their way.
//!
//! All points that are written at the same time through one [`Repo`](crate::Repo) share a session, and with it the open
//! packs and the set of claimed blobs, so that none of them stores what another one is just storing. Who may do what:
//!
//! | a blob is … | its id is in … | a second writer that needs it …                                        |
//! |-------------|----------------|------------------------------------------------------------------------|
//! | unknown     | –              | claims and stores it                                                   |
//! | claimed     | `claimed`      | refers to it: if it cannot be stored, the whole session fails, and with it both points |
//! | in a pack that is durable | `claimed` | refers to it: the index is written before any point is listed |
//! | indexed     | the index      | refers to it                                                           |
//!
//! A blob that lies only in packs which a prune had marked before the session began counts as unknown (see [`prune`](crate::prune)).
//!
//! When the last holder lets go, the lock goes, and with it everything that was not indexed: by then somebody else may
//! have pruned the repository.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::crypto::{Key, NONCE_BYTES, SEAL_BYTES};
use crate::damage::KnownDamage;
use crate::id::Id;
use crate::index::{IdSet, Index, Location, PackEntries};
use crate::lock::Lock;
use crate::pack::{BlobKind, PACK_BYTES, PackBuffer, TREE_PACK_BYTES};
use crate::prune::Excluded;
use crate::store::{Name, Store};
use crate::{Counters, Error, Result, work};

#[cfg(test)]
mod tests;

/// Bytes of chunks and packs that may be in memory at once. A store that takes 0.3 s a request, and to which we have
/// 300 MiB to bring each second, has 90 MiB in flight; to that comes the pack that is being filled.
pub(crate) const BUDGET_BYTES: usize = 128 << 20;

/// Bytes of chunks among them that are not compressed yet: enough for every core to have the next one at hand.
const RAW_BYTES: usize = 24 << 20;

/// Packs that are being stored at once. Packs of trees are small, so that more than the budget has room for may be on their way.
const UPLOADS_IN_FLIGHT: usize = 8;

/// An index file is written when this many blobs wait for it: so an interrupted backup keeps most of its work.
const UNINDEXED_BLOBS: usize = 20_000;

/// A pack is closed when it holds this many blobs, so that its header stays small.
const PACK_BLOBS: usize = 10_000;

/// Room for the header of a pack.
const HEADER_ROOM: usize = 64 + PACK_BLOBS * 41;

pub(crate) struct Session {
    store: Arc<dyn Store>,
    key: Arc<Key>,
    index: Arc<Index>,
    damage: Arc<KnownDamage>,
    /// Nothing where we only read and cannot write a lock, or where somebody else holds it for us.
    lock: Option<Lock>,
    /// Packs that were marked before it began.
    excluded: Excluded,
    written: Arc<Written>,
    runtime: Handle,
    budget: Arc<Semaphore>,
    raw: Arc<Semaphore>,
    uploads: Semaphore,
    state: Mutex<State>,
    /// Signals each pack that is done, and failure.
    progress: Notify,
    /// One writes an index file at a time.
    indexing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    claimed_data: IdSet,
    claimed_trees: IdSet,
    /// Numbers of the claims whose blobs have not come to an open pack yet.
    on_their_way: BTreeSet<u64>,
    next_claim: u64,
    open_data: Option<OpenPack>,
    open_trees: Option<OpenPack>,
    /// Numbers of the packs that were closed but are not durable yet.
    in_flight: BTreeSet<u64>,
    next_number: u64,
    /// Packs that are durable, but in no index file.
    unindexed: Vec<PackEntries>,
    unindexed_blobs: usize,
    /// A buffer that a pack has left behind.
    spare: Option<BytesMut>,
    failure: Option<Error>,
}

/// Packs that a session has written, or is just writing: a prune of the same process lets them be, even if no point needs
/// them yet.
#[derive(Default)]
pub(crate) struct Written(Mutex<IdSet>);

impl Written {
    fn add(&self, pack: Id) {
        self.0.lock().expect("no panic while held").insert(pack);
    }

    pub(crate) fn add_to(&self, packs: &mut IdSet) {
        packs.extend(self.0.lock().expect("no panic while held").iter());
    }
}

struct OpenPack {
    buffer: PackBuffer,
    blobs: usize,
    permit: Option<OwnedSemaphorePermit>,
}

impl State {
    fn claimed(&mut self, kind: BlobKind) -> &mut IdSet {
        match kind {
            BlobKind::Data => &mut self.claimed_data,
            BlobKind::Tree => &mut self.claimed_trees,
        }
    }

    fn open(&mut self, kind: BlobKind) -> &mut Option<OpenPack> {
        match kind {
            BlobKind::Data => &mut self.open_data,
            BlobKind::Tree => &mut self.open_trees,
        }
    }
}

fn pack_bytes(kind: BlobKind) -> usize {
    match kind {
        BlobKind::Data => PACK_BYTES,
        BlobKind::Tree => TREE_PACK_BYTES,
    }
}

/// Fails the session if whoever claimed a blob does not come to storing it.
struct Claim<'a> {
    session: &'a Session,
    number: u64,
    stored: bool,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if !self.stored {
            self.session.fail(Error::BrokenOff("a chunk was not stored"));
        }
        self.session.state().on_their_way.remove(&self.number);
        self.session.progress.notify_waiters();
    }
}

async fn acquire(from: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).map_err(|_| Error::Invalid("a chunk is too large".to_owned()))?;
    from.clone().acquire_many_owned(bytes).await.map_err(|_| Error::BrokenOff("the session has ended"))
}

impl Session {
    #[cfg(test)]
    pub(crate) fn new(
        store: Arc<dyn Store>,
        key: Arc<Key>,
        index: Arc<Index>,
        damage: Arc<KnownDamage>,
        lock: Option<Lock>,
    ) -> Arc<Self> {
        Session::new_excluding(store, key, index, damage, lock, Excluded::default())
    }

    /// A session that does not refer to what lies in certain packs.
    pub(crate) fn new_excluding(
        store: Arc<dyn Store>,
        key: Arc<Key>,
        index: Arc<Index>,
        damage: Arc<KnownDamage>,
        lock: Option<Lock>,
        excluded: Excluded,
    ) -> Arc<Self> {
        Arc::new(Session {
            excluded,
            written: Arc::default(),
            store,
            key,
            index,
            damage,
            lock,
            runtime: Handle::current(),
            budget: Arc::new(Semaphore::new(BUDGET_BYTES)),
            raw: Arc::new(Semaphore::new(RAW_BYTES)),
            uploads: Semaphore::new(UPLOADS_IN_FLIGHT),
            state: Mutex::default(),
            progress: Notify::new(),
            indexing: tokio::sync::Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }

    /// Waits until so many bytes may be taken into memory.
    pub(crate) async fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        acquire(&self.budget, bytes).await
    }

    /// The same for a chunk. The second permit is for its plaintext, and to be held as long as that.
    pub(crate) async fn admit_chunk(&self, bytes: usize) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let raw = acquire(&self.raw, bytes).await?;
        Ok((self.admit(bytes).await?, raw))
    }

    /// Nothing that is written in this session can be committed any more.
    pub(crate) fn fail(&self, error: Error) {
        let mut state = self.state();
        if state.failure.is_none() {
            tracing::error!(error = &error as &dyn std::error::Error, "the repository cannot be written");
            state.failure = Some(error);
        }
        // What lies in them will never be referred to.
        state.open_data = None;
        state.open_trees = None;
        drop(state);
        self.progress.notify_waiters();
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.state().failure.clone().map_or(Ok(()), Err)
    }

    /// Is the lock still ours?
    pub(crate) async fn check_lock(&self) -> Result<()> {
        match &self.lock {
            Some(lock) => lock.check().await,
            None => Err(Error::LockLost),
        }
    }

    /// Can further points be read and written in it, as far as is known here?
    pub(crate) fn is_usable(&self) -> bool {
        self.check().is_ok() && self.lock.as_ref().is_some_and(Lock::is_fresh)
    }

    /// Is nothing marked that it does not know?
    pub(crate) async fn knows_marks(&self) -> Result<bool> {
        self.excluded.is_current(&*self.store).await
    }

    /// Its name in the lock file.
    pub(crate) fn id(&self) -> Option<Uuid> {
        self.lock.as_ref().map(Lock::session)
    }

    pub(crate) fn written(&self) -> &Arc<Written> {
        &self.written
    }

    /// Lists a point, if the locks of this session and of those on which the point rests are still ours: that was looked
    /// at by [`flush_for`](Self::flush_for).
    ///
    /// They are looked for once more afterwards: whoever took them from us has done that before it listed the points, or does
    /// not see this one, and then it must go again.
    pub(crate) async fn list_point(&self, id: Id, content: Bytes, bases: &[Arc<Session>]) -> Result<()> {
        self.store.put(Name::Snapshot(id), content).await?;
        match self.check_locks(bases).await {
            Err(Error::LockLost) => {
                self.store.remove(Name::Snapshot(id)).await?;
                Err(Error::LockLost)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot see whether the lock is still ours");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn check_locks(&self, bases: &[Arc<Session>]) -> Result<()> {
        self.check_lock().await?;
        for base in bases {
            base.check_lock().await?;
        }
        Ok(())
    }

    /// Is there a copy of this blob that can be referred to, or is somebody just storing one?
    pub(crate) fn is_present(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        let claimed = self.state().claimed(kind).contains(id);
        Ok(claimed || self.is_stored(kind, id)?)
    }

    /// Is there a copy of this blob that can be referred to?
    fn is_stored(&self, kind: BlobKind, id: &Id) -> Result<bool> {
        let damage = self.damage.get();
        if damage.is_empty() && self.excluded.is_empty() {
            return self.index.contains(kind, id);
        }
        // What is damaged is stored again, and thereby healed.
        let is_good = |copy: &Location| !damage.is_damaged(&copy.pack, id) && !self.excluded.has(&copy.pack);
        Ok(self.index.locations(kind, id)?.iter().any(is_good))
    }

    /// A claim if nobody stores this blob, nor has stored it: from now on the caller does.
    ///
    /// The claim comes first and the index is asked then, so that nobody waits for our state while a file is read.
    /// Whoever moves blobs from `claimed` to the index adds them there first.
    fn claim(&self, kind: BlobKind, id: Id) -> Result<Option<Claim<'_>>> {
        let number = {
            let mut state = self.state();
            if !state.claimed(kind).insert(id) {
                return Ok(None);
            }
            let number = state.next_claim;
            state.next_claim += 1;
            state.on_their_way.insert(number);
            number
        };
        let mut claim = Claim { session: self, number, stored: false };
        match self.is_stored(kind, &id) {
            Ok(false) => Ok(Some(claim)),
            Ok(true) => {
                self.state().claimed(kind).remove(&id);
                claim.stored = true;
                Ok(None)
            }
            Err(error) => {
                // Others may rely on our claim by now.
                self.fail(error.clone());
                Err(error)
            }
        }
    }

    /// Stores a blob unless that has been done. Computes: call it on a worker thread, or with little.
    ///
    /// The permit travels on with the sealed bytes and comes free when they are durable.
    pub(crate) fn put(
        self: &Arc<Self>,
        kind: BlobKind,
        id: Id,
        raw: &[u8],
        permit: Option<OwnedSemaphorePermit>,
        counters: &Counters,
    ) -> Result<()> {
        self.check()?;
        let Some(mut claim) = self.claim(kind, id)? else { return Ok(()) };
        work::with_scratch(|scratch| {
            let (sealed, raw_len) = pack_blob(&self.key, scratch, raw);
            counters.add_stored(if kind == BlobKind::Data { raw.len() as u64 } else { 0 }, sealed.len() as u64);
            self.add(kind, id, sealed, raw_len, permit);
        });
        claim.stored = true;
        Ok(())
    }

    /// Stores a blob that comes out of another pack, as it was compressed there, unless that has been done. Who calls this
    /// has compared it with its hash. True if it was stored.
    pub(crate) fn put_packed(
        self: &Arc<Self>,
        kind: BlobKind,
        id: Id,
        text: &[u8],
        raw_len: Option<u32>,
        permit: Option<OwnedSemaphorePermit>,
        counters: &Counters,
    ) -> Result<bool> {
        self.check()?;
        let Some(mut claim) = self.claim(kind, id)? else { return Ok(false) };
        work::with_scratch(|scratch| {
            let sealed_len = text.len() + SEAL_BYTES;
            if scratch.buf.len() < sealed_len {
                scratch.buf.resize(sealed_len, 0);
            }
            let sealed = &mut scratch.buf[..sealed_len];
            sealed[NONCE_BYTES..NONCE_BYTES + text.len()].copy_from_slice(text);
            self.key.seal_in_place(sealed);
            let new_bytes = raw_len.map_or(text.len() as u64, u64::from);
            counters.add_stored(if kind == BlobKind::Data { new_bytes } else { 0 }, sealed_len as u64);
            self.add(kind, id, sealed, raw_len, permit);
        });
        claim.stored = true;
        Ok(true)
    }

    fn add(
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

    /// Waits, after a failure, until all that is still under way has ended, so that soon nobody holds the session.
    pub(crate) async fn settle(&self) {
        if self.check().is_err() {
            // Each chunk and each pack holds a part of the budget until it is done with.
            drop(self.budget.acquire_many(BUDGET_BYTES as u32).await);
        }
    }

    /// Makes everything that was put until now durable and findable.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<()> {
        self.flush_packs().await?;
        self.write_index().await?;
        self.check()
    }

    /// The same for a point that is to be listed: then the locks on which it rests must still be ours. They are looked for
    /// while the index is written.
    pub(crate) async fn flush_for(self: &Arc<Self>, bases: &[Arc<Session>]) -> Result<()> {
        self.flush_packs().await?;
        let (indexed, locked) = futures::join!(self.write_index(), self.check_locks(bases));
        indexed?;
        self.check()?;
        locked
    }

    async fn flush_packs(self: &Arc<Self>) -> Result<()> {
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
fn pack_blob<'a>(key: &Key, scratch: &'a mut work::Scratch, raw: &[u8]) -> (&'a [u8], Option<u32>) {
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
