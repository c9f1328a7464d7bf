//! Reads the disks of the snapshot, as one XVA stream, into the datastore; and checks that all of it came.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use xapi::{Download, Export};
use xenkeep_api::{PointDisk, Problem};
use xenkeep_disk::{
    Data,
    xva::{OvaDisk, Reader},
};
use xenkeep_repo::{Counters, DiskSink, PointWriter, Repo, WriteOptions};

use super::{
    BackupSpec,
    snapshot::{Snapshot, SnapshotDisk},
};
use crate::{
    context::{JobContext, Stop},
    point::{DiskFile, MEMORY},
    problem::{self, bytes},
    progress::{Counted, DoneBytes},
    session::{OrStop, Session},
    tag,
};

/// All that was read, not yet committed.
pub(super) struct Read {
    pub(super) writer: PointWriter,
    pub(super) counters: Arc<Counters>,
    pub(super) ova_xml: Bytes,
    pub(super) disks: Vec<DiskFile>,
    pub(super) memory: Option<DiskFile>,
}

/// A disk on its way.
struct Lane {
    sink: DiskSink,
    done: DoneBytes,
    file: DiskFile,
}

/// Reads the snapshot into a new point, which is not listed yet.
pub(super) async fn read(
    cx: &JobContext,
    spec: &BackupSpec,
    repo: &Repo,
    session: &Session,
    snapshot: &Snapshot,
) -> Result<Read, Stop> {
    cx.step("read");
    let counters = Arc::new(Counters::default());
    cx.board.watch_store(Arc::clone(&counters));
    let options = WriteOptions { counters: Arc::clone(&counters) };
    let writer = repo.begin(options).await.map_err(|error| problem::repo(&spec.datastore, &error))?;
    match export(cx, spec, session, snapshot, &writer).await {
        Ok((ova_xml, images)) => {
            let (memory, disks) = images.into_iter().partition::<Vec<_>, _>(|file| file.disk.position == MEMORY);
            Ok(Read { writer, counters, ova_xml, disks, memory: memory.into_iter().next() })
        }
        Err(stop) => {
            writer.abort().await;
            Err(stop)
        }
    }
}

async fn export(
    cx: &JobContext,
    spec: &BackupSpec,
    session: &Session,
    snapshot: &Snapshot,
    writer: &PointWriter,
) -> Result<(Bytes, Vec<DiskFile>), Stop> {
    let label = format!("{} export", tag::label(cx.job));
    let task = session.pool.task_create(&label, "xenkeep reads a snapshot").await.or_stop(session)?;
    let export = Export {
        task: Some(task),
        preserve_power_state: snapshot.memory.is_some(),
        ..Export::new(snapshot.snapshot.clone())
    };
    let begun = cx.or_cancelled(async { session.pool.export(export).await.or_stop(session) }).await;
    let mut download = begun?;
    cx.info(format!("reading from {} (transport xva)", download.address()));
    match stream(cx, spec, &mut download, snapshot, writer).await {
        Ok(read) => {
            download.finish(&cx.cancel).await.or_stop(session)?;
            cx.check()?;
            Ok(read)
        }
        Err(Broken::Stop(stop)) => Err(stop),
        Err(Broken::Stream(error)) => Err(verdict(session, download, error).await),
    }
}

/// How a stream may end early.
enum Broken {
    /// The job does not go on.
    Stop(Stop),
    /// The data are not as they should be.
    Stream(xenkeep_disk::Error),
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<xenkeep_disk::Error> for Broken {
    fn from(error: xenkeep_disk::Error) -> Self {
        Self::Stream(error)
    }
}

async fn stream(
    cx: &JobContext,
    spec: &BackupSpec,
    download: &mut Download,
    snapshot: &Snapshot,
    writer: &PointWriter,
) -> Result<(Bytes, Vec<DiskFile>), Broken> {
    let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(&spec.datastore, &error));
    let counted = Counted::new(download, Arc::clone(&cx.board));
    let mut reader = unless_cancelled(cx, Reader::open(counted)).await?;
    let mut lanes = lanes(cx, reader.disks(), snapshot, writer).map_err(|error| match error {
        LaneError::Store(error) => store(error),
        LaneError::Stop(stop) => stop,
    })?;
    while let Some(piece) = unless_cancelled(cx, reader.next()).await? {
        let lane = &mut lanes[piece.disk];
        let len = piece.block.len;
        if matches!(piece.block.data, Data::Bytes(_)) {
            lane.file.data_bytes += len;
        }
        cx.or_cancelled(async { lane.sink.push(piece.block).await.map_err(store) }).await?;
        lane.done.add(len);
    }
    let ova_xml = reader.ova_xml().clone();
    unless_cancelled(cx, reader.finish()).await?;
    let mut files = Vec::new();
    for lane in lanes {
        cx.or_cancelled(async { lane.sink.finish().await.map_err(store) }).await?;
        files.push(lane.file);
    }
    files.sort_by_key(|file| (file.disk.position.parse().unwrap_or(u32::MAX), file.disk.position.clone()));
    Ok((ova_xml, files))
}

