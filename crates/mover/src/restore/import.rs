//! Imports a point into a pool as a VM, and checks what has become of it.

use std::sync::Arc;

use futures::StreamExt;
use uuid::Uuid;
use xapi::{
    Import, Upload, VmRef,
    record::{VbdType, Vm},
};
use xenkeep_api::Problem;
use xenkeep_disk::{
    Blocks,
    xva::{Checksum, Ova, Writer},
};

use crate::{
    context::{JobContext, Stop},
    journal::{ImportMade, Made, SwapDisk},
    open::OpenPoint,
    problem,
    progress::{Counted, DoneBytes},
    session::{OrStop, Session},
    sr::{self, Chosen},
    tag,
};

/// From this minor version of the API on (8.2), hosts take the fast checksum.
const XXHASH_SINCE: i64 = 16;

/// A VM that has arrived, and its disks by position.
pub(super) struct Imported {
    pub(super) vm: VmRef,
    pub(super) record: Vm,
    pub(super) disks: Vec<SwapDisk>,
}

/// What to import.
pub(super) struct Source<'a> {
    pub(super) point: &'a OpenPoint,
    /// With the identity that the VM is to have, and the job's marks.
    pub(super) ova: Ova,
    /// Keep the uuid and the MACs of `ova`.
    pub(super) restore: bool,
    pub(super) sr: &'a Chosen,
}

/// Imports `source`. Whatever fails, what was made is in the journal entry, and for the caller to undo.
pub(super) async fn import(
    cx: &JobContext,
    session: &Session,
    source: Source<'_>,
    entry: Uuid,
    made: &mut ImportMade,
) -> Result<Imported, Stop> {
    cx.step("import");
    let checksum = checksum(session).await?;
    let label = format!("{} import", tag::label(cx.job));
    let task = session.pool.task_create(&label, "xenkeep restores a VM").await.or_stop(session)?;
    made.task = Some(task.to_string());
    cx.journal.rewrite(entry, &Made::Import(made.clone())).await?;
    let import =
        Import { sr: Some(source.sr.sr.clone()), restore: source.restore, task: Some(task), ..Import::default() };
    let begun = async { session.pool.import(import).await.or_stop(session) };
    let mut upload = cx.or_cancelled(begun).await?;
    cx.info(format!("importing at {}", upload.address()));
    let result = match cx.or_cancelled(send(cx, &mut upload, &source, checksum)).await {
        Ok(Ok(())) => upload.finish(&cx.cancel, |_| {}).await,
        Ok(Err(error)) => {
            let cause = cause(error, upload.address())?;
            Err(upload.explain(cause).await)
        }
        Err(stop) => return Err(stop),
    };
    let result = match result {
        Ok(result) => result,
        Err(error) if error.is_sr_full() => {
            return Err(sr::full(session, source.sr, &source.point.file.disks).await.into());
        }
        // What a thin SR that runs full in mid-stream may look like, too (xapi: import.ml).
        Err(error) if error.is_api("VDI_IO_ERROR") => {
            let hint = format!(
                "has SR {} room left, and is its storage in order? The pool's log (xensource.log) says more",
                source.sr.name
            );
            return Err(problem::pool(&session.client, &error).hint(hint).into());
        }
        Err(error) => return Err(session.stop(&error)),
    };
    cx.check()?;
    cx.step("verify");
    let Some(vm) = result.reference::<VmRef>() else {
        return Err(Problem::new("pool.error", "the pool imported a VM, but does not say which").into());
    };
    let imported = verify(session, vm, source.point).await?;
    made.vdis = imported.disks.iter().map(|disk| disk.vdi_uuid.clone()).collect();
    cx.journal.rewrite(entry, &Made::Import(made.clone())).await?;
    cx.info(format!(
        "VM {} has arrived as {}, {} disk(s)",
        imported.record.name_label,
        imported.record.uuid,
        made.vdis.len()
    ));
    Ok(imported)
}

/// Sends the archive. The outer error is the job's, the inner one the stream's.
async fn send(
    cx: &JobContext,
    upload: &mut Upload,
    source: &Source<'_>,
    checksum: Checksum,
) -> Result<Result<(), xenkeep_disk::Error>, Stop> {
    let ova_xml = source.ova.to_xml();
    let mut lanes = Vec::new();
    for file in &source.point.file.disks {
        lanes.push((
            file,
            source.point.disk(&file.disk.position).await?,
            cx.board.disk(&file.disk.position, file.disk.size_bytes),
        ));
    }
    // The pool takes the disks in the order of their ids as text (xapi: stream_vdi.ml).
    lanes.sort_by(|(a, ..), (b, ..)| a.disk.ova_id.cmp(&b.disk.ova_id));
    let counted = Counted::new(upload, Arc::clone(&cx.board));
    let sent = async {
        let mut writer = Writer::new(counted, ova_xml.as_bytes(), checksum).await?;
        for (file, disk, done) in lanes {
            let blocks = watched(disk.blocks(), done);
            writer.disk(&file.disk.ova_id, file.disk.size_bytes, blocks).await?;
        }
        writer.finish().await.map(drop)
    };
    Ok(sent.await)
}

fn watched(blocks: Blocks, done: DoneBytes) -> Blocks {
    blocks
        .inspect(move |block| {
            if let Ok(block) = block {
                done.add(block.len);
            }
        })
        .boxed()
}

/// What broke a stream: the connection, whose cause the pool may know better, or what was to be sent.
fn cause(error: xenkeep_disk::Error, address: &str) -> Result<xapi::Error, Stop> {
    match error {
        xenkeep_disk::Error::Stream(source) => Ok(xapi::Error::from_io(source, address)),
        error => Err(problem::disk(None, "the restore point", error).into()),
    }
}

/// Older hosts know SHA-1 only, and newer ones spend more time on it.
async fn checksum(session: &Session) -> Result<Checksum, Stop> {
    let (_, master) = session.pool.master().await.or_stop(session)?;
    let fast = (master.api_version_major, master.api_version_minor) >= (2, XXHASH_SINCE);
    Ok(if fast { Checksum::Xxhash } else { Checksum::Sha1 })
}

/// The VM has all disks of the point, each at its position and of its size (which a storage driver may round up).
async fn verify(session: &Session, vm: VmRef, point: &OpenPoint) -> Result<Imported, Stop> {
    let record = session.pool.vm(&vm).await.or_stop(session)?;
    let mut found = Vec::new();
    for (_, vbd, vdi) in session.pool.vm_disks(&record).await.or_stop(session)? {
        if let (VbdType::Disk, Some((_, vdi))) = (&vbd.kind, vdi) {
            found.push((vbd.userdevice, vdi));
        }
    }
    let wrong = |text: String| Stop::from(Problem::new("restore.disks_differ", text).about(&record.uuid));
    let expected = &point.file.disks;
    if found.len() != expected.len() {
        return Err(wrong(format!("the imported VM has {} disk(s) instead of {}", found.len(), expected.len())));
    }
    let mut disks = Vec::new();
    for file in expected {
        let disk = &file.disk;
        let Some((position, vdi)) = found.iter().find(|(position, _)| *position == disk.position) else {
            return Err(wrong(format!("the imported VM has no disk {}", disk.position)));
        };
        if vdi.virtual_bytes() < disk.size_bytes {
            return Err(wrong(format!(
                "disk {position} of the imported VM has {} bytes instead of {}",
                vdi.virtual_bytes(),
                disk.size_bytes
            )));
        }
        disks.push(SwapDisk { position: position.clone(), vdi_uuid: vdi.uuid.clone(), name: vdi.name_label.clone() });
    }
    Ok(Imported { vm, record, disks })
}
