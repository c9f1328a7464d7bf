//! The pool's own database.

use super::download::Download;
use super::upload::{Upload, flag};
use crate::{Pool, Result, TaskRef};

const PATH: &str = "/pool/xmldbdump";

impl Pool {
    /// Begins to read the pool's database as XML. It ends with `</database>`; if not, it is not whole. During a rolling upgrade
    /// of the pool what comes is whole, but empty.
    ///
    /// # Errors
    /// Why the pool refused; the task is destroyed then.
    pub async fn dump_database(&self, task: TaskRef) -> Result<Download> {
        self.download(PATH, Vec::new(), task).await
    }

    /// Begins to send a database of `bytes` bytes. The pool looks at it when it has all of it. With `dry_run` it changes nothing;
    /// without, it forgets its members, and its master restarts half a minute after the task has succeeded.
    ///
    /// # Errors
    /// Why the pool refused; the task is destroyed then.
    pub async fn restore_database(&self, bytes: u64, dry_run: bool, task: TaskRef) -> Result<Upload> {
        let mut query = Vec::new();
        flag(&mut query, "dry_run", dry_run);
        self.upload(PATH, query, task, Some(bytes)).await
    }
}
