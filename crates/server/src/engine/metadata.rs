//! Pools' own databases: what people ask for, checked as far as the server can know, then queued.

use xenkeep_api::{Job, JobSpec, MetaDataBackupRequest, MetaDataRestoreRequest, Point, PointKind, Problem};
use xenkeep_catalog::NewJob;

use super::Engine;
use crate::Error;

impl Engine {
    /// Queues a backup of a pool's database.
    pub async fn back_up_meta_data(&self, request: MetaDataBackupRequest) -> Result<Job, Error> {
        let client = self.client(&request.client).await?;
        let datastore = self.datastore(&request.datastore).await?;
        let spec = JobSpec::BackupMetaData { client: client.id, datastore: datastore.id, transport: request.transport };
        self.queue(NewJob::new(spec, &client.name)).await
    }

    /// Queues the return of a pool's database, or a look whether the pool would take it.
    pub async fn restore_meta_data(&self, request: MetaDataRestoreRequest) -> Result<Job, Error> {
        let point = self.point(&request.point).await?;
        check_kind(&point, PointKind::MetaData)?;
        let client = match &request.client {
            Some(client) => self.client(client).await?,
            None => self.client_of(&point).await?,
        };
        if let Some(name) = &request.replace_database_of
            && *name != client.name
        {
            let problem = Problem::new(
                "confirmation.differs",
                format!("the name that confirms it is not that of the pool, {}", client.name),
            );
            return Err(Error::Invalid(problem.hint("nothing was done; give the pool's name exactly")));
        }
        let spec = JobSpec::RestoreMetaData {
            client: client.id,
            datastore: point.datastore,
            point: point.id.clone(),
            dry_run: request.replace_database_of.is_none(),
            transport: request.transport,
        };
        self.queue_reader(NewJob::new(spec, &client.name), &point).await
    }
}

/// The point holds what is to be restored from it.
pub(super) fn check_kind(point: &Point, wanted: PointKind) -> Result<(), Error> {
    if point.kind == wanted {
        return Ok(());
    }
    let what = match point.kind {
        PointKind::Vm => "a VM",
        PointKind::MetaData => "the database of a pool",
        PointKind::Host => "the backup of a host",
    };
    let problem = Problem::new("point.other_kind", format!("the point holds {what}: {}", point.source_name));
    Err(Error::Invalid(problem.hint("`xenkeep point list` shows what each point holds").about(point.id.clone())))
}
