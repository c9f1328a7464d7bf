//! API tokens. The caller hashes: a token in the clear never reaches this crate.

use jiff::Timestamp;
use sqlx::Row as _;

use crate::words::millis;
use crate::{Catalog, Error};

impl Catalog {
    /// Sets the hash (SHA-256, lower-case hex) of the token of a name; the token that bore it before is worth nothing.
    pub async fn set_token(&self, name: &str, sha256: &str, now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO tokens (name, sha256, created_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, created_ms = excluded.created_ms",
        )
        .bind(name)
        .bind(sha256)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Names and hashes of all tokens.
    pub async fn tokens(&self) -> Result<Vec<(String, String)>, Error> {
        let rows = sqlx::query("SELECT name, sha256 FROM tokens ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }
}
