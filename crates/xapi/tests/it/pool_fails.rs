//! What goes wrong on a pool, on the simulated one.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use xapi::{Backoff, Download, Error, Export, Import, Pool, Upload, VmRef, retry};
use xensim::fault::{Fault, FaultKind};

use crate::sim::{MIB, Rig, snapshot, the_vm, unpack, wait};

/// A snapshot's export, and a whole XVA.
async fn xva(pool: &Pool) -> Vec<u8> {
    let snap = snapshot(pool, &the_vm(pool, "web").await).await;
    let mut export = pool.export(Export::new(snap)).await.unwrap();
    let mut xva = Vec::new();
    export.read_to_end(&mut xva).await.unwrap();
    export.finish(&CancellationToken::new()).await.unwrap();
    xva
}

/// Reads until something fails, and says what the pool makes of it.
async fn failure(mut export: Download) -> Error {
    let cause = match unpack(&mut export).await {
        Ok(_) => Error::ClosedEarly { address: String::new(), what: "nothing, it seems" },
        Err(error) => Error::from_io(std::io::Error::other(error), export.address()),
    };
    export.explain(cause).await
}

/// Sends all of `xva`, and says what comes of it.
async fn send(mut upload: Upload, xva: &[u8]) -> Result<VmRef, Error> {
    if let Err(error) = upload.write_all(xva).await {
        let cause = Error::from_io(error, upload.address());
        return Err(upload.explain(cause).await);
    }
    Ok(upload.finish(&CancellationToken::new(), |_| {}).await?.reference().unwrap())
}

async fn nothing_is_left(pool: &Pool, vms: usize) {
    // dom0 lets go of disks a moment after a stream has ended
    for _ in 0..200 {
        let dom0 = pool.vms().await.unwrap().into_values().filter(|vm| vm.is_control_domain);
        if dom0.map(|vm| vm.vbds.len()).sum::<usize>() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(pool.vms().await.unwrap().len(), vms);
    let dom0 = pool.vms().await.unwrap().into_values().filter(|vm| vm.is_control_domain);
    assert_eq!(dom0.map(|vm| vm.vbds.len()).sum::<usize>(), 0);
    assert!(pool.tasks().await.unwrap().is_empty(), "{:?}", pool.tasks().await);
}

#[tokio::test]
async fn a_running_vm_is_not_exported() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let web = the_vm(&pool, "web").await;
    let error = pool.export(Export::new(web)).await.unwrap_err();
    assert_eq!(error.api_code(), Some("VM_BAD_POWER_STATE"), "{error:?}");
    let error = pool.export(Export::new("OpaqueRef:nothing".into())).await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 500, .. }) || error.is_gone(), "{error:?}");
    assert!(pool.tasks().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_export_that_breaks_is_explained() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let snap = snapshot(&pool, &the_vm(&pool, "web").await).await;
    let vms = pool.vms().await.unwrap().len();
    for kind in [FaultKind::CutExport, FaultKind::TailExport] {
        rig.sim.faults().arm(Fault::new(kind).at_byte(MIB as u64 / 2));
        let error = failure(pool.export(Export::new(snap.clone())).await.unwrap()).await;
        assert!(error.api_code().is_some(), "{kind:?}: {error:?}");
    }
    // all bytes are there, and the task says no
    rig.sim.faults().arm(Fault::new(FaultKind::FailExportTask));
    let mut export = pool.export(Export::new(snap.clone())).await.unwrap();
    assert!(unpack(&mut export).await.unwrap() == rig.web);
    let error = export.finish(&CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.api_code(), Some("INTERNAL_ERROR"));
    rig.sim.faults().arm(Fault::new(FaultKind::RefuseExport));
    let error = pool.export(Export::new(snap)).await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 500, .. }), "{error:?}");
    nothing_is_left(&pool, vms).await;
}

#[tokio::test]
async fn an_export_that_nobody_wants_any_more_is_cancelled() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let snap = snapshot(&pool, &the_vm(&pool, "web").await).await;
    let vms = pool.vms().await.unwrap().len();
    rig.sim.faults().arm(Fault { bytes_per_second: 100_000, ..Fault::new(FaultKind::SlowLink) });
    let mut export = pool.export(Export::new(snap)).await.unwrap();
    export.read_exact(&mut [0; 1000]).await.unwrap();
    let task = pool.task(export.task().clone());
    drop(export);
    assert_eq!(task.abandon().await.unwrap(), None);
    nothing_is_left(&pool, vms).await;
}

