//! Export: a point as an XVA file, or one of its disks as an image, streamed to whoever asked.

mod image;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use xenkeep_api::{DatastoreAccess, ExportCompression, ExportFormat, JobResult, Problem};
use xenkeep_disk::{
    DiskRead,
    xva::{Checksum, Writer},
};

use crate::{
    ContentSink, LeaseError, Leases, ReaderGone,
    context::{JobContext, Stop},
    open::OpenPoint,
    problem,
    progress::DoneBytes,
    streamed::StreamedPoint,
};

/// Bytes are handed on in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;

/// How long the reason of a failure is offered to a reader that does not read.
const FAREWELL: Duration = Duration::from_secs(5);

/// What to export.
pub(crate) struct ExportSpec {
    pub(crate) datastore: DatastoreAccess,
    /// Full id of the point.
    pub(crate) point: String,
    pub(crate) format: ExportFormat,
    /// Position, for the forms of one disk.
    pub(crate) disk: Option<String>,
    /// Of a qcow2 image.
    pub(crate) compression: Option<ExportCompression>,
    pub(crate) fence: i64,
}

/// Streams a point, or a disk of it.
pub(crate) async fn export(cx: &JobContext, leases: &dyn Leases, spec: &ExportSpec) -> Result<JobResult, Stop> {
    cx.step("open");
    if spec.format == ExportFormat::File {
        return file(cx, leases, spec).await;
    }
    let point = OpenPoint::open(cx, &spec.datastore, &spec.point).await?;
    let image = if spec.format.is_of_a_disk() {
        let position = chosen(&point, spec.disk.as_deref())?;
        Some(image::prepare(cx, spec, &point, &position).await?)
    } else {
        None
    };
    cx.step("connect");
    let attach = async { leases.content(cx.job, spec.fence).await.map_err(no_reader) };
    let sink = cx.or_cancelled(attach).await?;
    cx.step("export");
    let mut outlet = Outlet::new(sink, cx);
    let sent = match image {
        None => xva(cx, &point, &mut outlet).await,
        Some(image) => image::send(cx, image, &mut outlet).await,
    };
    match sent {
        Ok(()) => Ok(exported(cx, outlet)),
        Err(stop) => {
            outlet.fail(&stop).await;
            Err(stop)
        }
    }
}

/// The one stream of a point, as it came from the pool.
async fn file(cx: &JobContext, leases: &dyn Leases, spec: &ExportSpec) -> Result<JobResult, Stop> {
    let point = StreamedPoint::open(cx, &spec.datastore, &spec.point, None).await?;
    let stream = point.stream()?;
    cx.step("connect");
    let attach = async { leases.content(cx.job, spec.fence).await.map_err(no_reader) };
    let mut outlet = Outlet::new(cx.or_cancelled(attach).await?, cx);
    cx.step("export");
    let store = |error: xenkeep_repo::Error| Stop::from(problem::repo(&spec.datastore, &error));
    let mut pieces = stream.pieces();
    let sent = async {
        while let Some(mut piece) = cx.or_cancelled(async { pieces.try_next().await.map_err(store) }).await? {
            while !piece.is_empty() {
                outlet.send(piece.split_to(piece.len().min(PIECE_BYTES))).await?;
            }
        }
        Ok(())
    };
    let sent = sent.await;
    match sent {
        Ok(()) => Ok(exported(cx, outlet)),
        Err(stop) => {
            outlet.fail(&stop).await;
            Err(stop)
        }
    }
}

fn exported(cx: &JobContext, outlet: Outlet<'_>) -> JobResult {
    let (bytes, sha256) = outlet.finish();
    cx.info(format!("{bytes} bytes sent, SHA-256 {sha256}"));
    JobResult::Export { bytes, sha256 }
}

