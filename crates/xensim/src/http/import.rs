//! `PUT /import`: an XVA as a new virtual machine.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use xenkeep_disk::Data;
use xenkeep_disk::xva::{GapRule, Reader};

use crate::error::ApiError;
use crate::fault::FaultKind;
use crate::model::{Class, Ref, Tables, Value};
use crate::ops;
use crate::storage::{self, Storage};
use crate::task::Task;

use super::answer::{Answer, Status};
use super::archive::Archive;
use super::conn::Conn;
use super::export::Attached;
use super::objects::{Builder, Disks, Wishes};
use super::stream::Incoming;
use super::transfer::{Failure, Kind, Progress, Request};

/// Blocks on their way to the storage.
const BLOCKS_IN_FLIGHT: usize = 8;

/// Finds the storage repository, and sees whether this host has it.
pub(super) fn find(request: &Request<'_>) -> Result<Ref, Failure> {
    let world = &request.site.world;
    world.db.read(|t| {
        let sr = find_sr(request, t).map_err(Failure::Unnoticed)?;
        if ops::sr::is_seen_by(t, &sr, &world.hosts[request.site.host]) {
            return Ok(sr);
        }
        match world.hosts.iter().position(|host| ops::sr::is_seen_by(t, &sr, host)) {
            Some(host) => Err(request.elsewhere(host)),
            None => Err(Failure::Unnoticed(ApiError::new("SR_HAS_NO_PBDS", [&sr]))),
        }
    })
}

fn find_sr(request: &Request<'_>, t: &Tables) -> Result<Ref, ApiError> {
    if let Some(reference) = request.head.query("sr_id") {
        let sr = Ref::from(reference);
        return if t.has(Class::Sr, &sr) { Ok(sr) } else { Err(ApiError::handle(Class::Sr, &sr)) };
    }
    if let Some(uuid) = request.head.query("sr_uuid") {
        return t.by_uuid(Class::Sr, &uuid).ok_or_else(|| ApiError::uuid(Class::Sr, &uuid));
    }
    let sr = t.reference(request.site.world.pool(), "default_SR");
    if t.has(Class::Sr, &sr) { Ok(sr) } else { Err(ApiError::new("DEFAULT_SR_NOT_FOUND", [&sr])) }
}

/// Receives the archive. The result is the set of new machines.
pub(super) async fn import(request: &Request<'_>, conn: &mut Conn, task: &Task, sr: &Ref) -> Result<Value, Failure> {
    let world = &request.site.world;
    task.set_progress(0.0);
    if world.db.read(|t| t.str(sr, "content_type") == "iso") {
        let error = ApiError::new("SR_OPERATION_NOT_SUPPORTED", [sr]);
        return Err(Failure::Refused(Status::BadRequest, error));
    }
    accept(request, conn, task).await?;

    let (course, hooks) = request.course(Kind::Import);
    let sr_full = world.faults.strike(FaultKind::SrFull).map(|fault| fault.at_byte);
    let fails_late = world.faults.strike(FaultKind::FailImportTask).is_some();
    let wishes = Wishes {
        restore: request.flag("restore"),
        force: request.flag("force"),
        disks: Disks::On(sr.clone()),
        task: task.reference().clone(),
    };
    let mut builder = Builder::new(world, wishes);
    let announced = request.head.content_length();
    let mut incoming = Incoming::new(conn, announced, course, hooks);
    let mut receiver = Receiver { request, task, sr_full };
    let result = receiver.receive(&mut incoming, &mut builder).await;
    let result = match result {
        Ok(()) if fails_late => Err(ApiError::internal("the task failed after the last byte")),
        other => other,
    };
    match result {
        Ok(()) => Ok(builder.complete()),
        Err(error) => {
            builder.undo();
            Err(match incoming.broken_by() {
                Some(_) => Failure::Broken(error),
                None if task.is_cancelled() => Failure::Failed(task.cancelled_error()),
                None => Failure::Failed(error),
            })
        }
    }
}

/// Refuses chunks, or else answers 200: that comes before the body is read.
pub(super) async fn accept(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<(), Failure> {
    if request.head.is_chunked() {
        let error = ApiError::bare("IMPORT_ERROR_CANNOT_HANDLE_CHUNKED");
        return Err(Failure::Refused(Status::Forbidden, error));
    }
    let answer = Answer::new(request.head.minor, Status::Ok)
        .header("Connection", "close")
        .uncached()
        .header("task-id", task.reference());
    conn.answered = true;
    let sent = answer.send_head(conn).await;
    sent.map_err(|error| Failure::Broken(ApiError::new("IMPORT_ERROR", [error])))
}

/// Errors of the format, in XAPI's words.
pub(super) fn read_error(error: xenkeep_disk::Error, incoming: &Incoming<'_>) -> ApiError {
    use xenkeep_disk::Error;
    match error {
        Error::Truncated { .. } => ApiError::bare("IMPORT_ERROR_PREMATURE_EOF"),
        Error::Checksum { what } => ApiError::new("IMPORT_ERROR", [format!("Invalid_checksum({what})")]),
        other => match incoming.first_file() {
            Some(name) if name != "ova.xml" => ApiError::new("IMPORT_ERROR_UNEXPECTED_FILE", ["ova.xml", &name]),
            _ => ApiError::new("IMPORT_ERROR", [other]),
        },
    }
}

fn write_error(error: storage::Error) -> ApiError {
    match error {
        storage::Error::Full { .. } => no_space(),
        other => ApiError::new("VDI_IO_ERROR", [other]),
    }
}

/// A thin storage repository that fills up in mid-stream shows itself like this.
fn no_space() -> ApiError {
    ApiError::internal("Unix.Unix_error(Unix.ENOSPC, \"write\", \"\")")
}

/// Takes an archive apart.
struct Receiver<'a> {
    request: &'a Request<'a>,
    task: &'a Task,
    /// After so many bytes of disk the storage shall be full.
    sr_full: Option<u64>,
}

