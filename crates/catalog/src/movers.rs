//! Movers: who may ask for jobs, and which of them reaches what. Their tokens are hashed by the caller.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{ClientId, DatastoreId, JobId, LOCAL_MOVER, MoverHello, PoolSummary, Problem};

use crate::db::{Connection, Row};
use crate::words::{from_json, id, json, millis, time};
use crate::{Catalog, Error, names};

/// A mover as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMover {
    /// Its name.
    pub name: String,
    /// It has a token: it is another process, most likely on another machine.
    pub remote: bool,
    /// Its version, once it has been heard of.
    pub version: Option<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Jobs that it takes at once.
    pub capacity: u32,
    /// When it was heard of last, give or take some seconds.
    pub last_seen: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// A client, as far as it matters for the choice of a mover. Also one that is being added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientReach {
    /// The client.
    pub id: ClientId,
    /// Its name.
    pub name: String,
    /// The address that was typed.
    pub address: String,
    /// Management addresses of its hosts, as they were at its last check.
    pub hosts: Vec<String>,
    /// The mover that does its jobs.
    pub mover: Option<String>,
}

/// A datastore, as far as it matters for the choice of a mover. Also one that is being made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatastoreReach {
    /// The datastore.
    pub id: DatastoreId,
    /// Its name.
    pub name: String,
    /// The movers that reach it; none are named when all do.
    pub movers: Vec<String>,
}

impl Catalog {
    /// Adds a mover with the hash (SHA-256, lower-case hex) of its token.
    pub async fn insert_mover(&self, name: &str, token_sha256: &str, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO movers (name, token_sha256, addresses, capacity, created_ms) VALUES ($1, $2, '[]', 0, $3) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(name)
        .bind(token_sha256)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            let problem = Problem::new("mover.exists", format!("there is a mover {name} already"));
            return Err(Error::Exists(problem.hint("choose another name, or remove that one first").about(name)));
        }
        Ok(tx.commit().await?)
    }

    /// All movers, by name.
    pub async fn movers(&self) -> Result<Vec<StoredMover>, Error> {
        let rows = sqlx::query(
            "SELECT name, token_sha256, version, addresses, capacity, last_seen_ms, created_ms FROM movers ORDER BY name",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter().map(stored).collect()
    }

    /// Name of the mover whose token has this hash.
    pub async fn mover_of_token(&self, token_sha256: &str) -> Result<Option<String>, Error> {
        let row = sqlx::query("SELECT name FROM movers WHERE token_sha256 = $1")
            .bind(token_sha256)
            .fetch_optional(self.readers())
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// Keeps what a mover says of itself. One that is built into a server is added thereby.
    pub async fn mover_seen(
        &self,
        name: &str,
        hello: &MoverHello,
        built_in: bool,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        if built_in {
            sqlx::query(
                "INSERT INTO movers (name, addresses, capacity, created_ms) VALUES ($1, '[]', 0, $2) \
                 ON CONFLICT (name) DO NOTHING",
            )
            .bind(name)
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("UPDATE movers SET version = $2, addresses = $3, capacity = $4, last_seen_ms = $5 WHERE name = $1")
            .bind(name)
            .bind(&hello.version)
            .bind(json(&hello.addresses))
            .bind(i64::from(hello.capacity))
            .bind(millis(now))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Removes a mover: its token opens nothing from now on. Refused while a client or datastore names it.
    pub async fn remove_mover(&self, name: &str) -> Result<(), Error> {
        let mut tx = self.write().await?;
        if let Some(owner) = named_by(&mut tx, name).await? {
            let problem = Problem::new("mover.in_use", format!("{owner} is for mover {name}"));
            return Err(Error::InUse(
                problem
                    .hint("choose another one first: xenkeep client set NAME --mover …, xenkeep datastore set NAME --mover …")
                    .about(name),
            ));
        }
        let done = sqlx::query("DELETE FROM movers WHERE name = $1 AND token_sha256 IS NOT NULL")
            .bind(name)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            drop(tx);
            return Err(Error::NotFound(self.no_mover(name).await?));
        }
        Ok(tx.commit().await?)
    }

    /// Sets the mover of a client; none for whichever is free.
    pub async fn set_client_mover(&self, client: ClientId, mover: Option<&str>) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE clients SET mover = $2 WHERE id = $1")
            .bind(client.to_string())
            .bind(mover)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Sets the movers that reach a datastore; none for all.
    pub async fn set_datastore_movers(&self, datastore: DatastoreId, movers: &[String]) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE datastores SET movers = $2 WHERE id = $1")
            .bind(datastore.to_string())
            .bind(json(&movers))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Whether the claim on a job still holds, and is that mover's.
    pub async fn holds_as(&self, job: JobId, fence: i64, mover: &str) -> Result<(), Error> {
        // Also of an ended job: whoever reports its end twice is told that all is well.
        let row = sqlx::query("SELECT 1 FROM jobs WHERE id = $1 AND fence = $2 AND mover = $3")
            .bind(job.to_string())
            .bind(fence)
            .bind(mover)
            .fetch_optional(self.readers())
            .await?;
        row.map(drop).ok_or(Error::LeaseLost(job))
    }

    /// How many jobs each mover runs.
    pub async fn running_by_mover(&self) -> Result<HashMap<String, u32>, Error> {
        let rows = sqlx::query(
            "SELECT mover, COUNT(*) FROM jobs WHERE state = 'running' AND mover IS NOT NULL GROUP BY mover",
        )
        .fetch_all(self.readers())
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(u32::MAX))))
            .collect()
    }

    /// Begins the leases of all jobs anew but those of `mover`: while no server was there, nobody could renew one.
    pub async fn renew_leases_but(&self, mover: &str, until: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE jobs SET lease_until_ms = $2 WHERE state = 'running' AND mover <> $1 AND lease_until_ms < $2",
        )
        .bind(mover)
        .bind(millis(until))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// All clients, as far as it matters for the choice of a mover.
    pub async fn clients_reach(&self) -> Result<Vec<ClientReach>, Error> {
        let rows = sqlx::query("SELECT id, name, address, pool, mover FROM clients").fetch_all(self.readers()).await?;
        rows.iter()
            .map(|row| {
                let pool: Option<String> = row.try_get("pool")?;
                let pool: Option<PoolSummary> = pool.map(|text| from_json("clients.pool", &text)).transpose()?;
                Ok(ClientReach {
                    id: id("clients.id", row.try_get("id")?)?,
                    name: row.try_get("name")?,
                    address: row.try_get("address")?,
                    hosts: pool.map(|pool| pool.addresses().map(str::to_owned).collect()).unwrap_or_default(),
                    mover: row.try_get("mover")?,
                })
            })
            .collect()
    }

    /// All datastores, as far as it matters for the choice of a mover.
    pub async fn datastores_reach(&self) -> Result<Vec<DatastoreReach>, Error> {
        let rows = sqlx::query("SELECT id, name, s3, movers FROM datastores").fetch_all(self.readers()).await?;
        rows.iter()
            .map(|row| {
                Ok(DatastoreReach {
                    id: id("datastores.id", row.try_get("id")?)?,
                    name: row.try_get("name")?,
                    movers: movers_of(row)?,
                })
            })
            .collect()
    }

    /// That there is no mover of a name.
    pub async fn no_mover(&self, name: &str) -> Result<Problem, Error> {
        let known: Vec<String> = self.movers().await?.into_iter().map(|mover| mover.name).collect();
        Ok(names::not_found("mover", name, &known, "xenkeep mover add adds one"))
    }
}

