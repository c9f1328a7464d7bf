//! Clients: the pools, and how to log in to them.

use sqlx::Row as _;
use xenkeep_api::{Client, ClientAccess, ClientId, ClientLimits, MemberAccess, PoolSummary, Problem, Secret};

use crate::db::{Connection, Row};
use crate::queue::client_limits;
use crate::words::{from_json, from_word, id, json, millis, time, word};
use crate::{Catalog, Error, jobs, names, tasks};

/// `ready` of a client that is being added.
const ADDED: i64 = 0;
/// `ready` of what a client is to become.
const CANDIDATE: i64 = 2;

/// The clients that are there: all, or the one of a name or id.
const SELECT: &str = "SELECT id, name, address, user_name, transport, certificate_sha256, pool, mover, created_ms, \
    max_jobs, max_host_jobs, max_sr_jobs \
    FROM clients WHERE ready = 1 AND ($1 IS NULL OR name = $1 OR id = $2) ORDER BY name";

impl Catalog {
    /// Adds a client that nobody sees before its check has succeeded.
    pub async fn insert_client(&self, client: &Client, password: &Secret) -> Result<(), Error> {
        self.insert_unready(client, password, ADDED).await
    }

    /// Adds what a client is to become: nobody ever sees it. Its name must be one that no client can have.
    pub async fn insert_candidate(&self, candidate: &Client, password: &Secret) -> Result<(), Error> {
        self.insert_unready(candidate, password, CANDIDATE).await
    }

