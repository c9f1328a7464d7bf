use super::{ApiClient, Error};
use crate::{HostBackupRequest, HostRestoreRequest, Job, MetaDataBackupRequest, MetaDataRestoreRequest};

/// Pools' databases, and hosts.
impl ApiClient {
    /// `POST /backups/meta-data`: queues a backup of a pool's database.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn back_up_meta_data(&self, request: &MetaDataBackupRequest) -> Result<Job, Error> {
        self.post(&["backups", "meta-data"], request).await
    }

    /// `POST /backups/hosts`: queues the backup of a host, or of all hosts of a pool.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn back_up_hosts(&self, request: &HostBackupRequest) -> Result<Job, Error> {
        self.post(&["backups", "hosts"], request).await
    }

    /// `POST /restores/meta-data`: queues the return of a pool's database, or a look whether the pool would take it.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn restore_meta_data(&self, request: &MetaDataRestoreRequest) -> Result<Job, Error> {
        self.post(&["restores", "meta-data"], request).await
    }

    /// `POST /restores/hosts`: queues the return of a host's backup to its backup partition.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn restore_host(&self, request: &HostRestoreRequest) -> Result<Job, Error> {
        self.post(&["restores", "hosts"], request).await
    }
}
