//! Opening the database, and the ways in: SQLite in a file of our own, or a PostgreSQL that several servers share.
//!
//! | | SQLite | PostgreSQL |
//! |---|---|---|
//! | [`Catalog::write`] | `BEGIN IMMEDIATE` on the one connection that writes | `BEGIN`, then the writers' advisory lock |
//! | [`Catalog::write_row`] | the same | `BEGIN`; its first statement locks the row of the one job that it is about |
//! | reading | connections that can do nothing else | any connection |
//!
//! So whoever decides something from what it has read holds the right to write, on both; and what movers say each
//! second about jobs of their own goes on beside it.

use std::fs::OpenOptions;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, Executor as _, Row as _, Transaction};
use xenkeep_api::Secret;

use crate::{Error, Sealer, key, migrations};

/// A row of an answer.
pub(crate) type Row = sqlx::any::AnyRow;
/// A connection, in a transaction or not.
pub(crate) type Connection = AnyConnection;
/// A transaction that writes.
pub(crate) type Write = Transaction<'static, Any>;

/// How many queries read at once.
const READERS: u32 = 4;
/// How many connections to PostgreSQL write at once; most of them wait for one another.
const SHARED_WRITERS: u32 = 6;
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a statement waits for a lock that somebody else's process holds on the file.
const BUSY_TIMEOUT_MS: u32 = 20_000;
/// What PostgreSQL calls our lock by: "xenkeep" and a number, as eight bytes.
pub(crate) const WRITERS_LOCK: i64 = i64::from_be_bytes(*b"xenkeep\x01");
/// Sealed at the first start under [`KEY_CHECK`], opened at each later one: tells a wrong key file at once.
const KEY_CHECK_TEXT: &str = "xenkeep";
const KEY_CHECK: &str = "meta/key_check";

/// Which database holds the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// The database of a server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Catalog {
    engine: Engine,
    /// With SQLite a single connection: writers queue here, in order, instead of failing with SQLITE_BUSY.
    writer: AnyPool,
    readers: AnyPool,
    sealer: Arc<Sealer>,
    /// What a write begins with.
    begin: &'static str,
}

impl Catalog {
    /// Opens the database `xenkeep.db` in `dir` with the key file `key` beside it. Both are made if neither is there;
    /// tables are brought up to date.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        sqlx::any::install_default_drivers();
        let path = dir.join("xenkeep.db");
        // Made here, because SQLite would let the umask decide who may read it; -wal and -shm take its permissions over.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::File { path: path.clone(), source })?;
        let path = std::path::absolute(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        let writer = sqlite_pool(1, true).connect_with(sqlite_options(&path, "rw")?).await?;
        migrations::run(Engine::Sqlite, &writer).await?;
        let readers = sqlite_pool(READERS, false).connect_lazy_with(sqlite_options(&path, "ro")?);
        let sealer = Arc::new(sealer(&writer, dir.join("key")).await?);
        Ok(Self { engine: Engine::Sqlite, writer, readers, sealer, begin: "BEGIN IMMEDIATE" })
    }

    /// Uses a database of a PostgreSQL server, such as `postgres://xenkeep:…@db.example/xenkeep`, which several servers
    /// may share. The key file is `key` in `dir`: made with the first server's first start, and copied to the others.
    pub async fn connect(dir: &Path, url: &Secret) -> Result<Self, Error> {
        // Set before anything is asked, so that nobody waits for ever for somebody who holds a lock and is gone.
        const SESSION: &str = "SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s'";
        const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock(8675461664740831233)";
        debug_assert!(BEGIN.contains(&WRITERS_LOCK.to_string()), "{WRITERS_LOCK}");
        sqlx::any::install_default_drivers();
        if !url.expose().starts_with("postgres://") && !url.expose().starts_with("postgresql://") {
            return Err(Error::DatabaseUrl);
        }
        let options: AnyConnectOptions = url.expose().parse().map_err(|_| Error::DatabaseUrl)?;
        let pool = |size| {
            AnyPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(ACQUIRE_TIMEOUT)
                .after_connect(|connection, _| Box::pin(async move { connection.execute(SESSION).await.map(drop) }))
        };
        let writer = pool(SHARED_WRITERS).connect_with(options.clone()).await?;
        migrations::run(Engine::Postgres, &writer).await?;
        let readers = pool(READERS).connect_lazy_with(options);
        let sealer = Arc::new(sealer(&writer, dir.join("key")).await?);
        Ok(Self { engine: Engine::Postgres, writer, readers, sealer, begin: BEGIN })
    }

    /// Whether other servers may use the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.engine == Engine::Postgres
    }

    /// Waits for what is under way and closes all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) fn readers(&self) -> &AnyPool {
        &self.readers
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Begins a transaction that holds the right to write from its first statement on: nothing that it reads changes
    /// before it ends, but for what movers say about running jobs ([`Catalog::write_row`]).
    pub(crate) async fn write(&self) -> Result<Write, Error> {
        Ok(self.writer.begin_with(self.begin).await?)
    }

    /// Begins a transaction about a single running job. Its first statement must change, and so lock, the row of the job.
    pub(crate) async fn write_row(&self) -> Result<Write, Error> {
        match self.engine {
            Engine::Sqlite => self.write().await,
            Engine::Postgres => Ok(self.writer.begin_with("BEGIN").await?),
        }
    }
}

fn sqlite_pool(size: u32, writes: bool) -> AnyPoolOptions {
    const READER: &str = "PRAGMA busy_timeout = 20000";
    const WRITER: &str = "PRAGMA busy_timeout = 20000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
        PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON";
    debug_assert!(READER.ends_with(&BUSY_TIMEOUT_MS.to_string()));
    let session = if writes { WRITER } else { READER };
    AnyPoolOptions::new()
        .max_connections(size)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| Box::pin(async move { connection.execute(session).await.map(drop) }))
}

/// A file as a URL; whatever may stand in a path is escaped.
fn sqlite_options(path: &Path, mode: &str) -> Result<AnyConnectOptions, Error> {
    let mut url = "sqlite://".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => url.push(char::from(byte)),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(format!("{url}?mode={mode}").parse()?)
}

/// Opens the key file and proves that it is the one of this database; at the very first start makes it.
async fn sealer(writer: &AnyPool, path: PathBuf) -> Result<Sealer, Error> {
    let check = sqlx::query("SELECT value FROM meta WHERE name = $1").bind(KEY_CHECK).fetch_optional(writer).await?;
    let check: Option<Vec<u8>> = check.map(|row| row.try_get(0)).transpose()?;
    let key = match (key::read(&path)?, &check) {
        (Some(key), _) => key,
        (None, Some(_)) => return Err(Error::KeyMissing(path)),
        (None, None) => key::create(&path)?,
    };
    let sealer = Sealer::new(&key);
    match check {
        Some(sealed) => match sealer.open(KEY_CHECK, &sealed) {
            Ok(text) if text.expose() == KEY_CHECK_TEXT => {}
            _ => return Err(Error::WrongKey(path)),
        },
        None => {
            let sealed = sealer.seal(KEY_CHECK, &Secret::new(KEY_CHECK_TEXT))?;
            sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2)")
                .bind(KEY_CHECK)
                .bind(sealed)
                .execute(writer)
                .await?;
        }
    }
    Ok(sealer)
}