async fn unless_cancelled<T>(
    cx: &JobContext,
    work: impl Future<Output = Result<T, xenkeep_disk::Error>>,
) -> Result<T, Broken> {
    tokio::select! {
        biased;
        () = cx.cancel.cancelled() => Err(Broken::Stop(Stop::Cancelled)),
        result = work => result.map_err(Broken::Stream),
    }
}

enum LaneError {
    Stop(Stop),
    Store(xenkeep_repo::Error),
}

/// One lane a disk, in the order of the stream. The disks of the stream must be those of the snapshot, with the same sizes.
fn lanes(
    cx: &JobContext,
    ova_disks: &[OvaDisk],
    snapshot: &Snapshot,
    writer: &PointWriter,
) -> Result<Vec<Lane>, LaneError> {
    let mut wanted: HashMap<&str, &SnapshotDisk> =
        snapshot.images().map(|disk| (disk.snapshot_uuid.as_str(), disk)).collect();
    let mut lanes = Vec::new();
    for ova in ova_disks {
        let Some(disk) = wanted.remove(ova.vdi_uuid.as_str()) else {
            return Err(LaneError::Stop(unknown_disk(&ova.id).into()));
        };
        if disk.size_bytes != ova.virtual_size {
            return Err(LaneError::Stop(sizes_differ(disk, ova).into()));
        }
        let sink = writer.disk_sink(&disk.position, disk.size_bytes).map_err(LaneError::Store)?;
        let done = cx.board.disk(&disk.position, disk.size_bytes);
        let disk = PointDisk {
            position: disk.position.clone(),
            name: disk.name.clone(),
            vdi_uuid: disk.original_uuid.clone(),
            size_bytes: disk.size_bytes,
            ova_id: ova.id.clone(),
            bootable: disk.bootable,
        };
        lanes.push(Lane { sink, done, file: DiskFile { disk, data_bytes: 0 } });
    }
    match wanted.into_values().next() {
        Some(missing) => Err(LaneError::Stop(
            Problem::new(
                "data.disk_missing",
                format!("disk {} ({}) of the snapshot is not in the stream", missing.position, missing.name),
            )
            .about(&missing.snapshot_uuid)
            .into(),
        )),
        None => Ok(lanes),
    }
}

fn unknown_disk(id: &str) -> Problem {
    Problem::new("data.disk_unknown", format!("the stream has a disk ({id}) that the snapshot does not have"))
}

fn sizes_differ(disk: &SnapshotDisk, ova: &OvaDisk) -> Problem {
    Problem::new(
        "data.disk_size",
        format!(
            "disk {} ({}) has {} in the stream, {} on the pool",
            disk.position,
            disk.name,
            bytes(ova.virtual_size),
            bytes(disk.size_bytes)
        ),
    )
    .about(&disk.snapshot_uuid)
}

/// Why the stream broke: what the pool's task says, where the stream itself only ended.
async fn verdict(session: &Session, download: Download, error: xenkeep_disk::Error) -> Stop {
    use xenkeep_disk::Error;
    let address = download.address().to_owned();
    let silent = matches!(error, Error::Stream(_) | Error::Truncated { .. } | Error::SenderFailed { .. });
    if silent {
        let cause = xapi::Error::ClosedEarly { address, what: "the export" };
        let explained = download.explain(cause).await;
        // That we hung up is what a task says of a connection that broke, too.
        if explained.api_code().is_some_and(|code| code != "CLIENT_ERROR") {
            return session.stop(&explained);
        }
    }
    problem::disk(Some(&session.client), "the export of the VM", error).into()
}
