//! Storage repositories and how hosts are plugged into them.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Ref, Tables, Value},
    rpc::{Args, Ctx, Handler, Reply, checked_record},
    storage::Capacity,
    world::World,
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Sr, "create", Handler::Now(create)),
    (Class::Sr, "scan", Handler::Now(scan)),
    (Class::Sr, "update", Handler::Now(update)),
    (Class::Sr, "get_supported_types", Handler::Now(get_supported_types)),
    (Class::Sr, "forget", Handler::Now(forget)),
    (Class::Sr, "destroy", Handler::Now(destroy)),
    (Class::Pbd, "create", Handler::Now(create_pbd)),
    (Class::Pbd, "plug", Handler::Now(plug)),
    (Class::Pbd, "unplug", Handler::Now(unplug)),
    (Class::Pbd, "destroy", Handler::Now(destroy_pbd)),
];

/// Fails unless some host has the SR plugged and disks can be made on it.
pub(super) fn check_usable(t: &Tables, sr: &Ref) -> Result<(), ApiError> {
    check_plugged(t, sr)?;
    if t.str(sr, "content_type") == "iso" {
        return Err(ApiError::new("SR_OPERATION_NOT_SUPPORTED", [sr]));
    }
    Ok(())
}

fn check_plugged(t: &Tables, sr: &Ref) -> Result<(), ApiError> {
    if !t.has(Class::Sr, sr) {
        return Err(ApiError::handle(Class::Sr, sr));
    }
    if !t.references(sr, "PBDs").iter().any(|pbd| t.bool(pbd, "currently_attached")) {
        return Err(ApiError::new("SR_HAS_NO_PBDS", [sr]));
    }
    Ok(())
}

/// Whether a host sees the SR now.
pub(crate) fn is_seen_by(t: &Tables, sr: &Ref, host: &Ref) -> bool {
    t.references(sr, "PBDs").iter().any(|pbd| t.reference(pbd, "host") == *host && t.bool(pbd, "currently_attached"))
}

/// Brings the numbers of an SR up to date.
pub(super) fn account(world: &World, sr: &Ref) {
    let uuid = world.db.read(|t| t.str(sr, "uuid"));
    if let Ok(usage) = world.storage.usage(&uuid) {
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        world.db.write(|t| {
            t.set(sr, "physical_size", number(usage.capacity_bytes));
            t.set(sr, "physical_utilisation", number(usage.used_bytes));
            t.set(sr, "virtual_allocation", number(usage.virtual_bytes));
        });
    }
}

/// Makes an SR of its own space, plugged into the host, or into all hosts when it is shared.
fn create(ctx: &Ctx, args: &Args) -> Reply {
    const DEFAULT_BYTES: i64 = 50 << 30;
    let (host, kind, shared) = (args.reference(0), args.text(5), args.truth(7));
    ctx.need(Class::Host, &host)?;
    let known = ctx.world.db.read(|t| t.all(Class::Sm).iter().any(|sm| t.str(sm, "type") == kind));
    if !known {
        return Err(ApiError::new("SR_UNKNOWN_DRIVER", [kind]));
    }
    let size = if args.int(2) > 0 { args.int(2) } else { DEFAULT_BYTES };
    let uuid = uuid::Uuid::new_v4().to_string();
    ctx.world.storage.add_sr(&uuid, Capacity { bytes: size.unsigned_abs(), thick: kind == "lvm" })?;
    let content_type = if kind == "iso" { "iso".to_owned() } else { args.text(6) };
    let hosts = if shared { ctx.world.hosts.clone() } else { vec![host] };
    Ok(ctx.world.db.write(|t| {
        let sr = t.create(
            Class::Sr,
            [
                ("uuid", Value::from(&uuid)),
                ("name_label", args.value(3)),
                ("name_description", args.value(4)),
                ("type", Value::from(kind.as_str())),
                ("content_type", Value::from(content_type)),
                ("shared", Value::Bool(shared)),
                ("sm_config", Value::Map(args.map(8))),
                ("physical_size", Value::Int(size)),
                ("allowed_operations", Value::texts(operations(kind == "iso"))),
            ],
        );
        for host in &hosts {
            let fields = [
                ("host", Value::from(host)),
                ("SR", Value::from(&sr)),
                ("device_config", args.value(1)),
                ("currently_attached", Value::Bool(true)),
            ];
            t.create(Class::Pbd, fields);
        }
        Value::from(sr)
    }))
}

