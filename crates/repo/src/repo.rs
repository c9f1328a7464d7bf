use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use secrecy::SecretString;

use crate::blob::Blobs;
use crate::cache::ChunkCache;
use crate::config::Config;
use crate::crypto::Key;
use crate::damage::KnownDamage;
use crate::id::Id;
use crate::index::{Index, PackEntries};
use crate::keyfile::{self, Kdf};
use crate::lock::{Lock, Purpose};
use crate::prune::Excluded;
use crate::session::{Session, Written};
use crate::snapshot::Snapshot;
use crate::store::{self, Delayed, Name, Store};
use crate::{
    Counters, DamagedPoint, Error, Location, PointList, PointMeta, PointReader, PointWriter, Result, SnapshotId,
    sealed, work,
};

#[cfg(test)]
pub(crate) mod tests;

/// Snapshot files that are read at once.
const SNAPSHOTS_IN_FLIGHT: usize = 16;

/// How a repository is made.
#[derive(Clone, Copy, Debug)]
pub struct CreateOptions {
    /// Size of a chunk: a power of two from 128 KiB to 4 MiB. Stays as it is for the life of the repository.
    pub chunk_bytes: u32,
    /// How hard the password is to guess.
    pub kdf: Kdf,
}

impl Default for CreateOptions {
    fn default() -> Self {
        CreateOptions { chunk_bytes: 512 << 10, kdf: Kdf::default() }
    }
}

/// How a repository is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Where this machine keeps what it knows of repositories, so that it need not be read again: some 50 bytes a chunk.
    /// One directory serves all of them. Without it, that is read anew each time, and stays in memory.
    pub cache_dir: Option<PathBuf>,
    /// How much longer each request to the store shall take. For benchmarks.
    #[doc(hidden)]
    pub request_delay: Duration,
}

/// How a point is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Numbers of this backup, for whoever wants to watch.
    pub counters: Arc<Counters>,
}

/// An open repository. Clones are handles to the same one.
#[derive(Clone)]
pub struct Repo(pub(crate) Arc<Opened>);

impl fmt::Debug for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repo")
            .field("location", &format_args!("{}", self.0.location))
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

/// What readers and writers of a repository share.
pub(crate) struct Opened {
    location: Location,
    findings: Vec<String>,
    id: String,
    /// The key file that this was opened with.
    pub(crate) key_id: Id,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) key: Arc<Key>,
    pub(crate) index: Arc<Index>,
    pub(crate) damage: Arc<KnownDamage>,
    pub(crate) blobs: Blobs,
    pub(crate) zero: ZeroChunk,
    /// What was read at random lately.
    pub(crate) chunks: ChunkCache,
    session: tokio::sync::Mutex<Weak<Session>>,
    /// What the sessions that run have written.
    writing: Mutex<Vec<Weak<Written>>>,
}

/// The chunk that most disks have most of.
pub(crate) struct ZeroChunk {
    pub(crate) chunk: Bytes,
    pub(crate) id: Id,
}

impl Opened {
    fn new(
        location: Location,
        store: Arc<dyn Store>,
        (key, key_id): (Key, Id),
        config: &Config,
        cache_dir: Option<&Path>,
    ) -> Self {
        let key = Arc::new(key);
        let index_dir = cache_dir.map(|dir| dir.join(config.id.to_string()));
        let index = Index::with_dir(store.clone(), key.clone(), index_dir);
        let damage = Arc::new(KnownDamage::new(store.clone(), key.clone()));
        let chunk = Bytes::from(vec![0; config.xenkeep.chunk_bytes as usize]);
        Opened {
            location,
            findings: Vec::new(),
            id: config.id.to_string(),
            key_id,
            blobs: Blobs::new(store.clone(), key.clone(), index.clone(), damage.clone()),
            chunks: ChunkCache::new(config.xenkeep.chunk_bytes),
            zero: ZeroChunk { id: Id::of(&chunk), chunk },
            session: tokio::sync::Mutex::default(),
            writing: Mutex::default(),
            store,
            key,
            index,
            damage,
        }
    }

    pub(crate) fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Writes an index file without taking it in.
    pub(crate) async fn write_index_file(&self, packs: Vec<PackEntries>) -> Result<()> {
        Index::write_file(&*self.store, &self.key, packs).await.map(drop)
    }

    pub(crate) fn chunk_bytes(&self) -> u32 {
        self.zero.chunk.len() as u32
    }

    /// The running session, or a new one, with an index that is up to date.
    ///
    /// If something was marked since the running one began, a new one is begun: otherwise, on a datastore where there is always
    /// something to do, what is marked would wait for ever.
    pub(crate) async fn session(&self) -> Result<Arc<Session>> {
        let mut current = self.session.lock().await;
        if let Some(session) = current.upgrade().filter(|session| session.is_usable())
            && session.knows_marks().await?
        {
            self.refresh().await?;
            return Ok(session);
        }
        let session = self.open_session(Purpose::Session).await?;
        *current = Arc::downgrade(&session);
        Ok(session)
    }