#[tokio::test]
async fn an_import_that_fails_is_explained_and_undone() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let xva = xva(&pool).await;
    let vms = pool.vms().await.unwrap().len();
    let vdis = pool.vdis().await.unwrap().len();
    // the room is asked for when the disks are made
    let small = pool.find_srs("small").await.unwrap().remove(0).0;
    let error = match pool.import(Import { sr: Some(small), ..Import::default() }).await {
        Ok(upload) => send(upload, &xva).await.unwrap_err(),
        Err(error) => error,
    };
    assert!(error.is_sr_full(), "{error:?}");
    // or runs out in mid-stream
    rig.sim.faults().arm(Fault::new(FaultKind::SrFull).at_byte(MIB as u64));
    let error = send(pool.import(Import::default()).await.unwrap(), &xva).await.unwrap_err();
    assert!(error.is_sr_full(), "{error:?}");
    // or the archive is damaged
    let mut damaged = xva.clone();
    let middle = damaged.windows(8).position(|bytes| bytes == &rig.web[0][64..72]).unwrap();
    damaged[middle] ^= 1;
    let error = send(pool.import(Import::default()).await.unwrap(), &damaged).await.unwrap_err();
    assert_eq!(error.api_code(), Some("IMPORT_ERROR"), "{error:?}");
    // or ends too early
    let error = send(pool.import(Import::default()).await.unwrap(), &xva[..xva.len() / 2]).await.unwrap_err();
    assert!(error.api_code().is_some_and(|code| code.starts_with("IMPORT_ERROR")), "{error:?}");
    rig.sim.faults().arm(Fault::new(FaultKind::RefuseImport));
    assert!(matches!(pool.import(Import::default()).await, Err(Error::Http { status: 500, .. })));
    nothing_is_left(&pool, vms).await;
    assert_eq!(pool.vdis().await.unwrap().len(), vdis);
}

#[tokio::test]
async fn an_import_that_nobody_wants_any_more_is_undone() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let xva = xva(&pool).await;
    let (vms, vdis) = (pool.vms().await.unwrap().len(), pool.vdis().await.unwrap().len());
    let mut upload = pool.import(Import::default()).await.unwrap();
    upload.write_all(&xva[..2 * MIB]).await.unwrap();
    assert_eq!(upload.abandon().await.unwrap(), None);
    nothing_is_left(&pool, vms).await;
    assert_eq!(pool.vdis().await.unwrap().len(), vdis);
}

#[tokio::test]
async fn a_vm_is_not_restored_over_itself() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let far = the_vm(&pool, "far").await;
    let mut xva = Vec::new();
    pool.export(Export::new(far)).await.unwrap().read_to_end(&mut xva).await.unwrap();
    let error =
        send(pool.import(Import { restore: true, ..Import::default() }).await.unwrap(), &xva).await.unwrap_err();
    assert_eq!(error.api_code(), Some("VM_TO_IMPORT_IS_NOT_NEWER_VERSION"), "{error:?}");
}

#[tokio::test]
async fn busy_disks_are_tried_again() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let snap = snapshot(&pool, &the_vm(&pool, "web").await).await;
    let record = pool.vm(&snap).await.unwrap();
    let (vdi, _) = pool.vm_disks(&record).await.unwrap().remove(0).2.unwrap();
    pool.vm_destroy(&snap).await.unwrap();
    rig.sim.faults().arm(Fault::new(FaultKind::VdiInUse).times(3));
    assert!(pool.vdi_destroy(&vdi).await.unwrap_err().is_vdi_in_use());
    let backoff = Backoff { first: Duration::from_millis(1), ..Backoff::default() };
    retry(backoff, &CancellationToken::new(), || pool.vdi_destroy(&vdi)).await.unwrap();
    assert_eq!(rig.sim.faults().struck(FaultKind::VdiInUse), 3);
}

#[tokio::test]
async fn a_lost_session_is_no_loss() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let snap = snapshot(&pool, &the_vm(&pool, "web").await).await;
    rig.sim.faults().arm(Fault::new(FaultKind::SessionLost).at_byte(MIB as u64));
    let mut export = pool.export(Export::new(snap.clone())).await.unwrap();
    assert!(unpack(&mut export).await.unwrap() == rig.web);
    export.finish(&CancellationToken::new()).await.unwrap();
    pool.vm_destroy(&snap).await.unwrap();
}

#[tokio::test]
async fn a_dropped_connection_is_no_loss_while_waiting() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let web = the_vm(&pool, "web").await;
    let task = pool.vm_clean_shutdown(&web).await.unwrap();
    rig.sim.faults().arm(Fault::new(FaultKind::DropRpc).times(2));
    wait(&pool, task).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_dropped_once_fails_no_login_and_no_mark() {
    let rig = Rig::start().await;
    let drop_one = || rig.sim.faults().arm(Fault::new(FaultKind::DropRpc));
    drop_one();
    let pool = rig.login(rig.plain(0)).await;
    let web = the_vm(&pool, "web").await;
    drop_one();
    pool.set_other_config(&web, "xenkeep:test", "1").await.unwrap();
    drop_one();
    pool.set_name_label(&web, "web2").await.unwrap();
    drop_one();
    pool.remove_other_config(&web, "xenkeep:test").await.unwrap();
    assert_eq!(rig.sim.faults().struck(FaultKind::DropRpc), 4);
    let record = pool.vm(&web).await.unwrap();
    assert!(record.name_label == "web2" && !record.other_config.contains_key("xenkeep:test"));
}

#[tokio::test]
async fn a_full_sr_refuses_a_snapshot() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let web = the_vm(&pool, "web").await;
    rig.sim.faults().arm(Fault::new(FaultKind::SrFullSnapshot));
    let task = pool.vm_snapshot(&web, "s", &[]).await.unwrap();
    let error = wait(&pool, task).await.unwrap_err();
    assert!(error.is_sr_full(), "{error:?}");
}