/// What an SR allows.
pub(crate) fn operations(is_iso: bool) -> Vec<&'static str> {
    let mut operations = vec!["scan", "update", "plug", "unplug", "forget", "vdi_introduce"];
    if !is_iso {
        let more = ["vdi_create", "vdi_destroy", "vdi_clone", "vdi_snapshot", "vdi_resize", "vdi_mirror", "destroy"];
        operations.extend(more);
    }
    operations
}

fn scan(ctx: &Ctx, args: &Args) -> Reply {
    let sr = args.reference(0);
    ctx.world.db.read(|t| check_plugged(t, &sr))?;
    for vdi in ctx.world.db.read(|t| t.references(&sr, "VDIs")) {
        let uuid = ctx.world.db.read(|t| t.str(&vdi, "uuid"));
        if let Ok(used) = ctx.world.storage.utilisation_bytes(&uuid) {
            ctx.world.db.write(|t| t.set(&vdi, "physical_utilisation", i64::try_from(used).unwrap_or(i64::MAX)));
        }
    }
    account(&ctx.world, &sr);
    Ok(Value::Nil)
}

fn update(ctx: &Ctx, args: &Args) -> Reply {
    let sr = args.reference(0);
    ctx.world.db.read(|t| check_plugged(t, &sr))?;
    account(&ctx.world, &sr);
    Ok(Value::Nil)
}

fn get_supported_types(ctx: &Ctx, _args: &Args) -> Reply {
    Ok(ctx.world.db.read(|t| Value::texts(t.all(Class::Sm).iter().map(|sm| t.str(sm, "type")))))
}

fn forget(ctx: &Ctx, args: &Args) -> Reply {
    let sr = args.reference(0);
    ctx.world.db.write(|t| {
        let pbds = t.references(&sr, "PBDs");
        if pbds.iter().any(|pbd| t.bool(pbd, "currently_attached")) {
            return Err(ApiError::new("SR_HAS_PBD", [&sr]));
        }
        for vdi in t.references(&sr, "VDIs") {
            t.destroy(&vdi);
        }
        for pbd in pbds {
            t.destroy(&pbd);
        }
        t.destroy(&sr);
        Ok(Value::Nil)
    })
}

fn destroy(ctx: &Ctx, args: &Args) -> Reply {
    let sr = args.reference(0);
    let vdis = ctx.world.db.read(|t| t.references(&sr, "VDIs"));
    if vdis.is_empty() { forget(ctx, args) } else { Err(ApiError::driver(39, "SR is not empty", "")) }
}

fn create_pbd(ctx: &Ctx, args: &Args) -> Reply {
    let record = checked_record(Class::Pbd, &args.map(0))?;
    let (host, sr) = (Args::field_reference(&record, "host"), Args::field_reference(&record, "SR"));
    ctx.need(Class::Host, &host)?;
    ctx.need(Class::Sr, &sr)?;
    ctx.world.db.write(|t| {
        for pbd in t.references(&sr, "PBDs") {
            if t.reference(&pbd, "host") == host {
                return Err(ApiError::new("PBD_EXISTS", [&sr, &host, &pbd]));
            }
        }
        let fields = ["host", "SR", "device_config", "other_config"];
        let taken = record.into_iter().filter(|(name, _)| fields.contains(&name.as_str())).collect();
        Ok(Value::from(t.create_from(Class::Pbd, &taken)))
    })
}

fn plug(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.write(|t| t.set(&args.reference(0), "currently_attached", true));
    Ok(Value::Nil)
}

fn unplug(ctx: &Ctx, args: &Args) -> Reply {
    let pbd = args.reference(0);
    ctx.world.db.write(|t| {
        let (sr, host) = (t.reference(&pbd, "SR"), t.reference(&pbd, "host"));
        let mut disks = t.references(&sr, "VDIs").into_iter();
        let in_use = disks.find(|vdi| {
            t.references(vdi, "VBDs").iter().any(|vbd| {
                t.bool(vbd, "currently_attached") && t.reference(&t.reference(vbd, "VM"), "resident_on") == host
            })
        });
        if let Some(vdi) = in_use {
            return Err(ApiError::new("VDI_IN_USE", [vdi.as_str(), "PBD.unplug"]));
        }
        t.set(&pbd, "currently_attached", false);
        Ok(Value::Nil)
    })
}

fn destroy_pbd(ctx: &Ctx, args: &Args) -> Reply {
    let pbd = args.reference(0);
    ctx.world.db.write(|t| {
        if t.bool(&pbd, "currently_attached") {
            return Err(ApiError::not_allowed("PBD is currently attached"));
        }
        t.destroy(&pbd);
        Ok(Value::Nil)
    })
}
