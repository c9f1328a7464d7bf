//! `GET /export_metadata` and `PUT /import_metadata`: machines without the content of their disks.

use xenkeep_disk::xva::{self, Reader};

use crate::error::ApiError;
use crate::model::{Class, Ref, Tables, Value};
use crate::ops;
use crate::task::Task;

use super::answer::{Answer, Status};
use super::archive::Archive;
use super::conn::Conn;
use super::objects::{Builder, Disks, Wishes};
use super::ova::{self, Selection};
use super::stream::Incoming;
use super::transfer::{Failure, Kind, Request};
use super::{export as whole, import as disks};

/// Sends the records of one machine or of all.
pub(super) async fn export(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<(), Failure> {
    let world = &request.site.world;
    let selection = world.db.read(|t| select(request, t))?;
    let operations: Vec<_> = selection
        .vms
        .iter()
        .map(|vm| ops::vm::begin_unchecked(world, vm, "metadata_export", task.reference()))
        .collect();
    let archive = xva::metadata(ova::describe(world, &selection).xml.as_bytes());
    let answer = Answer::new(0, Status::Ok)
        .header("Connection", "close")
        .uncached()
        .header("task-id", task.reference())
        .header("Content-Type", "application/octet-stream")
        .header("Content-Disposition", "attachment; filename=\"export.xva\"");
    conn.answered = true;
    let sent = answer.send(conn, &archive).await;
    drop(operations);
    sent.map_err(|error| Failure::Broken(ApiError::new("CLIENT_ERROR", [error])))
}

fn select(request: &Request<'_>, t: &Tables) -> Result<Selection, ApiError> {
    let flag = |name: &str, default: bool| match request.head.query(name).as_deref() {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(ApiError::internal(format!("{name} can't be {other}"))),
    };
    let keep_snapshots = flag("export_snapshots", true)?;
    let mut vms = if flag("all", false)? {
        let with_dom0 = flag("include_dom0", true)?;
        let wanted = |vm: &Ref| {
            let is_snapshot = t.bool(vm, "is_a_snapshot");
            let is_default = ops::allowed::is_default_template(t, vm);
            !is_snapshot && !is_default && (with_dom0 || !t.bool(vm, "is_control_domain"))
        };
        t.all(Class::Vm).into_iter().filter(wanted).collect()
    } else {
        vec![whole::find_vm(request, t)?]
    };
    if keep_snapshots {
        let snapshots: Vec<Ref> = vms.iter().flat_map(|vm| t.references(vm, "snapshots")).collect();
        vms.extend(snapshots.into_iter().filter(|vm| t.has(Class::Vm, vm)));
    }
    let excluded = request.head.query("excluded_device_types").unwrap_or_default();
    let without = excluded.split(',').filter_map(Class::parse_any_case).collect();
    let with_parents = flag("include_vhd_parents", false)?;
    Ok(Selection { vms, keep_power_state: true, keep_snapshots, without, with_parents })
}

/// Makes the machines again, on disks that are there.
pub(super) async fn import(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<Value, Failure> {
    disks::accept(request, conn, task).await?;
    let (course, hooks) = request.course(Kind::ImportMetadata);
    let announced = request.head.content_length();
    let mut incoming = Incoming::new(conn, announced, course, hooks);
    let xml = match Reader::open(&mut incoming).await {
        Ok(reader) => reader.ova_xml().clone(),
        Err(error) => return Err(Failure::Failed(disks::read_error(error, &incoming))),
    };
    let archive = Archive::parse(&xml)?;
    let map = request.head.queries().filter_map(|(name, value)| Some((name.strip_prefix("vdi:")?.to_owned(), value)));
    let wishes = Wishes {
        restore: request.flag("restore"),
        force: request.flag("force"),
        disks: Disks::There(map.collect()),
        task: task.reference().clone(),
    };
    let mut builder = Builder::new(&request.site.world, wishes);
    builder.check(&archive)?;
    if request.flag("dry_run") {
        return Ok(Value::Set(Vec::new()));
    }
    match builder.build(&archive) {
        Ok(()) => Ok(builder.complete()),
        Err(error) => {
            builder.undo();
            Err(Failure::Failed(error))
        }
    }
}
