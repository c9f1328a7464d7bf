//! Restore points: what can be restored.

use jiff::Timestamp;
use sqlx::Row as _;
use xenkeep_api::{DatastoreId, Point, PointDamage, PointProtection, VerifyDepth, VerifySummary};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_size, from_word, id, json, millis, size, text, time, word};
use crate::{Catalog, Error, names};

/// Points, the newest first: all, or those of an id or its beginning, of a client, of a source, of a datastore.
const SELECT: &str = "SELECT datastore_id, id, client_id, client_name, job_id, kind, source_uuid, source_name, taken_ms, \
    size_bytes, new_bytes, stored_bytes, disks, protected_reason, protected_ms, damage, summary, backup_type, consistency, left_out FROM points \
    WHERE ($1 IS NULL OR substr(id, 1, length($1)) = $1) \
    AND ($2 IS NULL OR client_id = lower($2) OR client_name = $2) \
    AND ($3 IS NULL OR source_uuid = lower($3) OR source_name = $3) \
    AND ($4 IS NULL OR datastore_id = $4) \
    ORDER BY taken_ms DESC, id LIMIT $5";

/// Length of a snapshot's id as text.
const ID_LEN: usize = 64;

/// Which points to list; what is absent does not restrict.
#[derive(Debug, Clone, Default)]
pub struct PointQuery {
    /// Id of a client, or the name that it had when the point was taken: clients come and go.
    pub client: Option<String>,
    /// Name-label or uuid of a VM, a pool or a host.
    pub vm: Option<String>,
    /// A datastore.
    pub datastore: Option<DatastoreId>,
}

impl Catalog {
    /// Restore points, the newest first, no more than `limit`.
    pub async fn points(&self, query: &PointQuery, limit: u32) -> Result<Vec<Point>, Error> {
        self.select_points(None, query, limit).await?.iter().map(point).collect()
    }

    /// The restore point of an id or of its beginning.
    pub async fn find_point(&self, id_or_prefix: &str) -> Result<Point, Error> {
        let hint = "xenkeep point list shows all restore points";
        let none = || Error::NotFound(names::not_found("point", id_or_prefix, &[], hint));
        let prefix = names::id_prefix(id_or_prefix, ID_LEN).ok_or_else(none)?;
        let rows = self.select_points(Some(&prefix), &PointQuery::default(), 5).await?;
        match rows.as_slice() {
            [] => Err(none()),
            [row] => point(row),
            rows => {
                let ids = rows.iter().map(|row| row.try_get("id")).collect::<Result<Vec<String>, _>>()?;
                Err(Error::Ambiguous(names::ambiguous("point", &prefix, &ids)))
            }
        }
    }

    async fn select_points(&self, prefix: Option<&str>, query: &PointQuery, limit: u32) -> Result<Vec<Row>, Error> {
        let query = sqlx::query(SELECT)
            .bind(prefix)
            .bind(query.client.as_deref())
            .bind(query.vm.as_deref())
            .bind(query.datastore.map(|datastore| datastore.to_string()))
            .bind(i64::from(limit));
        Ok(query.fetch_all(self.readers()).await?)
    }
}

/// The points of a source in a datastore, the newest first.
pub(crate) async fn of_source(tx: &mut Connection, like: &Point) -> Result<Vec<Point>, Error> {
    let query = sqlx::query(SELECT)
        .bind(None::<String>)
        .bind(Some(&like.client_name))
        .bind(Some(&like.source_uuid))
        .bind(Some(like.datastore.to_string()))
        .bind(i64::from(u32::MAX));
    let points: Vec<Point> = query.fetch_all(tx).await?.iter().map(point).collect::<Result<_, _>>()?;
    // A VM may be called what the uuid of another one is.
    Ok(points.into_iter().filter(|point| point.source_uuid == like.source_uuid && point.kind == like.kind).collect())
}

