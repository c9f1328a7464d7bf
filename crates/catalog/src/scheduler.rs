//! The one scheduler among several servers.

use sqlx::{AnyConnection, Connection as _, Row as _};

use crate::db::SCHEDULER_LOCK;
use crate::{Catalog, Error};

/// The right to start what schedules say. Dropping it, or losing the connection to the database, gives it back.
#[derive(Debug)]
pub struct Scheduler {
    /// The connection whose lock it is; none where there is one server only.
    connection: Option<AnyConnection>,
}

impl Catalog {
    /// Takes the right to start what schedules say; none while another server has it.
    pub async fn become_scheduler(&self) -> Result<Option<Scheduler>, Error> {
        if !self.is_shared() {
            return Ok(Some(Scheduler { connection: None }));
        }
        let mut connection = self.writer().acquire().await?.detach();
        let row =
            sqlx::query("SELECT pg_try_advisory_lock($1)").bind(SCHEDULER_LOCK).fetch_one(&mut connection).await?;
        if row.try_get::<bool, _>(0)? {
            return Ok(Some(Scheduler { connection: Some(connection) }));
        }
        connection.close().await?;
        Ok(None)
    }
}

impl Scheduler {
    /// Whether the right is still held: to be asked before each round. Whoever hears no drops it and asks for it anew.
    pub async fn holds(&mut self) -> bool {
        match &mut self.connection {
            None => true,
            Some(connection) => connection.ping().await.is_ok(),
        }
    }
}
