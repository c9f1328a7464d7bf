//! Drives: numbered ways into a datastore, each with so many channels.

use sqlx::Row as _;
use xenkeep_api::{DatastoreId, Drive, Problem};

use crate::db::Row;
use crate::words::{from_number, id, millis, time};
use crate::{Catalog, Error, names};

/// The drives: all, or the one of a number.
const SELECT: &str = "SELECT number, drives.name AS name, datastore_id, datastores.name AS datastore_name, channels, \
    drives.created_ms AS created_ms FROM drives JOIN datastores ON datastores.id = drives.datastore_id \
    WHERE ($1 IS NULL OR number = $1) ORDER BY number";

impl Catalog {
    /// Adds a drive.
    pub async fn insert_drive(&self, drive: &Drive) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let taken = sqlx::query("SELECT number FROM drives WHERE number = $1 OR name = $2")
            .bind(i64::from(drive.number))
            .bind(&drive.name)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = taken {
            return Err(Error::Exists(taken_by(from_number("drives.number", row.try_get(0)?)?, drive.number)));
        }
        sqlx::query(
            "INSERT INTO drives (number, name, datastore_id, channels, created_ms) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(i64::from(drive.number))
        .bind(&drive.name)
        .bind(drive.datastore.to_string())
        .bind(i64::from(drive.channels))
        .bind(millis(drive.created_at))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// All drives, by number.
    pub async fn drives(&self) -> Result<Vec<Drive>, Error> {
        sqlx::query(SELECT).bind(None::<i64>).fetch_all(self.readers()).await?.iter().map(drive).collect()
    }

    /// The drive of a number.
    pub async fn drive(&self, number: u32) -> Result<Drive, Error> {
        let row = sqlx::query(SELECT).bind(Some(i64::from(number))).fetch_optional(self.readers()).await?;
        match row {
            Some(row) => drive(&row),
            None => {
                let known: Vec<String> = self.drives().await?.iter().map(|drive| drive.number.to_string()).collect();
                let hint = "xenkeep drive create makes one";
                Err(Error::NotFound(names::not_found("drive", &number.to_string(), &known, hint)))
            }
        }
    }

    /// Gives a drive another name and other channels.
    pub async fn set_drive(&self, number: u32, name: Option<&str>, channels: u32) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let taken = sqlx::query("SELECT number FROM drives WHERE name = $2 AND number <> $1")
            .bind(i64::from(number))
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = taken {
            return Err(Error::Exists(taken_by(from_number("drives.number", row.try_get(0)?)?, number)));
        }
        sqlx::query("UPDATE drives SET name = $2, channels = $3 WHERE number = $1")
            .bind(i64::from(number))
            .bind(name)
            .bind(i64::from(channels))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// Removes a drive. Refused while a job waits for it or writes through it.
    pub async fn remove_drive(&self, number: u32) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let unfinished = sqlx::query("SELECT id FROM jobs WHERE drive = $1 AND state IN ('queued', 'running') LIMIT 1")
            .bind(i64::from(number))
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = unfinished {
            let job: String = row.try_get(0)?;
            return Err(Error::InUse(
                Problem::new("drive.in_use", format!("job {job} through drive {number} has not ended"))
                    .hint(format!("wait for it, or cancel it: xenkeep job cancel {job}"))
                    .about(number.to_string()),
            ));
        }
        sqlx::query("DELETE FROM drives WHERE number = $1").bind(i64::from(number)).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

fn taken_by(taken: u32, wanted: u32) -> Problem {
    let message = match taken == wanted {
        true => format!("there is a drive {taken} already"),
        false => format!("drive {taken} bears that name already"),
    };
    Problem::new("drive.exists", message).hint("choose another number or name").about(taken.to_string())
}

fn drive(row: &Row) -> Result<Drive, Error> {
    let datastore: DatastoreId = id("drives.datastore_id", row.try_get("datastore_id")?)?;
    Ok(Drive {
        number: from_number("drives.number", row.try_get("number")?)?,
        name: row.try_get("name")?,
        datastore,
        datastore_name: row.try_get("datastore_name")?,
        channels: from_number("drives.channels", row.try_get("channels")?)?,
        created_at: time("drives.created_ms", row.try_get("created_ms")?)?,
    })
}
