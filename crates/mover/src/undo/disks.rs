//! Disks: removed by uuid, patiently.

use std::time::Duration;

use xapi::{
    VdiRef, VmRef,
    record::{Vbd, Vdi, Vm},
};

use crate::{
    context::{JobContext, Stop},
    session::{OrStop, Session},
};

/// Pauses between tries: the storage lets go of a disk some time after the export has ended.
const PAUSES_MS: [u64; 14] = [100, 200, 400, 800, 1_000, 2_000, 3_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000];

/// Removes the disk of that uuid; true if it was there.
pub(crate) async fn destroy(cx: &JobContext, session: &Session, uuid: &str) -> Result<bool, Stop> {
    let mut pauses = PAUSES_MS.iter();
    let mut was_there = false;
    loop {
        let vdi = match session.pool.by_uuid::<Vdi>(uuid).await {
            Ok((vdi, _)) => vdi,
            Err(error) if error.is_gone() => return Ok(was_there),
            Err(error) => return Err(session.stop(&error)),
        };
        was_there = true;
        let error = match session.pool.vdi_destroy(&vdi).await {
            Ok(()) => return Ok(true),
            Err(error) if error.is_gone() => return Ok(true),
            Err(error) => error,
        };
        let Some(pause) = pauses.next().filter(|_| error.is_transient()) else { return Err(session.stop(&error)) };
        tracing::debug!(job = %cx.job, vdi = uuid, %error, "disk not removed yet");
        if error.is_vdi_in_use() {
            detach_from_dom0(session, &vdi).await;
        }
        tokio::time::sleep(Duration::from_millis(*pause)).await;
    }
}

/// A cut export may leave a disk plugged into dom0. Only disks of ours get here, and only after their task has ended.
async fn detach_from_dom0(session: &Session, vdi: &VdiRef) {
    let Ok(record) = session.pool.record::<Vdi>(vdi).await else { return };
    for vbd_ref in &record.vbds {
        let Ok(vbd) = session.pool.record::<Vbd>(vbd_ref).await else { continue };
        match session.pool.record::<Vm>(&vbd.vm).await {
            Ok(vm) if vm.is_control_domain => {}
            _ => continue,
        }
        // Each may fail since the pool does the same at this moment; the next try of the caller tells.
        let _ = session.pool.vbd_unplug(vbd_ref).await;
        let _ = session.pool.vbd_destroy(vbd_ref).await;
    }
}

/// No VM but `except` has the disk of that uuid; a disk that is gone is free.
pub(crate) async fn is_free(session: &Session, uuid: &str, except: Option<&VmRef>) -> Result<bool, Stop> {
    let (reference, vdi) = match session.pool.by_uuid::<Vdi>(uuid).await {
        Ok(found) => found,
        Err(error) if error.is_gone() => return Ok(true),
        Err(error) => return Err(session.stop(&error)),
    };
    if vdi.kind == "suspend" {
        // Only the VM says whose memory it is.
        let all: std::collections::HashMap<VmRef, Vm> = session.pool.records().await.or_stop(session)?;
        if all.iter().any(|(vm, record)| record.suspend_vdi == reference && Some(vm) != except) {
            return Ok(false);
        }
    }
    for vbd in &vdi.vbds {
        match session.pool.record::<Vbd>(vbd).await {
            Ok(vbd) if Some(&vbd.vm) == except => {}
            Ok(vbd) => match session.pool.record::<Vm>(&vbd.vm).await {
                Ok(vm) if vm.is_control_domain => {}
                Ok(_) => return Ok(false),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(session.stop(&error)),
            },
            Err(error) if error.is_gone() => {}
            Err(error) => return Err(session.stop(&error)),
        }
    }
    Ok(true)
}

/// uuids of all disks that bear the mark of a job.
pub(crate) async fn marked(session: &Session, job: xenkeep_api::JobId) -> Result<Vec<String>, Stop> {
    let all: std::collections::HashMap<VdiRef, Vdi> = session.pool.records().await.or_stop(session)?;
    let mut uuids: Vec<String> =
        all.into_values().filter(|vdi| crate::tag::is_of_job(&vdi.other_config, job)).map(|vdi| vdi.uuid).collect();
    uuids.sort();
    Ok(uuids)
}