fn chosen(point: &OpenPoint, wanted: Option<&str>) -> Result<String, Stop> {
    let positions: Vec<&str> = point.file.disks.iter().map(|file| file.disk.position.as_str()).collect();
    let Some(wanted) = wanted else {
        return Err(Problem::new("export.disk_missing", "this form is of one disk: name its position")
            .hint(format!("the point has disks {}", positions.join(", ")))
            .into());
    };
    if positions.contains(&wanted) {
        return Ok(wanted.to_owned());
    }
    Err(Problem::new("export.disk_unknown", format!("the point has no disk at position {wanted:?}"))
        .hint(format!("it has disks {}", positions.join(", ")))
        .into())
}

fn no_reader(error: LeaseError) -> Problem {
    match error {
        LeaseError::NoReader => {
            Problem::new("export.no_reader", "nobody came to read the export").hint("start the export again")
        }
        error => Problem::internal(&error),
    }
}

/// The whole VM, as `xe vm-import` takes it; with `preserve=true` it is the original again.
async fn xva(cx: &JobContext, point: &OpenPoint, out: &mut Outlet<'_>) -> Result<(), Stop> {
    let mut ova = point.ova();
    point.identity().put_on(&mut ova);
    let mut disks: Vec<(String, Arc<dyn DiskRead>, DoneBytes)> = Vec::new();
    for file in point.file.images() {
        let done = cx.board.disk(&file.disk.position, file.disk.size_bytes);
        disks.push((file.disk.ova_id.clone(), point.disk(&file.disk.position).await?, done));
    }
    disks.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let xml = ova.to_xml();
    let (near, mut far) = tokio::io::duplex(4 * PIECE_BYTES);
    let write = async {
        let mut writer = Writer::new(near, xml.as_bytes(), Checksum::Xxhash).await?;
        for (id, disk, done) in disks {
            let size = disk.size();
            let blocks = disk.blocks().inspect(move |block| {
                if let Ok(block) = block {
                    done.add(block.len);
                }
            });
            writer.disk(&id, size, blocks.boxed()).await?;
        }
        writer.finish().await.map(drop)
    };
    let write = async { write.await.map_err(unreadable) };
    let pump = async {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            while piece.len() < PIECE_BYTES && far.read_buf(&mut piece).await.unwrap_or(0) > 0 {}
            if piece.is_empty() {
                return Ok(());
            }
            out.send(piece.freeze()).await?;
        }
    };
    tokio::try_join!(write, pump).map(drop)
}

fn unreadable(error: xenkeep_disk::Error) -> Stop {
    problem::disk(None, "the restore point", error).into()
}

fn reader_gone() -> Problem {
    Problem::new("export.reader_gone", "whoever read the export went away before its end")
        .hint("start the export again")
}

/// Where the bytes go: counted and hashed on their way to the reader.
struct Outlet<'a> {
    sink: ContentSink,
    bytes: u64,
    hash: Sha256,
    cx: &'a JobContext,
}

impl<'a> Outlet<'a> {
    fn new(sink: ContentSink, cx: &'a JobContext) -> Self {
        Self { sink, bytes: 0, hash: Sha256::new(), cx }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), Stop> {
        self.hash.update(&bytes);
        let len = bytes.len() as u64;
        let sent = async { self.sink.send(bytes).await.map_err(|ReaderGone| reader_gone()) };
        self.cx.or_cancelled(sent).await?;
        self.bytes += len;
        self.cx.board.moved(len);
        Ok(())
    }

    fn finish(self) -> (u64, String) {
        self.sink.finish();
        let sha256 = self.hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        (self.bytes, sha256)
    }

    async fn fail(self, stop: &Stop) {
        let problem = match stop {
            Stop::Cancelled => Problem::new("job.cancelled", "the export was cancelled"),
            Stop::Problem(problem) => (**problem).clone(),
        };
        // A reader that has stopped reading must not hold the job.
        let _ = tokio::time::timeout(FAREWELL, self.sink.fail(problem)).await;
    }
}