    async fn insert_unready(&self, client: &Client, password: &Secret, ready: i64) -> Result<(), Error> {
        let sealed = self.sealer().seal(&password_place(client.id), password)?;
        let mut tx = self.write().await?;
        let taken = sqlx::query("SELECT ready FROM clients WHERE name = $1")
            .bind(&client.name)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = taken {
            return Err(Error::Exists(name_taken(&client.name, row.try_get::<i64, _>(0)? == 1)));
        }
        sqlx::query(
            "INSERT INTO clients (id, name, address, user_name, password_sealed, transport, certificate_sha256, pool, \
             ready, created_ms, mover) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(client.id.to_string())
        .bind(&client.name)
        .bind(&client.address)
        .bind(&client.user)
        .bind(sealed)
        .bind(word(&client.transport))
        .bind(&client.certificate_sha256)
        .bind(client.pool.as_ref().map(json))
        .bind(ready)
        .bind(millis(client.created_at))
        .bind(&client.mover)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// All clients, by name.
    pub async fn clients(&self) -> Result<Vec<Client>, Error> {
        let query = sqlx::query(SELECT).bind(None::<String>).bind(None::<String>);
        query.fetch_all(self.readers()).await?.iter().map(client).collect()
    }

    /// The client of a name or an id.
    pub async fn client(&self, name_or_id: &str) -> Result<Client, Error> {
        let row = sqlx::query(SELECT)
            .bind(name_or_id)
            .bind(name_or_id.to_ascii_lowercase())
            .fetch_optional(self.readers())
            .await?;
        match row {
            Some(row) => client(&row),
            None => Err(Error::NotFound(self.no_client(name_or_id).await?)),
        }
    }

    /// How to log in to a client, also to one that is being added.
    pub async fn client_access(&self, client: ClientId) -> Result<ClientAccess, Error> {
        let row = sqlx::query(
            "SELECT name, address, user_name, password_sealed, transport, certificate_sha256, pool FROM clients WHERE id = $1",
        )
        .bind(client.to_string())
        .fetch_optional(self.readers())
        .await?;
        let Some(row) = row else {
            return Err(Error::NotFound(self.no_client(&client.to_string()).await?));
        };
        Ok(ClientAccess {
            id: client,
            name: row.try_get("name")?,
            address: row.try_get("address")?,
            user: row.try_get("user_name")?,
            password: self.sealer().open(&password_place(client), row.try_get("password_sealed")?)?,
            transport: from_word("clients.transport", row.try_get("transport")?)?,
            certificate_sha256: row.try_get("certificate_sha256")?,
            members: members(row.try_get("pool")?)?,
        })
    }

    /// Puts a candidate, whose check has succeeded, in the place of a client: the same id and name, all else of the
    /// candidate's. `password` is the one that the candidate was checked with.
    pub async fn replace_client(&self, client: ClientId, candidate: ClientId, password: &Secret) -> Result<(), Error> {
        let sealed = self.sealer().seal(&password_place(client), password)?;
        let mut tx = self.write().await?;
        let row =
            sqlx::query("SELECT address, user_name, transport, certificate_sha256, pool FROM clients WHERE id = $1")
                .bind(candidate.to_string())
                .fetch_one(&mut *tx)
                .await?;
        sqlx::query(
            "UPDATE clients SET address = $2, user_name = $3, transport = $4, certificate_sha256 = $5, pool = $6, \
             password_sealed = $7 WHERE id = $1",
        )
        .bind(client.to_string())
        .bind(row.try_get::<String, _>("address")?)
        .bind(row.try_get::<String, _>("user_name")?)
        .bind(row.try_get::<String, _>("transport")?)
        .bind(row.try_get::<Option<String>, _>("certificate_sha256")?)
        .bind(row.try_get::<Option<String>, _>("pool")?)
        .bind(sealed)
        .execute(&mut *tx)
        .await?;
        sqlx::query("DELETE FROM clients WHERE id = $1").bind(candidate.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Sets how many jobs may work on a client's pool at once.
    pub async fn set_client_limits(&self, client: ClientId, limits: &ClientLimits) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE clients SET max_jobs = $2, max_host_jobs = $3, max_sr_jobs = $4 WHERE id = $1")
            .bind(client.to_string())
            .bind(limits.jobs.map(i64::from))
            .bind(limits.jobs_per_host.map(i64::from))
            .bind(limits.jobs_per_sr.map(i64::from))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Removes a client. Refused while a job of it is queued or running; its restore points stay.
    pub async fn remove_client(&self, client: &Client) -> Result<(), Error> {
        let mut tx = self.write().await?;
        if let Some(job) = jobs::unfinished_of(&mut tx, jobs::Owner::Client, &client.id.to_string()).await? {
            return Err(Error::InUse(
                Problem::new("client.in_use", format!("job {job} of client {} has not ended", client.name))
                    .hint(format!("wait for it, or cancel it: xenkeep job cancel {job}"))
                    .about(client.name.clone()),
            ));
        }
        tasks::refuse_removal(&mut tx, client).await?;
        sqlx::query("DELETE FROM clients WHERE id = $1").bind(client.id.to_string()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a client whose check failed, whatever its jobs.
    pub async fn discard_client(&self, client: ClientId) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM clients WHERE id = $1 AND ready <> 1")
            .bind(client.to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    async fn no_client(&self, name: &str) -> Result<Problem, Error> {
        let known: Vec<String> = self.clients().await?.into_iter().map(|client| client.name).collect();
        Ok(names::not_found("client", name, &known, "xenkeep client add adds one"))
    }
}

/// What a successful check found: the client is there from now on, with the certificate of the first contact.
pub(crate) async fn checked(tx: &mut Connection, client: ClientId, pool: &PoolSummary) -> Result<(), Error> {
    sqlx::query(
        "UPDATE clients SET pool = $2, ready = CASE WHEN ready = 0 THEN 1 ELSE ready END, \
         certificate_sha256 = COALESCE(certificate_sha256, $3) WHERE id = $1",
    )
    .bind(client.to_string())
    .bind(json(pool))
    .bind(&pool.certificate_sha256)
    .execute(tx)
    .await?;
    Ok(())
}

/// What was seen of a pool on the way: the client knows its hosts, and which of them is the master now.
pub(crate) async fn seen(tx: &mut Connection, client: ClientId, pool: &PoolSummary) -> Result<(), Error> {
    sqlx::query("UPDATE clients SET pool = $2 WHERE id = $1")
        .bind(client.to_string())
        .bind(json(pool))
        .execute(tx)
        .await?;
    Ok(())
}

/// The hosts of a pool as they were known last, the master first.
fn members(pool: Option<String>) -> Result<Vec<MemberAccess>, Error> {
    let pool: Option<PoolSummary> = pool.map(|text| from_json("clients.pool", &text)).transpose()?;
    let members = pool.into_iter().flat_map(|pool| pool.members);
    Ok(members
        .map(|host| MemberAccess { address: host.address, certificate_sha256: host.certificate_sha256 })
        .collect())
}

fn password_place(client: ClientId) -> String {
    format!("clients/{client}/password")
}

fn name_taken(name: &str, ready: bool) -> Problem {
    let message = if ready {
        format!("there is a client {name} already")
    } else {
        format!("client {name} is being added already")
    };
    Problem::new("client.exists", message).hint("choose another name").about(name)
}

fn client(row: &Row) -> Result<Client, Error> {
    let pool: Option<String> = row.try_get("pool")?;
    Ok(Client {
        id: id("clients.id", row.try_get("id")?)?,
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        user: row.try_get("user_name")?,
        transport: from_word("clients.transport", row.try_get("transport")?)?,
        certificate_sha256: row.try_get("certificate_sha256")?,
        pool: pool.map(|text| from_json("clients.pool", &text)).transpose()?,
        mover: row.try_get("mover")?,
        limits: client_limits(row)?,
        created_at: time("clients.created_ms", row.try_get("created_ms")?)?,
    })
}
