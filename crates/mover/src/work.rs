//! What a job is to do, told apart by its kind.

use std::sync::Arc;

use xenkeep_api::{ClientAccess, DatastoreAccess, JobResult, JobSpec, LeasedJob, Problem};

use crate::{
    Leases,
    backup::{self, BackupSpec},
    check,
    context::{JobContext, Stop},
    copy, datastore,
    export::{self, ExportSpec},
    forget,
    hosts::{self, HostBackup, HostRestore},
    inventory, keys,
    metadata::{self, MetaDataBackup, MetaDataRestore},
    prune, recover, rescan,
    restore::{self, RestoreSpec},
    select, verify,
};

/// Does `job`.
pub(crate) async fn work(cx: JobContext, leases: Arc<dyn Leases>, job: LeasedJob) -> Result<JobResult, Stop> {
    let LeasedJob {
        id: _,
        fence,
        spec,
        task: _,
        client,
        datastore,
        target,
        point,
        secret,
        known_points,
        unfinished,
        journal,
    } = job;
    match spec {
        JobSpec::CheckClient { .. } => Box::pin(check::check(&cx, &given(client)?, &unfinished)).await,
        JobSpec::BrowseClient { .. } => inventory::browse(&cx, &given(client)?).await,
        JobSpec::CreateDatastore { .. } => datastore::create(&cx, &given(datastore)?).await,
        JobSpec::AttachDatastore { .. } => datastore::attach(&cx, &given(datastore)?).await,
        JobSpec::RescanDatastore { .. } => Box::pin(rescan::rescan(&cx, &given(datastore)?, known_points)).await,
        JobSpec::DatastoreKeys { change, .. } => keys::change(&cx, &given(datastore)?, change, secret).await,
        JobSpec::ExpandSelection { source, .. } => select::select(&cx, &given(client)?, &source).await,
        JobSpec::Backup { vm, transport, backup_type, options, .. } => {
            let (client, datastore) = (given(client)?, given(datastore)?);
            let spec = BackupSpec { client, datastore, vm, transport, backup_type, options };
            Box::pin(backup::back_up(&cx, &spec)).await
        }
        JobSpec::BackupMetaData { transport, .. } => {
            let spec = MetaDataBackup { client: given(client)?, datastore: given(datastore)?, transport };
            Box::pin(metadata::back_up(&cx, &spec)).await
        }
        JobSpec::BackupHost { host, transport, .. } => {
            let spec = HostBackup { client: given(client)?, datastore: given(datastore)?, host, transport };
            Box::pin(hosts::back_up(&cx, &spec)).await
        }
        JobSpec::RestoreMetaData { point: id, dry_run, transport, .. } => {
            let (client, datastore) = (given(client)?, given(datastore)?);
            let spec = MetaDataRestore { client, datastore, point: id, dry_run, transport };
            Box::pin(metadata::restore(&cx, &spec)).await
        }
        JobSpec::RestoreHost { host, point: id, force, transport, .. } => {
            let (client, datastore) = (given(client)?, given(datastore)?);
            let spec = HostRestore { client, datastore, point: id, host, force, transport };
            Box::pin(hosts::restore(&cx, &spec)).await
        }
        JobSpec::Restore { point: id, placement, places, start, transport, .. } => {
            let (client, datastore) = (given(client)?, given(datastore)?);
            let spec = RestoreSpec { client, datastore, point: id, placement, places, start, transport };
            Box::pin(restore::restore(&cx, &spec)).await
        }
        JobSpec::PlanRestore { point: id, placement, places, start, .. } => {
            let (client, datastore) = (given(client)?, given(datastore)?);
            let spec = RestoreSpec { client, datastore, point: id, placement, places, start, transport: None };
            Box::pin(restore::plan(&cx, &spec)).await
        }
        JobSpec::Export { point: id, format, disk, compression, .. } => {
            let spec = ExportSpec { datastore: given(datastore)?, point: id, format, disk, compression, fence };
            Box::pin(export::export(&cx, &*leases, &spec)).await
        }
        JobSpec::ForgetPoints { points, .. } => forget::forget(&cx, &given(datastore)?, &points).await,
        JobSpec::ProtectPoint { point, reason, .. } => forget::protect(&cx, &given(datastore)?, point, reason).await,
        JobSpec::PruneDatastore { request, .. } => Box::pin(prune::prune(&cx, &given(datastore)?, &request)).await,
        JobSpec::VerifyDatastore { request, .. } => Box::pin(verify::verify(&cx, &given(datastore)?, &request)).await,
        JobSpec::CopyPoints { points, .. } => {
            Box::pin(copy::copy(&cx, &given(datastore)?, &given(target)?, &points)).await
        }
        JobSpec::Recover { interrupted, .. } => {
            let _ = point;
            Box::pin(recover::recover(&cx, interrupted, client.as_ref(), datastore.as_ref(), journal)).await
        }
    }
}

/// What the spec names comes with the lease.
fn given<T: Given>(access: Option<T>) -> Result<T, Stop> {
    access.ok_or_else(|| Problem::new("internal", format!("the job came without its {}", T::WHAT)).into())
}

trait Given {
    const WHAT: &'static str;
}

impl Given for ClientAccess {
    const WHAT: &'static str = "client";
}

impl Given for DatastoreAccess {
    const WHAT: &'static str = "datastore";
}
