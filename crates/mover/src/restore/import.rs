//! Imports a point into a pool as a VM, and checks what has become of it.

use std::sync::Arc;

use futures::StreamExt;
use uuid::Uuid;
use xapi::{
    Import, Upload, VmRef,
    record::{PowerState, VbdType, Vm},
};
use xenkeep_api::{Problem, Transport};
use xenkeep_disk::{
    Blocks,
    xva::{Checksum, Ova, Writer},
};

use super::{carrier, plan::Planned};
use crate::{
    context::{JobContext, Stop},
    journal::{ImportMade, Made, SwapDisk},
    open::OpenPoint,
    problem::{self, bytes},
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
    /// uuid of the image of its memory.
    pub(super) memory: Option<String>,
}

/// What to import.
pub(super) struct Source<'a> {
    pub(super) point: &'a OpenPoint,
    /// With the identity that the VM is to have, and the job's marks.
    pub(super) ova: Ova,
    /// Keep the uuid and the MACs of `ova`.
    pub(super) restore: bool,
    pub(super) planned: &'a Planned,
}

/// Imports `source`. Whatever fails, what was made is in the journal entry, and for the caller to undo.
///
/// An import takes one SR for all of its disks, so that a VM with disks on several is imported in several parts: itself
/// with the disks of the first SR, then a carrier for each further SR, whose disks it is given afterwards ([`carrier`]).
pub(super) async fn import(
    cx: &JobContext,
    session: &Session,
    source: Source<'_>,
    entry: Uuid,
    made: &mut ImportMade,
) -> Result<Imported, Stop> {
    cx.step("import");
    let checksum = checksum(session).await?;
    let mut groups = source.planned.layout.groups().into_iter();
    let Some((sr, positions)) = groups.next() else {
        return Err(Problem::new("internal", "the restore has no SR").into());
    };
    let archive = Archive { ova: carrier::only(&source.ova, &positions), positions, restore: source.restore, sr };
    let vm = transfer(cx, session, source.point, archive, checksum, Some((entry, &mut *made))).await?;
    for (sr, positions) in groups {
        cx.step("import");
        let ova = carrier::ova(&source.ova, &positions, &sr.name);
        let archive = Archive { ova, positions, restore: false, sr };
        let carrier = transfer(cx, session, source.point, archive, checksum, None).await?;
        carrier::unload(session, &carrier, &vm).await?;
    }
    cx.check()?;
    cx.step("verify");
    source.planned.networks.settle(session, &vm).await?;
    let imported = verify(session, vm, source.point).await?;
    made.vdis = imported.disks.iter().map(|disk| disk.vdi_uuid.clone()).chain(imported.memory.clone()).collect();
    cx.journal.rewrite(entry, &Made::Import(made.clone())).await?;
    cx.info(format!(
        "VM {} has arrived as {}, {} disk(s)",
        imported.record.name_label,
        imported.record.uuid,
        imported.disks.len()
    ));
    Ok(imported)
}

/// One stream into the pool.
struct Archive {
    ova: Ova,
    /// Of its disks.
    positions: Vec<String>,
    restore: bool,
    sr: Chosen,
}

/// Sends `archive`, and says which VM the pool made of it. The task of the VM itself is noted in the journal.
async fn transfer(
    cx: &JobContext,
    session: &Session,
    point: &OpenPoint,
    archive: Archive,
    checksum: Checksum,
    noted: Option<(Uuid, &mut ImportMade)>,
) -> Result<VmRef, Stop> {
    let label = format!("{} import", tag::label(cx.job));
    let task = session.pool.task_create(&label, "xenkeep restores a VM").await.or_stop(session)?;
    if let Some((entry, made)) = noted {
        made.task = Some(task.to_string());
        cx.journal.rewrite(entry, &Made::Import(made.clone())).await?;
    }
    let import =
        Import { sr: Some(archive.sr.sr.clone()), restore: archive.restore, task: Some(task), ..Import::default() };
    let begun = async { session.pool.import(import).await.or_stop(session) };
    let mut upload = cx.or_cancelled(begun).await?;
    let address = upload.address().to_owned();
    cx.info(format!("importing at {address} to SR {}", archive.sr.name));
    let result = match cx.or_cancelled(send(cx, &mut upload, point, &archive, checksum)).await {
        Ok(Ok(())) => upload.finish(&cx.cancel, |_| {}).await,
        Ok(Err(error)) => {
            let cause = cause(error, &address)?;
            Err(upload.explain(cause).await)
        }
        Err(stop) => return Err(stop),
    };
    match result {
        Ok(result) => result
            .reference::<VmRef>()
            .ok_or_else(|| Problem::new("pool.error", "the pool imported a VM, but does not say which").into()),
        Err(error) => Err(failed(cx, session, point, &archive, &address, error).await),
    }
}

