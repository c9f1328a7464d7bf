//! `GET /export`: a virtual machine as an XVA.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_compression::Level;
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use futures::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use xenkeep_disk::xva::{Checksum, OvaDisk, Writer};
use xenkeep_disk::{Blocks, DiskRead};

use crate::error::ApiError;
use crate::fault::{Fault, FaultKind};
use crate::model::{Class, Ref, Tables};
use crate::ops;
use crate::task::Task;
use crate::world::World;

use super::answer::{Answer, Status};
use super::conn::Conn;
use super::ova::{self, Description, Selection};
use super::stream::{Event, Outgoing, Position};
use super::transfer::{Failure, Kind, Progress, Request};

/// After so long a silence an empty chunk keeps the connection alive (xapi: `stream_vdi.ml`).
const SILENCE: Duration = Duration::from_secs(5);

/// Finds the machine, and sees whether this host can read its disks.
pub(super) fn find(request: &Request<'_>) -> Result<Ref, Failure> {
    let world = &request.site.world;
    world.db.read(|t| {
        let vm = find_vm(request, t).map_err(Failure::Unnoticed)?;
        let srs = srs_of(t, &vm);
        let sees_all = |host: &Ref| srs.iter().all(|sr| ops::sr::is_seen_by(t, sr, host));
        if sees_all(&world.hosts[request.site.host]) {
            return Ok(vm);
        }
        match world.hosts.iter().position(sees_all) {
            Some(host) => Err(request.elsewhere(host)),
            None => Err(Failure::Silent(ApiError::bare("NO_HOSTS_AVAILABLE"))),
        }
    })
}

/// The machine that the query names; `ref` wins over `uuid`.
pub(super) fn find_vm(request: &Request<'_>, t: &Tables) -> Result<Ref, ApiError> {
    if let Some(reference) = request.head.query("ref") {
        let vm = Ref::from(reference);
        return if t.has(Class::Vm, &vm) { Ok(vm) } else { Err(ApiError::handle(Class::Vm, &vm)) };
    }
    let uuid = request.head.query("uuid").ok_or_else(|| ApiError::internal("neither ref nor uuid is given"))?;
    t.by_uuid(Class::Vm, &uuid).ok_or_else(|| ApiError::uuid(Class::Vm, &uuid))
}

/// The storage repositories of the disks that have to be read.
fn srs_of(t: &Tables, vm: &Ref) -> Vec<Ref> {
    let disks = t.references(vm, "VBDs").into_iter().filter(|vbd| t.str(vbd, "type") == "Disk");
    let vdis = disks.map(|vbd| t.reference(&vbd, "VDI")).filter(|vdi| t.has(Class::Vdi, vdi));
    vdis.map(|vdi| t.reference(&vdi, "SR")).filter(|sr| t.str(sr, "content_type") != "iso").collect()
}

/// Streams the machine.
pub(super) async fn export(request: &Request<'_>, conn: &mut Conn, task: &Task, vm: &Ref) -> Result<(), Failure> {
    let world = &request.site.world;
    let _operation = ops::vm::begin(world, vm, "export", task.reference())?;
    let selection = Selection {
        vms: vec![vm.clone()],
        keep_power_state: request.flag("preserve_power_state"),
        ..Selection::default()
    };
    let description = ova::describe(world, &selection);
    let head = Answer::new(0, Status::Ok)
        .header("Connection", "close")
        .uncached()
        .header("task-id", task.reference())
        .header("Content-Type", "application/octet-stream")
        .header("Content-Disposition", "attachment; filename=\"export.xva\"");
    conn.answered = true;
    head.send_head(conn).await.map_err(|error| Failure::Broken(client_error(&error)))?;

    let (course, hooks) = request.course(Kind::Export);
    let outgoing = Outgoing::new(conn, course, hooks);
    let position = outgoing.position();
    let mut packed = Packed::new(outgoing, request.head.query("use_compression").as_deref());
    let archive = Archive { request, task, description: &description, position };
    let result = archive.write(&mut packed).await;
    // A compressor ends its own stream properly whatever came before, as the process in dom0 does.
    let ended = packed.shutdown().await;
    let outgoing = packed.get_ref();
    match result {
        Ok(()) => ended.map_err(|error| failure(task, outgoing, client_error(&error))),
        Err(error) => Err(failure(task, outgoing, error)),
    }
}

fn failure(task: &Task, outgoing: &Outgoing<'_>, error: ApiError) -> Failure {
    match outgoing.broken_by() {
        Some(Event::Cut) => Failure::Broken(error),
        Some(_) => Failure::Failed(ApiError::internal("the transfer was made to fail")),
        None if task.is_cancelled() => Failure::Failed(task.cancelled_error()),
        None => Failure::Failed(error),
    }
}

fn client_error(error: &io::Error) -> ApiError {
    ApiError::new("CLIENT_ERROR", [error])
}

