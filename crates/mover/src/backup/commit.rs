//! Writes the restore point, last of all.

use bytes::Bytes;
use xenkeep_api::{Point, PointKind, Problem};
use xenkeep_repo::Meta;

use super::{BackupSpec, read::Read, snapshot::Snapshot};
use crate::{
    context::{JobContext, Stop},
    inventory,
    point::{FORMAT, Named, OVA_FILE, POINT_FILE, PointFile},
    problem::{self, bytes},
    session::Session,
};

/// Tag of a restic snapshot that names the job which made it.
pub(crate) fn job_tag(job: xenkeep_api::JobId) -> String {
    format!("job:{job}")
}

/// Commits what was read as a point.
pub(super) async fn commit(
    cx: &JobContext,
    spec: &BackupSpec,
    session: &Session,
    snapshot: &Snapshot,
    read: Read,
) -> Result<Point, Stop> {
    cx.step("commit");
    let file = point_file(cx, spec, session, snapshot, &read).await?;
    let json = serde_json::to_vec_pretty(&file).map_err(|error| Problem::internal(&error))?;
    let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(&spec.datastore, &error));
    read.writer.file(OVA_FILE, read.ova_xml).await.map_err(store)?;
    read.writer.file(POINT_FILE, Bytes::from(json)).await.map_err(store)?;
    cx.check()?;
    let meta = Meta {
        host: spec.client.name.clone(),
        root: format!("/{}/{}", directory(&spec.client.name), snapshot.vm.uuid),
        tags: vec![format!("vm:{}", snapshot.vm.uuid), job_tag(cx.job)],
        time: file.taken_at,
    };
    // A mover that was given up for lost must not commit: when all is stored, the last thing before the point is listed
    // is to ask whether the job is still ours.
    let (journal, progress) = (cx.journal.clone(), cx.progress());
    let id = read.writer.commit_if(meta, async move { journal.still_ours(&progress).await }).await.map_err(store)?;
    cx.info(format!(
        "point {} written: {} in {} disk(s), {} new, {} stored",
        id.short(),
        bytes(file.size_bytes),
        file.disks.len(),
        bytes(file.new_bytes),
        bytes(file.stored_bytes)
    ));
    Ok(file.to_point(id.to_string(), spec.datastore.id))
}

async fn point_file(
    cx: &JobContext,
    spec: &BackupSpec,
    session: &Session,
    snapshot: &Snapshot,
    read: &Read,
) -> Result<PointFile, Stop> {
    let pool = cx.or_cancelled(inventory::pool_file(session)).await?;
    Ok(PointFile {
        format: FORMAT,
        written_by: concat!("xenkeep ", env!("CARGO_PKG_VERSION")).to_owned(),
        kind: PointKind::Vm,
        job: cx.job,
        client: Named { id: session.client.id, name: session.client.name.clone() },
        pool,
        vm: Some(Named { id: snapshot.vm.uuid.clone(), name: snapshot.vm.name_label.clone() }),
        source: None,
        taken_at: snapshot.record.snapshot_time,
        consistency: snapshot.consistency.reached.word().to_owned(),
        quiesced_by: snapshot.consistency.by,
        consistency_asked: Some(snapshot.consistency.asked),
        backup_type: Some(spec.backup_type),
        left_out: snapshot.left_out.clone(),
        transport: "xva".to_owned(),
        size_bytes: read.disks.iter().map(|file| file.disk.size_bytes).sum(),
        moved_bytes: cx.progress().moved_bytes,
        new_bytes: read.counters.new_bytes(),
        stored_bytes: read.counters.stored_bytes(),
        disks: read.disks.clone(),
        memory: read.memory.clone(),
        summary: None,
        records: snapshot.records.clone(),
    })
}

/// A client's name as the name of a directory.
pub(crate) fn directory(name: &str) -> String {
    let name: String = name.chars().map(|c| if c == '/' || c.is_control() { '_' } else { c }).collect();
    if matches!(name.as_str(), "" | "." | "..") { "_".to_owned() } else { name }
}
