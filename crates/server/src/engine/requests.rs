//! What people ask for: back up, restore, export. Checked as far as the server can know, then queued.

use xenkeep_api::{
    BackupRequest, Client, ExportFormat, ExportRequest, Job, JobResult, JobSpec, Placement, Point, PointKind, Problem,
    RestorePlan, RestoreRequest,
};

use xenkeep_catalog::NewJob;

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
            backup_type: request.backup_type,
            options: request.options,
        };
        self.queue(NewJob::new(spec, &request.vm)).await
    }

    /// Queues a restore.
    pub async fn restore(&self, request: RestoreRequest) -> Result<Job, Error> {
        let (point, client) = self.restore_target(&request).await?;
        let subject = match &request.placement {
            Placement::Beside { name } => name.clone(),
            Placement::Overwrite { .. } => point.source_name.clone(),
        };
        let spec = JobSpec::Restore {
            client: client.id,
            datastore: point.datastore,
            point: point.id.clone(),
            places: request.places(),
            placement: request.placement,
            start: request.start,
            transport: request.transport,
        };
        self.queue_reader(NewJob::new(spec, subject), &point).await
    }

    /// What a restore would do. A mover looks at the point and at the pool; nothing is changed there.
    pub async fn plan_restore(&self, request: RestoreRequest) -> Result<RestorePlan, Error> {
        let (point, client) = self.restore_target(&request).await?;
        let spec = JobSpec::PlanRestore {
            client: client.id,
            datastore: point.datastore,
            point: point.id.clone(),
            places: request.places(),
            placement: request.placement,
            start: request.start,
        };
        let job = self.queue_reader(NewJob::new(spec, &point.source_name), &point).await?;
        match self.see_through(job.id).await?.result {
            Some(JobResult::RestorePlan { plan }) => Ok(*plan),
            _ => Err(Error::JobFailed(Problem::new("job.no_result", format!("job {} has no plan", job.id)))),
        }
    }

    /// The point and the client of a request, once its words make sense.
    async fn restore_target(&self, request: &RestoreRequest) -> Result<(Point, Client), Error> {
        if let Placement::Beside { name } = &request.placement {
            names::check_label("the name of the new VM", name)?;
        }
        for sr in request.sr.iter().chain(request.disk_srs.values()) {
            names::check_label("the name of an SR", sr)?;
        }
        for network in request.networks.iter().flat_map(|(from, to)| [from, to]) {
            names::check_label("the name of a network", network)?;
        }
        let point = self.point(&request.point).await?;
        let there = |position: &String| point.disks.iter().any(|disk| disk.position == *position);
        if let Some(position) = request.disk_srs.keys().find(|position| !there(position)) {
            let positions: Vec<&str> = point.disks.iter().map(|disk| disk.position.as_str()).collect();
            let shown: String = position.chars().filter(|c| !c.is_control()).take(40).collect();
            let problem = Problem::new("disk.not_found", format!("the point has no disk at {shown}"));
            return Err(Error::NotFound(problem.hint(format!("the point has disks at: {}", positions.join(", ")))));
        }
        if let Placement::Overwrite { destroy_first: Some(uuid) } = &request.placement
            && !uuid.eq_ignore_ascii_case(&point.source_uuid)
        {
            let message = format!(
                "the point is one of VM {} ({}), not of the VM that is to be destroyed first",
                point.source_name, point.source_uuid
            );
            let problem = Problem::new("restore.other_vm", message);
            return Err(Error::Invalid(problem.hint("only the original itself may be destroyed first: name its uuid")));
        }
        let client = match &request.client {
            Some(client) => self.client(client).await?,
            None => self.client_of(&point).await?,
        };
        Ok((point, client))
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
            compression: request.compression,
        };
        let subject = match point.kind {
            PointKind::Vm => point.source_name.clone(),
            PointKind::MetaData => format!("{}-pool-database.xml", point.source_name),
            PointKind::Host => format!("{}-host-backup.xbk", point.source_name),
        };
        self.queue_reader(NewJob::new(spec, &subject), &point).await
    }

    /// The client that a point was read from.
    pub(super) async fn client_of(&self, point: &Point) -> Result<Client, Error> {
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
    match (point.kind, request.format) {
        (PointKind::Vm, ExportFormat::File) => {
            let problem = Problem::new("export.no_file", "the point holds a VM, which is no single file");
            return Err(Error::Invalid(problem.hint("ask for xva, or for raw, vhd or qcow2 and a disk")));
        }
        (PointKind::MetaData | PointKind::Host, format) if format != ExportFormat::File => {
            let problem = Problem::new("export.no_vm", "the point holds no VM");
            return Err(Error::Invalid(problem.hint("ask for file: it comes as it was read from the pool")));
        }
        _ => {}
    }
    if request.compression.is_some() && request.format != ExportFormat::Qcow2 {
        let problem = Problem::new("export.not_compressible", "only a qcow2 image can be compressed");
        return Err(Error::Invalid(problem.hint("ask for qcow2, or leave the compression out")));
    }
    let there_are = || format!("the point has disks at: {}", positions.join(", "));
    match (request.format, &request.disk) {
        (ExportFormat::Xva | ExportFormat::File, None) => Ok(()),
        (ExportFormat::File, Some(_)) => {
            let problem = Problem::new("export.disk_not_wanted", "the point has no disks");
            Err(Error::Invalid(problem.hint("leave the disk out")))
        }
        (ExportFormat::Xva, Some(_)) => {
            let problem = Problem::new("export.disk_not_wanted", "an XVA holds the whole VM, not one disk");
            Err(Error::Invalid(problem.hint("leave the disk out, or ask for raw, vhd or qcow2")))
        }
        (ExportFormat::Raw | ExportFormat::Vhd | ExportFormat::Qcow2, None) => {
            let problem = Problem::new("export.disk_wanted", "this is the form of one disk: say which");
            Err(Error::Invalid(problem.hint(there_are())))
        }
        (_, Some(disk)) if positions.contains(&disk.as_str()) => Ok(()),
        (_, Some(disk)) => {
            let shown: String = disk.chars().filter(|c| !c.is_control()).take(40).collect();
            let problem = Problem::new("disk.not_found", format!("the point has no disk at {shown}"));
            Err(Error::NotFound(problem.hint(there_are()).about(shown)))
        }
    }
}
