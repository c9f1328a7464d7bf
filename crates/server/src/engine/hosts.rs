//! Control domains of hosts: what people ask for, checked as far as the server can know, then queued.

use xenkeep_api::{HostBackupRequest, HostRestoreRequest, Job, JobSpec, PointKind};
use xenkeep_catalog::NewJob;

use super::metadata::check_kind;
use super::{Engine, names};
use crate::Error;

impl Engine {
    /// Queues the backup of a host, or of every host of a pool.
    pub async fn back_up_hosts(&self, request: HostBackupRequest) -> Result<Job, Error> {
        if let Some(host) = &request.host {
            names::check_label("the name of a host", host)?;
        }
        let client = self.client(&request.client).await?;
        let datastore = self.datastore(&request.datastore).await?;
        let subject = request.host.clone().unwrap_or_else(|| client.name.clone());
        let spec = JobSpec::BackupHost {
            client: client.id,
            host: request.host,
            datastore: datastore.id,
            transport: request.transport,
        };
        self.queue(NewJob::new(spec, &subject)).await
    }

    /// Queues the return of a host's backup to its backup partition.
    pub async fn restore_host(&self, request: HostRestoreRequest) -> Result<Job, Error> {
        names::check_label("the name of a host", &request.host)?;
        let point = self.point(&request.point).await?;
        check_kind(&point, PointKind::Host)?;
        let client = match &request.client {
            Some(client) => self.client(client).await?,
            None => self.client_of(&point).await?,
        };
        let subject = request.host.clone();
        let spec = JobSpec::RestoreHost {
            client: client.id,
            host: request.host,
            datastore: point.datastore,
            point: point.id.clone(),
            force: request.force,
            transport: request.transport,
        };
        self.queue_reader(NewJob::new(spec, &subject), &point).await
    }
}