fn write_error(error: xenkeep_disk::Error) -> ApiError {
    match error {
        xenkeep_disk::Error::Stream(error) => client_error(&error),
        other => ApiError::new("VDI_IO_ERROR", [other]),
    }
}

/// An archive that is being written.
struct Archive<'a> {
    request: &'a Request<'a>,
    task: &'a Task,
    description: &'a Description,
    position: Position,
}

impl Archive<'_> {
    async fn write(&self, out: &mut Packed<'_>) -> Result<(), ApiError> {
        let xml = self.description.xml.as_bytes();
        let mut writer = Writer::new(out, xml, Checksum::Xxhash).await.map_err(write_error)?;
        let disks = writer.disks().to_vec();
        let total_bytes = disks.iter().map(|disk| disk.virtual_size).sum();
        let mut progress = Progress::new(self.request, self.task, total_bytes);
        let mut stall = self.world().faults.strike(FaultKind::StallExport);
        for disk in &disks {
            self.write_disk(&mut writer, disk, &mut progress, &mut stall).await?;
        }
        writer.finish().await.map_err(write_error)?;
        Ok(())
    }

    async fn write_disk(
        &self,
        writer: &mut Writer<&mut Packed<'_>>,
        disk: &OvaDisk,
        progress: &mut Progress<'_>,
        stall: &mut Option<Fault>,
    ) -> Result<(), ApiError> {
        let vdi = &self.description.vdis[&disk.id];
        let _attached = Attached::plug(self.request, vdi, "RO")?;
        let reader = self.world().storage.reader(&disk.vdi_uuid)?;
        let mut blocks = Arc::new(reader).blocks();
        writer.begin(&disk.id, disk.virtual_size).map_err(write_error)?;
        while let Some(block) = self.next_block(writer, &mut blocks, stall).await? {
            progress.advance(block.len)?;
            writer.push(block).await.map_err(write_error)?;
        }
        writer.end().map_err(write_error)
    }

    /// The next block, however long it takes; meanwhile the connection is kept alive.
    async fn next_block(
        &self,
        writer: &mut Writer<&mut Packed<'_>>,
        blocks: &mut Blocks,
        stall: &mut Option<Fault>,
    ) -> Result<Option<xenkeep_disk::Block>, ApiError> {
        let pause = stall.take_if(|fault| self.position.bytes() >= fault.at_byte);
        let next = async {
            if let Some(fault) = pause {
                self.world().faults.pause(fault, Kind::Export.path()).await;
            }
            blocks.next().await
        };
        let mut next = std::pin::pin!(next);
        loop {
            match timeout(SILENCE, &mut next).await {
                Ok(block) => return block.transpose().map_err(write_error),
                Err(_) => writer.keepalive().await.map_err(write_error)?,
            }
        }
    }

    fn world(&self) -> &World {
        &self.request.site.world
    }
}

/// A disk that is plugged into the control domain for as long as this is held.
pub(super) struct Attached {
    world: World,
    vbd: Ref,
}

impl Attached {
    pub(super) fn plug(request: &Request<'_>, vdi: &Ref, mode: &str) -> Result<Self, ApiError> {
        let site = request.site;
        let vbd = ops::vbd::attach_to_dom0(&site.world, site.host, vdi, mode)?;
        Ok(Self { world: site.world.clone(), vbd })
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        ops::vbd::detach_from_dom0(&self.world, &self.vbd);
    }
}

/// The body of an answer, compressed as the client wishes.
enum Packed<'a> {
    Plain(Outgoing<'a>),
    Gzip(Box<GzipEncoder<Outgoing<'a>>>),
    Zstd(Box<ZstdEncoder<Outgoing<'a>>>),
}

impl<'a> Packed<'a> {
    /// `true` is what old releases knew, and means gzip.
    fn new(out: Outgoing<'a>, wish: Option<&str>) -> Self {
        match wish {
            Some("true" | "gzip") => Self::Gzip(Box::new(GzipEncoder::with_quality(out, Level::Fastest))),
            Some("zstd") => Self::Zstd(Box::new(ZstdEncoder::with_quality(out, Level::Fastest))),
            _ => Self::Plain(out),
        }
    }

    fn get_ref(&self) -> &Outgoing<'a> {
        match self {
            Self::Plain(out) => out,
            Self::Gzip(encoder) => encoder.get_ref(),
            Self::Zstd(encoder) => encoder.get_ref(),
        }
    }

    fn inner(&mut self) -> Pin<&mut (dyn AsyncWrite + Send + Unpin + 'a)> {
        match self {
            Self::Plain(out) => Pin::new(out),
            Self::Gzip(encoder) => Pin::new(encoder.as_mut()),
            Self::Zstd(encoder) => Pin::new(encoder.as_mut()),
        }
    }
}

impl AsyncWrite for Packed<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}
