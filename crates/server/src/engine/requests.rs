//! What people ask for: back up, restore, export. Checked as far as the server can know, then queued.

use xenkeep_api::{
    BackupRequest, Client, ExportFormat, ExportRequest, Job, JobSpec, Placement, Point, Problem, RestoreRequest,
};

use super::{Engine, names};
use crate::Error;

impl Engine {
    /// Queues a backup.
    pub async fn back_up(&self, request: BackupRequest) -> Result<Job, Error> {
        names::check_label("the name of a VM", &request.vm)?;
        let client = self.client(&request.client).await?;
        let datastore = self.datastore(&request.datastore).await?;
        let spec = JobSpec::Backup {
            client: client.id,
            vm: request.vm.clone(),
            datastore: datastore.id,
            transport: request.transport,
        };
        self.queue(spec, &request.vm, None).await
    }

    /// Queues a restore.
    pub async fn restore(&self, request: RestoreRequest) -> Result<Job, Error> {
        if let Placement::Beside { name } = &request.placement {
            names::check_label("the name of the new VM", name)?;
        }
        if let Some(sr) = &request.sr {
            names::check_label("the name of an SR", sr)?;
        }
        let point = self.point(&request.point).await?;
        let client = match &request.client {
            Some(client) => self.client(client).await?,
            None => self.client_of(&point).await?,
        };
        let subject = match &request.placement {
            Placement::Beside { name } => name.clone(),
            Placement::Overwrite => point.source_name.clone(),
        };
        let spec = JobSpec::Restore {
            client: client.id,
            datastore: point.datastore,
            point: point.id.clone(),
            placement: request.placement,
            sr: request.sr,
            start: request.start,
            transport: request.transport,
        };
        self.queue(spec, &subject, Some(&point)).await
    }

    /// Queues an export; its stream waits for [`Engine::read_content`].
    pub async fn export(&self, request: ExportRequest) -> Result<Job, Error> {
        let point = self.point(&request.point).await?;
        check_disk(&request, &point)?;
        let spec = JobSpec::Export {
            datastore: point.datastore,
            point: point.id.clone(),
            format: request.format,
            disk: request.disk,
        };
        self.queue(spec, &point.source_name, Some(&point)).await
    }

    /// The client that a point was read from.
    async fn client_of(&self, point: &Point) -> Result<Client, Error> {
        match self.client(&point.client.to_string()).await {
            Err(Error::NotFound(_)) => {
                let message = format!("client {}, from which the point was read, has been removed", point.client_name);
                Err(Error::Conflict(
                    Problem::new("client.gone", message)
                        .hint("add the pool, or name another client to restore to: `xenkeep restore … --client NAME`")
                        .about(point.client_name.clone()),
                ))
            }
            found => found,
        }
    }
}

fn check_disk(request: &ExportRequest, point: &Point) -> Result<(), Error> {
    let positions: Vec<&str> = point.disks.iter().map(|disk| disk.position.as_str()).collect();
    let there_are = || format!("the point has disks at: {}", positions.join(", "));
    match (request.format, &request.disk) {
        (ExportFormat::Xva, None) => Ok(()),
        (ExportFormat::Xva, Some(_)) => {
            let problem = Problem::new("export.disk_not_wanted", "an XVA holds the whole VM, not one disk");
            Err(Error::Invalid(problem.hint("leave the disk out, or ask for raw")))
        }
        (ExportFormat::Raw, None) => {
            let problem = Problem::new("export.disk_wanted", "raw is the form of one disk: say which");
            Err(Error::Invalid(problem.hint(there_are())))
        }
        (ExportFormat::Raw, Some(disk)) if positions.contains(&disk.as_str()) => Ok(()),
        (ExportFormat::Raw, Some(disk)) => {
            let shown: String = disk.chars().filter(|c| !c.is_control()).take(40).collect();
            let problem = Problem::new("disk.not_found", format!("the point has no disk at {shown}"));
            Err(Error::NotFound(problem.hint(there_are()).about(shown)))
        }
    }
}
