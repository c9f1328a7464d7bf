//! Datastores: the repositories, and how to open them.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use xenkeep_api::{
    Datastore, DatastoreAccess, DatastoreId, DatastoreState, JobId, LastPrune, LastVerify, NewDatastore, Problem,
    PruneSummary, Secret, VerifyDepth, VerifySummary,
};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_size, id, json, millis, size, time};
use crate::{Catalog, Error, jobs, movers, names};

/// The datastores that are there: all, or the one of a name or id.
const SELECT: &str = "SELECT id, name, path, s3, movers, repository_id, created_ms, stored_bytes, verified_quick, verified_full, \
    pruned, (SELECT COUNT(*) FROM points WHERE points.datastore_id = datastores.id) AS points FROM datastores \
    WHERE repository_id IS NOT NULL AND ($1 IS NULL OR name = $1 OR id = $2) ORDER BY name";

impl Catalog {
    /// Adds a datastore that nobody sees before its repository has been created or opened. Its place is what `path`
    /// says, and for one on an S3 server `s3` as well.
    pub async fn insert_datastore(
        &self,
        datastore: DatastoreId,
        new: &NewDatastore,
        password: &Secret,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sealed = self.sealer().seal(&password_place(datastore), password)?;
        let secret = new.s3_secret_access_key.as_ref();
        let s3_secret = secret.map(|secret| self.sealer().seal(&s3_secret_place(datastore), secret)).transpose()?;
        let at = new.path.as_deref().unwrap_or_default();
        let mut tx = self.write().await?;
        for row in sqlx::query("SELECT name, path FROM datastores").fetch_all(&mut *tx).await? {
            let (name, path): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(problem) = collision(&new.name, at, &name, &path) {
                return Err(Error::Exists(problem));
            }
        }
        sqlx::query(
            "INSERT INTO datastores (id, name, path, s3, s3_secret_sealed, password_sealed, created_ms, \
             movers) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(datastore.to_string())
        .bind(&new.name)
        .bind(at)
        .bind(new.s3.as_ref().map(json))
        .bind(s3_secret)
        .bind(sealed)
        .bind(millis(now))
        .bind(json(&new.movers))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// All datastores, by name.
    pub async fn datastores(&self) -> Result<Vec<Datastore>, Error> {
        let query = sqlx::query(SELECT).bind(None::<String>).bind(None::<String>);
        query.fetch_all(self.readers()).await?.iter().map(datastore).collect()
    }

    /// The datastore of a name or an id.
    pub async fn datastore(&self, name_or_id: &str) -> Result<Datastore, Error> {
        let row = sqlx::query(SELECT)
            .bind(name_or_id)
            .bind(name_or_id.to_ascii_lowercase())
            .fetch_optional(self.readers())
            .await?;
        match row {
            Some(row) => datastore(&row),
            None => Err(Error::NotFound(self.no_datastore(name_or_id).await?)),
        }
    }

    /// How to open a datastore, also one that is being created.
    pub async fn datastore_access(&self, datastore: DatastoreId) -> Result<DatastoreAccess, Error> {
        let row = sqlx::query("SELECT name, path, s3, s3_secret_sealed, password_sealed FROM datastores WHERE id = $1")
            .bind(datastore.to_string())
            .fetch_optional(self.readers())
            .await?;
        let Some(row) = row else {
            return Err(Error::NotFound(self.no_datastore(&datastore.to_string()).await?));
        };
        let s3_secret: Option<Vec<u8>> = row.try_get("s3_secret_sealed")?;
        let open = |sealed: Vec<u8>| self.sealer().open(&s3_secret_place(datastore), &sealed);
        Ok(DatastoreAccess {
            id: datastore,
            name: row.try_get("name")?,
            path: row.try_get("path")?,
            s3: document(&row, "s3")?,
            s3_secret_access_key: s3_secret.map(open).transpose()?,
            password: self.sealer().open(&password_place(datastore), row.try_get("password_sealed")?)?,
        })
    }

    /// Forgets a datastore; its files stay. Refused while it holds restore points or a job uses it.
    pub async fn remove_datastore(&self, datastore: &Datastore) -> Result<(), Error> {
        let (name, key) = (&datastore.name, datastore.id.to_string());
        let mut tx = self.write().await?;
        let points: i64 = sqlx::query("SELECT COUNT(*) FROM points WHERE datastore_id = $1")
            .bind(&key)
            .fetch_one(&mut *tx)
            .await?
            .try_get(0)?;
        if points > 0 {
            return Err(Error::InUse(
                Problem::new("datastore.in_use", format!("datastore {name} holds restore points: {points}"))
                    .hint("its key would be lost with it, and the restore points could never be read again")
                    .about(name.clone()),
            ));
        }
        if let Some(job) = jobs::unfinished_of(&mut tx, jobs::Owner::Datastore, &key).await? {
            return Err(Error::InUse(
                Problem::new("datastore.in_use", format!("job {job} with datastore {name} has not ended"))
                    .hint(format!("wait for it, or cancel it: xenkeep job cancel {job}"))
                    .about(name.clone()),
            ));
        }
        let drive = sqlx::query("SELECT number FROM drives WHERE datastore_id = $1 ORDER BY number LIMIT 1")
            .bind(&key)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = drive {
            let number: i64 = row.try_get(0)?;
            return Err(Error::InUse(
                Problem::new("datastore.in_use", format!("drive {number} leads to datastore {name}"))
                    .hint(format!("xenkeep drive remove {number}"))
                    .about(name.clone()),
            ));
        }
        sqlx::query("DELETE FROM datastores WHERE id = $1").bind(&key).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a datastore whose repository could not be created, whatever its jobs.
    pub async fn discard_datastore(&self, datastore: DatastoreId) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM datastores WHERE id = $1 AND repository_id IS NULL")
            .bind(datastore.to_string())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Removes clients and datastores that a server was adding when it died. Where other servers live, what they may
    /// just be adding is left alone.
    pub async fn discard_unready(&self, now: Timestamp) -> Result<(), Error> {
        const ADDED_AT_LAST: SignedDuration = SignedDuration::from_mins(10);
        let before = if self.is_shared() { millis(now - ADDED_AT_LAST) } else { i64::MAX };
        let mut tx = self.write().await?;
        for delete in [
            "DELETE FROM clients WHERE ready <> 1 AND created_ms < $1",
            "DELETE FROM datastores WHERE repository_id IS NULL AND created_ms < $1",
        ] {
            sqlx::query(delete).bind(before).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    async fn no_datastore(&self, name: &str) -> Result<Problem, Error> {
        let known: Vec<String> = self.datastores().await?.into_iter().map(|datastore| datastore.name).collect();
        Ok(names::not_found("datastore", name, &known, "xenkeep datastore create makes one"))
    }
}

/// The name of a datastore that is there.
pub(crate) async fn name(tx: &mut Connection, datastore: DatastoreId) -> Result<String, Error> {
    let query = sqlx::query("SELECT name FROM datastores WHERE id = $1").bind(datastore.to_string());
    Ok(query.fetch_one(tx).await?.try_get(0)?)
}

/// The repository is there: from now on the datastore is, too.
pub(crate) async fn created(tx: &mut Connection, datastore: DatastoreId, repository_id: &str) -> Result<(), Error> {
    sqlx::query("UPDATE datastores SET repository_id = $2, stored_bytes = 0 WHERE id = $1")
        .bind(datastore.to_string())
        .bind(repository_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// A job has added so many bytes.
pub(crate) async fn grown(tx: &mut Connection, datastore: DatastoreId, bytes: u64) -> Result<(), Error> {
    // NULL stays NULL: the sum of an unknown number is unknown.
    sqlx::query("UPDATE datastores SET stored_bytes = stored_bytes + $2 WHERE id = $1")
        .bind(datastore.to_string())
        .bind(size(bytes))
        .execute(tx)
        .await?;
    Ok(())
}

/// How a prune ended.
pub(crate) async fn pruned(
    tx: &mut Connection,
    datastore: DatastoreId,
    at: Timestamp,
    job: JobId,
    prune: &PruneSummary,
) -> Result<(), Error> {
    let last = LastPrune { at, job, deleted_bytes: prune.deleted.bytes, reclaimable_bytes: prune.reclaimable_bytes };
    sqlx::query("UPDATE datastores SET pruned = $2, stored_bytes = $3 WHERE id = $1")
        .bind(datastore.to_string())
        .bind(json(&last))
        .bind(size(prune.stored_bytes))
        .execute(tx)
        .await?;
    Ok(())
}

/// How a verification ended. A quick one of everything and a full one, even of a part, are kept apart.
pub(crate) async fn verified(
    tx: &mut Connection,
    datastore: DatastoreId,
    at: Timestamp,
    job: JobId,
    verify: &VerifySummary,
) -> Result<(), Error> {
    let last = LastVerify {
        at,
        job,
        request: verify.request.clone(),
        damaged_files: (verify.files.len() as u64).saturating_add(verify.more_files),
        touched_points: verify.touched.len() as u64,
    };
    let query = match verify.request.depth {
        VerifyDepth::Quick => "UPDATE datastores SET stored_bytes = $3, verified_quick = $2 WHERE id = $1",
        VerifyDepth::Full => "UPDATE datastores SET stored_bytes = $3, verified_full = $2 WHERE id = $1",
    };
    let measured = verify.bytes_total.saturating_add(verify.unindexed_bytes);
    sqlx::query(query).bind(datastore.to_string()).bind(json(&last)).bind(size(measured)).execute(tx).await?;
    Ok(())
}

/// The repository is there, and nobody knows how much it holds.
pub(crate) async fn attached(tx: &mut Connection, datastore: DatastoreId, repository_id: &str) -> Result<(), Error> {
    sqlx::query("UPDATE datastores SET repository_id = $2 WHERE id = $1")
        .bind(datastore.to_string())
        .bind(repository_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Two datastores may share neither name nor place, and none may lie within another.
fn collision(new_name: &str, new_path: &str, name: &str, path: &str) -> Option<Problem> {
    if new_name == name {
        let problem = Problem::new("datastore.exists", format!("there is a datastore {name} already"));
        return Some(problem.hint("choose another name").about(name));
    }
    let (ours, theirs) = (place(new_path), place(path));
    let (ours, theirs) = (Path::new(&ours), Path::new(&theirs));
    (ours.starts_with(theirs) || theirs.starts_with(ours)).then(|| {
        Problem::new("datastore.path_taken", format!("{new_path} overlaps with {path}, where datastore {name} lies"))
            .hint("choose a place of its own")
            .about(path)
    })
}

/// A place for comparing: the same server is the same whether it is reached over http or https.
fn place(path: &str) -> String {
    let Some(address) = path.strip_prefix("s3:") else { return path.to_owned() };
    let (port, rest) = match address.split_once("://") {
        Some(("http", rest)) => (":80", rest),
        Some((_, rest)) => (":443", rest),
        None => ("", address),
    };
    let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
    format!("s3:/{}/{key}", host.strip_suffix(port).unwrap_or(host).to_ascii_lowercase())
}

fn s3_secret_place(datastore: DatastoreId) -> String {
    format!("datastores/{datastore}/s3_secret")
}

fn password_place(datastore: DatastoreId) -> String {
    format!("datastores/{datastore}/password")
}

fn state(row: &Row) -> Result<DatastoreState, Error> {
    let stored: Option<i64> = row.try_get("stored_bytes")?;
    Ok(DatastoreState {
        points: from_size("datastores.points", row.try_get("points")?)?,
        stored_bytes: stored.map(|bytes| from_size("datastores.stored_bytes", bytes)).transpose()?,
        verified_quick: document(row, "verified_quick")?,
        verified_full: document(row, "verified_full")?,
        pruned: document(row, "pruned")?,
    })
}

fn document<T: DeserializeOwned>(row: &Row, column: &str) -> Result<Option<T>, Error> {
    let text: Option<String> = row.try_get(column)?;
    text.map(|text| from_json(column, &text)).transpose()
}

fn datastore(row: &Row) -> Result<Datastore, Error> {
    Ok(Datastore {
        id: id("datastores.id", row.try_get("id")?)?,
        name: row.try_get("name")?,
        path: row.try_get("path")?,
        s3: document(row, "s3")?,
        repository_id: row.try_get("repository_id")?,
        created_at: time("datastores.created_ms", row.try_get("created_ms")?)?,
        movers: movers::movers_of(row)?,
        state: state(row)?,
    })
}