/// Adds points; one that is there already is left as it is.
pub(crate) async fn insert(tx: &mut Connection, points: &[Point]) -> Result<(), Error> {
    for point in points {
        sqlx::query(
            "INSERT INTO points (datastore_id, id, client_id, client_name, job_id, kind, source_uuid, source_name, taken_ms, \
             size_bytes, new_bytes, stored_bytes, disks, protected_reason, protected_ms, damage, summary, \
             backup_type, consistency, left_out) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
             ON CONFLICT (datastore_id, id) DO NOTHING",
        )
        .bind(point.datastore.to_string())
        .bind(&point.id)
        .bind(point.client.to_string())
        .bind(&point.client_name)
        .bind(point.job.to_string())
        .bind(word(&point.kind))
        .bind(point.source_uuid.to_ascii_lowercase())
        .bind(text(&point.source_name))
        .bind(millis(point.taken_at))
        .bind(size(point.size_bytes))
        .bind(size(point.new_bytes))
        .bind(size(point.stored_bytes))
        .bind(json(&point.disks))
        .bind(point.protection.as_ref().map(|protection| &protection.reason))
        .bind(point.protection.as_ref().map(|protection| millis(protection.since)))
        .bind(point.damage.as_ref().map(json))
        .bind(point.summary.as_ref().map(json))
        .bind(point.backup_type.as_ref().map(word))
        .bind(point.consistency.as_ref().map(json))
        .bind((!point.left_out.is_empty()).then(|| json(&point.left_out)))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// Takes points out that are gone from their datastore; one that is not there is no mistake.
pub(crate) async fn remove(tx: &mut Connection, datastore: DatastoreId, ids: &[String]) -> Result<(), Error> {
    for id in ids {
        sqlx::query("DELETE FROM points WHERE datastore_id = $1 AND id = $2")
            .bind(datastore.to_string())
            .bind(id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// Notes that a point is protected, or is so no more.
pub(crate) async fn protect(
    tx: &mut Connection,
    datastore: DatastoreId,
    id: &str,
    protection: Option<&PointProtection>,
) -> Result<(), Error> {
    sqlx::query("UPDATE points SET protected_reason = $3, protected_ms = $4 WHERE datastore_id = $1 AND id = $2")
        .bind(datastore.to_string())
        .bind(id)
        .bind(protection.map(|protection| &protection.reason))
        .bind(protection.map(|protection| millis(protection.since)))
        .execute(tx)
        .await?;
    Ok(())
}

/// Notes which points a verification found damaged; and, if it has looked at everything, that the others are not.
pub(crate) async fn verified(
    tx: &mut Connection,
    datastore: DatastoreId,
    at: Timestamp,
    found: &VerifySummary,
) -> Result<(), Error> {
    if found.request.is_whole() {
        let rows = sqlx::query("SELECT id, damage FROM points WHERE datastore_id = $1 AND damage IS NOT NULL")
            .bind(datastore.to_string())
            .fetch_all(&mut *tx)
            .await?;
        for row in rows {
            let (id, damage): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            let damage: PointDamage = from_json("points.damage", &damage)?;
            // A quick look does not see what a full one has found.
            if found.request.depth == VerifyDepth::Full || damage.depth == VerifyDepth::Quick {
                set_damage(tx, datastore, &id, None).await?;
            }
        }
    }
    for touched in &found.touched {
        let damage = PointDamage {
            found_at: at,
            depth: found.request.depth,
            disks: touched.disks.clone(),
            files: touched.files.clone(),
            whole: touched.whole,
        };
        set_damage(tx, datastore, &touched.point, Some(&damage)).await?;
    }
    Ok(())
}

async fn set_damage(
    tx: &mut Connection,
    datastore: DatastoreId,
    id: &str,
    damage: Option<&PointDamage>,
) -> Result<(), Error> {
    sqlx::query("UPDATE points SET damage = $3 WHERE datastore_id = $1 AND id = $2")
        .bind(datastore.to_string())
        .bind(id)
        .bind(damage.map(json))
        .execute(tx)
        .await?;
    Ok(())
}

fn point(row: &Row) -> Result<Point, Error> {
    let reason: Option<String> = row.try_get("protected_reason")?;
    let since: Option<i64> = row.try_get("protected_ms")?;
    let protection = reason
        .zip(since)
        .map(|(reason, since)| Ok::<_, Error>(PointProtection { reason, since: time("points.protected_ms", since)? }));
    let damage: Option<String> = row.try_get("damage")?;
    let summary: Option<String> = row.try_get("summary")?;
    let backup_type: Option<String> = row.try_get("backup_type")?;
    let consistency: Option<String> = row.try_get("consistency")?;
    let left_out: Option<String> = row.try_get("left_out")?;
    Ok(Point {
        id: row.try_get("id")?,
        datastore: id("points.datastore_id", row.try_get("datastore_id")?)?,
        client: id("points.client_id", row.try_get("client_id")?)?,
        client_name: row.try_get("client_name")?,
        job: id("points.job_id", row.try_get("job_id")?)?,
        kind: from_word("points.kind", row.try_get("kind")?)?,
        source_uuid: row.try_get("source_uuid")?,
        source_name: row.try_get("source_name")?,
        taken_at: time("points.taken_ms", row.try_get("taken_ms")?)?,
        size_bytes: from_size("points.size_bytes", row.try_get("size_bytes")?)?,
        new_bytes: from_size("points.new_bytes", row.try_get("new_bytes")?)?,
        stored_bytes: from_size("points.stored_bytes", row.try_get("stored_bytes")?)?,
        disks: from_json("points.disks", row.try_get("disks")?)?,
        protection: protection.transpose()?,
        damage: damage.map(|text| from_json("points.damage", &text)).transpose()?,
        summary: summary.map(|text| from_json("points.summary", &text)).transpose()?,
        backup_type: backup_type.map(|text| from_word("points.backup_type", text)).transpose()?,
        consistency: consistency.map(|text| from_json("points.consistency", &text)).transpose()?,
        left_out: left_out.map_or(Ok(Vec::new()), |text| from_json("points.left_out", &text))?,
    })
}