impl Receiver<'_> {
    async fn receive(&mut self, incoming: &mut Incoming<'_>, builder: &mut Builder<'_>) -> Result<(), ApiError> {
        let opened = Reader::open(&mut *incoming).await;
        let reader = match opened {
            Ok(reader) if self.request.flag("force") => reader.with_gap_rule(GapRule::OfArchive).ignoring_checksums(),
            Ok(reader) => reader.with_gap_rule(GapRule::OfArchive),
            Err(error) => return Err(read_error(error, incoming)),
        };
        let archive = Archive::parse(reader.ova_xml())?;
        builder.check(&archive)?;
        builder.build(&archive)?;
        self.task.note("object_creation", "complete");
        match self.disks(reader, builder).await {
            Ok(()) => Ok(()),
            Err(Broken::Stream(error)) => Err(read_error(error, incoming)),
            Err(Broken::Otherwise(error)) => Err(error),
        }
    }

    /// Reads until the archive ends; the stream may go on or stay open.
    async fn disks(&mut self, mut reader: Reader<&mut Incoming<'_>>, builder: &Builder<'_>) -> Result<(), Broken> {
        let total_bytes = reader.disks().iter().map(|disk| disk.virtual_size).sum();
        let mut progress = Progress::new(self.request, self.task, total_bytes);
        let mut present: Option<(usize, Pour)> = None;
        while let Some(next) = reader.next().await.map_err(Broken::Stream)? {
            if present.as_ref().is_none_or(|(disk, _)| *disk != next.disk) {
                if let Some((_, pour)) = present.take() {
                    pour.finish().await?;
                }
                let id = &reader.disks()[next.disk].id;
                present = Some((next.disk, self.begin_disk(builder, id)?));
            }
            progress.advance(next.block.len)?;
            if let (Data::Bytes(bytes), Some((_, pour))) = (next.block.data, &mut present) {
                self.count_space(bytes.len() as u64)?;
                if pour.push(next.block.offset, bytes).await.is_err() {
                    break;
                }
            }
        }
        match present {
            Some((_, pour)) => Ok(pour.finish().await?),
            None => Ok(()),
        }
    }

    fn begin_disk(&self, builder: &Builder<'_>, id: &str) -> Result<Pour, ApiError> {
        let vdi = builder.reference(id);
        let vdi = vdi.ok_or_else(|| ApiError::new("IMPORT_ERROR_FAILED_TO_FIND_OBJECT", [id]))?;
        let attached = Attached::plug(self.request, vdi, "RW")?;
        let world = &self.request.site.world;
        let uuid = world.db.read(|t| t.str(vdi, "uuid"));
        Ok(Pour::begin(world.storage.clone(), uuid, attached))
    }

    fn count_space(&mut self, bytes: u64) -> Result<(), ApiError> {
        if let Some(left) = &mut self.sr_full {
            *left = left.checked_sub(bytes).ok_or_else(no_space)?;
        }
        Ok(())
    }
}

/// Why an archive can't be taken apart.
enum Broken {
    Stream(xenkeep_disk::Error),
    Otherwise(ApiError),
}

impl From<ApiError> for Broken {
    fn from(error: ApiError) -> Self {
        Self::Otherwise(error)
    }
}

/// A disk that is being filled, beside the reading of what comes next.
struct Pour {
    blocks: mpsc::Sender<(u64, Bytes)>,
    writer: JoinHandle<Result<(), storage::Error>>,
    _attached: Attached,
}

impl Pour {
    fn begin(storage: Storage, vdi: String, attached: Attached) -> Self {
        let (blocks, mut queue) = mpsc::channel::<(u64, Bytes)>(BLOCKS_IN_FLIGHT);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some((offset, bytes)) = queue.blocking_recv() {
                storage.write_unless_zero(&vdi, offset, &bytes)?;
            }
            Ok(())
        });
        Self { blocks, writer, _attached: attached }
    }

    /// Fails when the writer has ended; [`Pour::finish`] says why.
    async fn push(&self, offset: u64, bytes: Bytes) -> Result<(), ()> {
        self.blocks.send((offset, bytes)).await.map_err(drop)
    }

    async fn finish(self) -> Result<(), ApiError> {
        drop(self.blocks);
        match self.writer.await {
            Ok(written) => written.map_err(write_error),
            Err(error) => Err(ApiError::internal(error)),
        }
    }
}
