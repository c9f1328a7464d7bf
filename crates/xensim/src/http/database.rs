//! `GET` and `PUT /pool/xmldbdump`: the pool's database (xapi: `pool_db_backup.ml`).

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::ApiError;
use crate::fault::FaultKind;
use crate::model::{Class, Ref, dump};
use crate::ops;
use crate::task::Task;
use crate::world::World;

use super::answer::{Answer, Status};
use super::conn::Conn;
use super::import;
use super::stream::{Event, Incoming, Outgoing};
use super::transfer::{Failure, Kind, Request};

/// A body is read whole, up to this.
pub(super) const MAX_BODY_BYTES: u64 = 256 << 20;

/// Sends the database.
pub(super) async fn send(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<(), Failure> {
    let world = &request.site.world;
    let stub = world.faults.strike(FaultKind::StubDatabase).is_some();
    let xml = if stub { dump::stub() } else { world.db.read(dump::write) };
    let answer =
        Answer::new(1, Status::Ok).header("Connection", "close").uncached().header("task-id", task.reference());
    send_body(request, conn, Kind::DumpDatabase, answer, xml.as_bytes()).await
}

/// Sends a body without saying how long it is.
pub(super) async fn send_body(
    request: &Request<'_>,
    conn: &mut Conn,
    kind: Kind,
    answer: Answer,
    body: &[u8],
) -> Result<(), Failure> {
    let client_gone = |error: std::io::Error| ApiError::new("CLIENT_ERROR", [error]);
    answer.send_head(conn).await.map_err(|error| Failure::Broken(client_gone(error)))?;
    let (course, hooks) = request.course(kind);
    let mut out = Outgoing::new(conn, course, hooks);
    let sent = async {
        out.write_all(body).await?;
        out.flush().await
    };
    match sent.await {
        Ok(()) => Ok(()),
        Err(error) => Err(match out.broken_by() {
            Some(Event::Cut) => Failure::Broken(client_gone(error)),
            Some(_) => Failure::Failed(ApiError::internal("the stream failed")),
            None => Failure::Failed(client_gone(error)),
        }),
    }
}

/// Reads the body of a request, as long as was announced or to its end.
pub(super) async fn read_body(request: &Request<'_>, conn: &mut Conn, kind: Kind) -> Result<Vec<u8>, Failure> {
    let (course, hooks) = request.course(kind);
    let announced = request.head.content_length();
    let mut body = Vec::new();
    let mut incoming = Incoming::new(conn, announced, course, hooks);
    let read = (&mut incoming).take(MAX_BODY_BYTES).read_to_end(&mut body).await;
    match (read, incoming.broken_by()) {
        (Ok(_), _) => Ok(body),
        (Err(error), Some(_)) => Err(Failure::Broken(ApiError::internal(error))),
        (Err(error), None) => Err(Failure::Failed(ApiError::internal(error))),
    }
}

/// Takes a database, or only looks whether it could be taken.
pub(super) async fn receive(request: &Request<'_>, conn: &mut Conn, task: &Task) -> Result<(), Failure> {
    let world = &request.site.world;
    let Some(announced) = request.head.content_length() else {
        return Err(Failure::Ignored(Status::BadRequest));
    };
    import::accept(request, conn, task).await?;
    let body = read_body(request, conn, Kind::RestoreDatabase).await?;
    if (body.len() as u64) < announced {
        return Err(Failure::Failed(ApiError::internal("End_of_file")));
    }
    if let Some(error) = world.faults.refusal(Kind::RestoreDatabase.path()) {
        return Err(error.into());
    }
    let found = check(world, &body)?;
    if request.flag("dry_run") {
        return Ok(());
    }
    let restarting = world.clone();
    world.spawn(async move {
        tokio::time::sleep(restarting.timing.restart).await;
        restart_with(&restarting, &found);
    });
    Ok(())
}

/// Whether the master could take the database.
fn check(world: &World, xml: &[u8]) -> Result<dump::Dump, ApiError> {
    let xml = std::str::from_utf8(xml).map_err(ApiError::internal)?;
    let xml = adopt(world, xml)?;
    let found = dump::parse(&xml).map_err(ApiError::internal)?;
    if found.schema != Some(dump::SCHEMA) {
        return Err(ApiError::bare("RESTORE_INCOMPATIBLE_VERSION"));
    }
    let text =
        |row: &dump::Row, field: &str| row.fields.get(field).and_then(|value| value.as_str()).unwrap_or("").to_owned();
    let is = |row: &dump::Row, field: &str| row.fields.get(field) == Some(&true.into());
    let master = world.master();
    let in_backup: Vec<&dump::Row> =
        found.rows.iter().filter(|row| row.class == Class::Pif && text(row, "host") == master.as_str()).collect();
    world.db.read(|t| {
        let here: Vec<Ref> = t.references(master, "PIFs").into_iter().filter(|pif| t.bool(pif, "physical")).collect();
        for row in in_backup.iter().filter(|row| is(row, "physical")) {
            let device = text(row, "device");
            if !here.iter().any(|pif| t.str(pif, "device") == device) {
                return Err(ApiError::new("RESTORE_TARGET_MISSING_DEVICE", [device]));
            }
        }
        let management = here.iter().find(|pif| t.bool(pif, "management")).map(|pif| t.str(pif, "device"));
        match management {
            Some(device) if !in_backup.iter().any(|row| text(row, "device") == device) => {
                Err(ApiError::new("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP", [device]))
            }
            _ => Ok(()),
        }
    })?;
    Ok(found)
}

/// The master of the backup becomes this one: references to it and to its pool lead to those that are here.
fn adopt(world: &World, xml: &str) -> Result<String, ApiError> {
    let found = dump::parse(xml).map_err(ApiError::internal)?;
    let pool = found.rows.iter().find(|row| row.class == Class::Pool);
    let pool = pool.ok_or_else(|| ApiError::internal("the database has no pool"))?;
    let master = pool.fields.get("master").and_then(|value| value.as_str()).unwrap_or_default();
    let xml = xml.replace(pool.reference.as_str(), world.pool().as_str());
    Ok(if master.is_empty() { xml } else { xml.replace(master, world.master().as_str()) })
}

/// What is left of the pool after a restart of the master with a database that was put back: no members, no guests
/// that run, no sessions.
fn restart_with(world: &World, found: &dump::Dump) {
    let master = world.master();
    world.db.write(|t| {
        let own: Vec<_> = ["uuid", "address", "hostname"].map(|field| (field, t.str(master, field))).into();
        t.restore(&found.rows);
        for (field, value) in own {
            t.set(master, field, value);
        }
        forget_members(t, master);
        for vm in t.all(Class::Vm) {
            if t.bool(&vm, "is_control_domain") || t.str(&vm, "power_state") == "Halted" {
                continue;
            }
            t.set(&vm, "power_state", "Halted");
            t.set(&vm, "resident_on", Ref::null());
            t.set(&vm, "domid", -1_i64);
            for device in t.references(&vm, "VBDs").into_iter().chain(t.references(&vm, "VIFs")) {
                t.set(&device, "currently_attached", false);
            }
            ops::refresh_vm(t, &vm);
        }
    });
    world.forget_sessions();
    world.restarts.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

fn forget_members(t: &mut crate::model::Tables, master: &Ref) {
    for host in t.all(Class::Host).into_iter().filter(|host| host != master) {
        let own = t.references(&host, "PIFs").into_iter().chain(t.references(&host, "PBDs"));
        let of_it: Vec<Ref> = own.chain([t.reference(&host, "control_domain"), host.clone()]).collect();
        for object in of_it {
            t.destroy(&object);
        }
    }
}
