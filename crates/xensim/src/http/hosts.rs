//! `GET /host_backup` and `PUT /host_restore`: the control domain of the very host that is asked (xapi: `xapi_host_backup.ml`).

use crate::dom0;
use crate::error::ApiError;
use crate::fault::FaultKind;
use crate::task::Task;

use super::answer::{Answer, Status};
use super::conn::Conn;
use super::database::{read_body, send_body};
use super::import;
use super::transfer::{Failure, Kind, Request};

/// Sends the host's root file system.
pub(super) async fn send(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<(), Failure> {
    let (world, host) = (&request.site.world, &request.site.world.hosts[request.site.host]);
    let date = jiff::Timestamp::from_second(world.clock.now()).unwrap_or_default();
    let date = date.strftime("%Y-%m-%d-%H-%M").to_string();
    let archive = world.db.read(|t| dom0::archive(t, host, &date)).map_err(ApiError::internal)?;
    // The connection ends after the body all the same.
    let answer =
        Answer::new(1, Status::Ok).header("Connection", "keep-alive").uncached().header("task-id", task.reference());
    let script = world.faults.strike(FaultKind::FailBackupScript);
    let sent = script.as_ref().map_or(archive.len(), |fault| archive.len().min(fault.at_byte as usize));
    send_body(request, conn, Kind::HostBackup, answer, &archive[..sent]).await?;
    task.set_progress(0.9);
    match script {
        None => Ok(()),
        Some(_) => {
            Err(Failure::Failed(ApiError::new("BACKUP_SCRIPT_FAILED", ["tar: ./var: file changed as we read it"])))
        }
    }
}

/// Puts a backup on the host's backup partition. The running system stays as it is.
pub(super) async fn receive(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<(), Failure> {
    let world = &request.site.world;
    import::accept(request, conn, task).await?;
    let archive = read_body(request, conn, Kind::HostRestore).await?;
    if world.faults.strike(FaultKind::NoBackupPartition).is_some() {
        return Err(ApiError::new("RESTORE_SCRIPT_FAILED", ["no backup partition"]).into());
    }
    world.db.read(|t| dom0::unpack(t, &world.hosts[request.site.host], &archive))?;
    world.set_backup_partition(request.site.host, archive);
    Ok(())
}