    /// A new session, with a lock of its own.
    ///
    /// The order matters: first the lock, then the marks (a prune does it the other way round, so that one sees the other), and
    /// last the index (a sweep changes it before its mark goes).
    pub(crate) async fn open_session(&self, purpose: Purpose) -> Result<Arc<Session>> {
        let lock = Lock::write(self.store.clone(), self.key.clone(), purpose).await?;
        let ((), excluded, ()) = futures::try_join!(lock.look(), self.exclude(), self.damage.refresh())?;
        self.index.refresh().await?;
        Ok(self.new_session(Some(lock), excluded))
    }

    /// A session for whoever holds a lock otherwise.
    pub(crate) fn unlocked_session(&self, excluded: Excluded) -> Arc<Session> {
        self.new_session(None, excluded)
    }

    /// What is marked now. From now on readers prefer other copies.
    async fn exclude(&self) -> Result<Excluded> {
        let excluded = Excluded::load(&*self.store, &self.key).await?;
        self.blobs.avoid(excluded.packs());
        Ok(excluded)
    }

    /// Packs that running sessions have written.
    pub(crate) fn writing(&self) -> Vec<Arc<Written>> {
        let mut writing = self.writing.lock().expect("no panic while held");
        writing.retain(|written| written.strong_count() > 0);
        writing.iter().filter_map(Weak::upgrade).collect()
    }

    /// Takes in what others have written.
    pub(crate) async fn refresh(&self) -> Result<()> {
        futures::try_join!(self.damage.refresh(), self.index.refresh()).map(drop)
    }

    /// A session for reading: where no lock can be written (the medium is full, or read-only), it goes without.
    async fn reading_session(&self) -> Result<Arc<Session>> {
        match self.session().await {
            Err(Error::Full { .. } | Error::Io { .. } | Error::Refused { .. }) => {
                tracing::warn!(repository = %self.location, "reading without a lock, which cannot be written");
                let excluded = self.exclude().await?;
                self.refresh().await?;
                Ok(self.new_session(None, excluded))
            }
            session => session,
        }
    }

    fn new_session(&self, lock: Option<Lock>, excluded: Excluded) -> Arc<Session> {
        let (store, key, index, damage) =
            (self.store.clone(), self.key.clone(), self.index.clone(), self.damage.clone());
        let session = Session::new_excluding(store, key, index, damage, lock, excluded);
        self.writing.lock().expect("no panic while held").push(Arc::downgrade(session.written()));
        session
    }

    pub(crate) async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot> {
        let read = sealed::read(&*self.store, &self.key, Name::Snapshot(id.0)).await;
        read.map_err(|error| match error {
            Error::NotFound { .. } => Error::NotFound { what: format!("restore point {id}") },
            other => other,
        })
    }
}

impl Repo {
    /// Makes a repository at a place that is empty or not there yet, with one password, and opens it.
    pub async fn create(
        location: impl Into<Location>,
        password: &SecretString,
        options: CreateOptions,
    ) -> Result<Repo> {
        let location = location.into();
        let store = store::open(&location)?;
        Repo::create_in(location, store, password, options).await
    }

    pub(crate) async fn create_in(
        location: Location,
        store: Arc<dyn Store>,
        password: &SecretString,
        options: CreateOptions,
    ) -> Result<Repo> {
        let config = Config::new(options.chunk_bytes)?;
        let password = password.clone();
        let (key, (key_name, key_file)) = work::block(move || {
            let key = Key::random();
            let file = keyfile::seal(&key, &password, options.kdf)?;
            Ok::<_, Error>((key, file))
        })
        .await??;
        let findings = store.prepare().await?;
        store.put(Name::Key(key_name), key_file).await?;
        // The config comes last: without it, this is no repository.
        let sealed_config = sealed::seal_plain(&key, &config);
        store.put(Name::Config, sealed_config.clone()).await?;
        // Of two that create one at the same place in the same moment, at least one shall notice.
        let (written, keys) =
            futures::try_join!(store.get(Name::Config, sealed::SMALL_FILE_BYTES), store.list(Name::Key))?;
        if written != sealed_config || keys.len() != 1 {
            return Err(Error::NotEmpty { location: location.to_string() });
        }
        Ok(Repo(Arc::new(Opened { findings, ..Opened::new(location, store, (key, key_name), &config, None) })))
    }

    /// Opens a repository, with any of its passwords.
    pub async fn open(location: impl Into<Location>, password: &SecretString, options: OpenOptions) -> Result<Repo> {
        let location = location.into();
        let store = Delayed::over(store::open(&location)?, options.request_delay);
        Repo::open_in(location, store, password, options).await
    }

    pub(crate) async fn open_in(
        location: Location,
        store: Arc<dyn Store>,
        password: &SecretString,
        options: OpenOptions,
    ) -> Result<Repo> {
        let (opened, ()) = futures::join!(Repo::open_store(location, store.clone(), password, options), store.sweep());
        opened
    }

