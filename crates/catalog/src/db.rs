//! Opening the database, and the ways in: one connection that writes, several that read.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row as _, SqlSafeStr as _, Sqlite, SqliteConnection, Transaction};
use xenkeep_api::Secret;

use crate::{Error, Sealer, key};

/// A row of an answer. The aliases are where PostgreSQL will come in.
pub(crate) type Row = sqlx::sqlite::SqliteRow;
/// A connection, in a transaction or not.
pub(crate) type Connection = SqliteConnection;
/// A transaction that writes.
pub(crate) type Write = Transaction<'static, Sqlite>;

/// How many queries read at once.
const READERS: u32 = 4;
/// How long a statement waits for a lock that somebody else's process holds on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);
/// Sealed at the first start under [`KEY_CHECK`], opened at each later one: tells a wrong key file at once.
const KEY_CHECK_TEXT: &str = "xenkeep";
const KEY_CHECK: &str = "meta/key_check";

/// The database of a server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Catalog {
    /// A single connection: writers queue here, in order, instead of failing with SQLITE_BUSY.
    writer: SqlitePool,
    readers: SqlitePool,
    sealer: Arc<Sealer>,
}

impl Catalog {
    /// Opens the database `xenkeep.db` in `dir` with the key file `key` beside it. Both are made if neither is there;
    /// tables are brought up to date.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("xenkeep.db");
        // Made here, because SQLite would let the umask decide who may read it; -wal and -shm take its permissions over.
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| Error::File { path: path.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .pragma("secure_delete", "ON");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        migrator().run(&writer).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_lazy_with(options.read_only(true));
        let sealer = Arc::new(sealer(&writer, dir.join("key")).await?);
        Ok(Self { writer, readers, sealer })
    }

    /// Waits for what is under way and closes all connections.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// Begins a transaction that holds the right to write from its first statement on.
    pub(crate) async fn write(&self) -> Result<Write, Error> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "first", include_str!("../migrations/sqlite/0001_first.sql")),
        migration(2, "stores", include_str!("../migrations/sqlite/0002_stores.sql")),
        migration(3, "upkeep", include_str!("../migrations/sqlite/0003_upkeep.sql")),
        migration(4, "queue", include_str!("../migrations/sqlite/0004_queue.sql")),
        migration(5, "tasks", include_str!("../migrations/sqlite/0005_tasks.sql")),
        migration(8, "sources", include_str!("../migrations/sqlite/0008_sources.sql")),
    ])
}

/// Opens the key file and proves that it is the one of this database; at the very first start makes it.
async fn sealer(writer: &SqlitePool, path: PathBuf) -> Result<Sealer, Error> {
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