/// The movers that reach the datastore of a row (`s3`, `movers`). A directory that was made before there were movers is
/// on the one that is built in.
pub(crate) fn movers_of(row: &Row) -> Result<Vec<String>, Error> {
    let movers: Option<String> = row.try_get("movers")?;
    let s3: Option<String> = row.try_get("s3")?;
    match movers {
        Some(text) => from_json("datastores.movers", &text),
        None if s3.is_some() => Ok(Vec::new()),
        None => Ok(vec![LOCAL_MOVER.to_owned()]),
    }
}

/// A client or datastore that names a mover, for people.
async fn named_by(tx: &mut Connection, mover: &str) -> Result<Option<String>, Error> {
    let client =
        sqlx::query("SELECT name FROM clients WHERE mover = $1 LIMIT 1").bind(mover).fetch_optional(&mut *tx).await?;
    if let Some(row) = client {
        return Ok(Some(format!("client {}", row.try_get::<String, _>(0)?)));
    }
    for row in sqlx::query("SELECT name, s3, movers FROM datastores ORDER BY name").fetch_all(tx).await? {
        if movers_of(&row)?.iter().any(|name| name == mover) {
            return Ok(Some(format!("datastore {}", row.try_get::<String, _>("name")?)));
        }
    }
    Ok(None)
}

fn stored(row: &Row) -> Result<StoredMover, Error> {
    let last_seen: Option<i64> = row.try_get("last_seen_ms")?;
    Ok(StoredMover {
        name: row.try_get("name")?,
        remote: row.try_get::<Option<String>, _>("token_sha256")?.is_some(),
        version: row.try_get("version")?,
        addresses: from_json("movers.addresses", row.try_get("addresses")?)?,
        capacity: u32::try_from(row.try_get::<i64, _>("capacity")?).unwrap_or(u32::MAX),
        last_seen: last_seen.map(|millis| time("movers.last_seen_ms", millis)).transpose()?,
        created_at: time("movers.created_ms", row.try_get("created_ms")?)?,
    })
}