    async fn open_store(
        location: Location,
        store: Arc<dyn Store>,
        password: &SecretString,
        options: OpenOptions,
    ) -> Result<Repo> {
        let not_ours = |why: &str| Error::NotARepository { location: location.to_string(), why: why.to_owned() };
        let missing = |error| match error {
            Error::NotFound { .. } => not_ours("it has no file `config`"),
            other => other,
        };
        let (config, keys) = futures::join!(store.get(Name::Config, sealed::SMALL_FILE_BYTES), keyfile::all(&*store));
        let config = config.map_err(missing)?;
        let keys = match keys {
            Ok(keys) if !keys.is_empty() => keys,
            Ok(_) | Err(Error::Io { .. }) => return Err(not_ours("it has no key files")),
            Err(error) => return Err(error),
        };
        let key = keyfile::find(keys, password).await?;
        let key = key.ok_or_else(|| Error::WrongPassword { location: location.to_string() })?;
        let config: Config = sealed::open(&key.0, Name::Config, &config, sealed::SMALL_FILE_BYTES)?;
        config.check()?;
        Ok(Repo(Arc::new(Opened::new(location, store, key, &config, options.cache_dir.as_deref()))))
    }

    pub(crate) fn opened(&self) -> &Arc<Opened> {
        &self.0
    }

    /// Its id: 64 hex digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Is it still there? A share may have been unmounted since it was opened, or another one mounted in its place.
    pub async fn check_presence(&self) -> Result<()> {
        let gone = |why: &str| Error::NotARepository { location: self.0.location.to_string(), why: why.to_owned() };
        let config = self.0.store.get(Name::Config, sealed::SMALL_FILE_BYTES).await.map_err(|error| match error {
            Error::NotFound { .. } => gone("its file `config` is gone"),
            other => other,
        })?;
        let config = sealed::open::<Config>(&self.0.key, Name::Config, &config, sealed::SMALL_FILE_BYTES);
        match config {
            Ok(config) if config.id.to_string() == self.0.id => Ok(()),
            _ => Err(gone("another repository is there now")),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.0.location
    }

    /// What the administrator should know about the place, in sentences: of a repository that was just created.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.0.findings
    }

    /// Size of its chunks.
    #[must_use]
    pub fn chunk_bytes(&self) -> u32 {
        self.0.chunk_bytes()
    }

    /// Starts a new point. From now on, and as long as any point is written or read, our lock stands in the repository.
    pub async fn begin(&self, options: WriteOptions) -> Result<PointWriter> {
        let session = self.0.session().await?;
        Ok(PointWriter::new(self.0.clone(), session, options.counters))
    }

    /// Our points, oldest first. Snapshots of others are left out, and so are damaged ones, which [`scan`](Self::scan) names.
    pub async fn points(&self) -> Result<Vec<PointMeta>> {
        Ok(self.scan().await?.points)
    }

    /// Our points, and what could not be read.
    pub async fn scan(&self) -> Result<PointList> {
        let protections = self.protections().await?;
        let ids = self.0.store.list(Name::Snapshot).await?;
        let mut read = stream::iter(ids)
            .map(|(id, _)| async move { (id, self.0.snapshot(&SnapshotId(id)).await) })
            .buffer_unordered(SNAPSHOTS_IN_FLIGHT);
        let mut list = PointList::default();
        while let Some((id, snapshot)) = read.next().await {
            match snapshot {
                Ok(snapshot) => list.points.extend(snapshot.point(id).map(|point| {
                    let protected = protections.of(&point.id).cloned();
                    PointMeta { protected, ..point }
                })),
                Err(Error::NotFound { .. }) => {} // removed in this moment
                Err(error @ Error::Damaged { .. }) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a snapshot file cannot be read");
                    list.damaged.push(DamagedPoint { id: SnapshotId(id), error });
                }
                Err(error) => return Err(error),
            }
        }
        list.points.sort_by(|a, b| a.time.cmp(&b.time).then(a.id.cmp(&b.id)));
        Ok(list)
    }

    /// The one point whose id begins with `prefix`.
    pub async fn find(&self, prefix: &str) -> Result<PointMeta> {
        let mut found: Vec<PointMeta> = self.points().await?;
        found.retain(|point| point.id.to_string().starts_with(prefix));
        match found.len() {
            0 => Err(Error::NotFound { what: format!("restore point {prefix}") }),
            1 => Ok(found.remove(0)),
            _ => {
                let candidates = found.iter().map(|point| point.id).collect();
                Err(Error::Ambiguous { prefix: prefix.to_owned(), candidates })
            }
        }
    }

    /// Opens a point for reading.
    pub async fn open_point(&self, id: &SnapshotId) -> Result<PointReader> {
        let session = self.0.reading_session().await?;
        let snapshot = self.0.snapshot(id).await?;
        let tree = snapshot.tree;
        let not_ours = || Error::NotFound { what: format!("restore point {id} of ours") };
        let meta = snapshot.point(id.0).ok_or_else(not_ours)?;
        PointReader::open(self.0.clone(), session, meta, tree).await
    }
}