/// Why the pool did not take the archive, with the numbers of today.
async fn failed(
    cx: &JobContext,
    session: &Session,
    point: &OpenPoint,
    archive: &Archive,
    address: &str,
    error: xapi::Error,
) -> Stop {
    let there = |file: &&crate::point::DiskFile| archive.positions.contains(&file.disk.position);
    if error.is_sr_full() {
        let disks: Vec<_> = point.file.images().filter(there).cloned().collect();
        return sr::full(session, &archive.sr, &disks).await.into();
    }
    let sr = &archive.sr.name;
    // What a thin SR that runs full in mid-stream may look like, too (xapi: import.ml).
    if error.is_api("VDI_IO_ERROR") {
        let hint =
            format!("has SR {sr} room left, and is its storage in order? The pool's log (xensource.log) says more");
        return problem::pool(&session.client, &error).hint(hint).into();
    }
    if !error.is_connection() {
        return session.stop(&error);
    }
    let progress = cx.progress();
    let scheme = if session.client.transport == Transport::Http { "http" } else { "https" };
    let free = match session.pool.sr(&archive.sr.sr).await {
        Ok(record) => record.free_bytes().map(|free| format!("; SR {sr} has {} free", bytes(free))).unwrap_or_default(),
        Err(_) => String::new(),
    };
    Problem::new(
        "restore.upload_failed",
        format!(
            "the upload to {scheme}://{address}/import broke after {} of {}: {}{free}",
            bytes(progress.done_bytes),
            bytes(progress.total_bytes),
            problem::chain(&error)
        ),
    )
    .hint("look for a network fault, a restart of the host's toolstack, or a full SR, then start the restore again")
    .about(&session.client.name)
    .into()
}

/// Sends the archive. The outer error is the job's, the inner one the stream's.
async fn send(
    cx: &JobContext,
    upload: &mut Upload,
    point: &OpenPoint,
    archive: &Archive,
    checksum: Checksum,
) -> Result<Result<(), xenkeep_disk::Error>, Stop> {
    let ova_xml = archive.ova.to_xml();
    let mut lanes = Vec::new();
    for file in point.file.images().filter(|file| archive.positions.contains(&file.disk.position)) {
        lanes.push((
            file,
            point.disk(&file.disk.position).await?,
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
    let memory = memory(session, &record, point).await?;
    Ok(Imported { vm, record, disks, memory })
}

/// The image of the VM's memory, which it has if the point has one: then it can be resumed.
async fn memory(session: &Session, vm: &Vm, point: &OpenPoint) -> Result<Option<String>, Stop> {
    let Some(expected) = &point.file.memory else { return Ok(None) };
    let image = match vm.power_state {
        PowerState::Suspended => session.pool.vdi(&vm.suspend_vdi).await.or_gone(session)?,
        _ => None,
    };
    match image {
        Some(image) if image.virtual_bytes() >= expected.disk.size_bytes => Ok(Some(image.uuid)),
        _ => {
            let text = "the pool imported the VM without the memory that came with it";
            Err(Problem::new("restore.memory_lost", text)
                .hint("--without-memory restores the VM switched off")
                .about(&vm.uuid)
                .into())
        }
    }
}
