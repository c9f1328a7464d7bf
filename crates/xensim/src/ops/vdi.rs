//! Virtual disks: their objects, and what stands behind them in the storage.

mod copy;

pub use self::copy::{Operation, copy_of};

use super::{Entry, allowed, sr};
use crate::{
    error::ApiError,
    fault::FaultKind,
    model::{Class, Map, NULL_REF, Ref, Tables, Value},
    rpc::{Args, Ctx, Handler, Reply, checked_record},
    storage::Buried,
    world::World,
};

/// What disks are rounded up to on an SR that says nothing else.
const VHD_BLOCK_BYTES: u64 = 2 << 20;

pub(super) const CALLS: &[Entry] = &[
    (Class::Vdi, "create", Handler::Now(create)),
    (Class::Vdi, "destroy", Handler::Now(destroy_call)),
    (Class::Vdi, "snapshot", Handler::Now(snapshot)),
    (Class::Vdi, "clone", Handler::Now(clone)),
    (Class::Vdi, "copy", Handler::Later(copy::copy)),
    (Class::Vdi, "resize", Handler::Now(resize)),
    (Class::Vdi, "resize_online", Handler::Now(resize_online)),
    (Class::Vdi, "forget", Handler::Now(forget)),
    (Class::Vdi, "update", Handler::Now(update)),
    (Class::Vdi, "set_on_boot", Handler::Now(set_on_boot)),
    (Class::Vdi, "get_nbd_info", Handler::Now(get_nbd_info)),
    (Class::Vdi, "enable_cbt", Handler::Now(refuse_tracking)),
    (Class::Vdi, "disable_cbt", Handler::Now(disable_tracking)),
    (Class::Vdi, "data_destroy", Handler::Now(data_destroy)),
];

fn create(ctx: &Ctx, args: &Args) -> Reply {
    let record = checked_record(Class::Vdi, &args.map(0))?;
    create_from(&ctx.world, &record).map(Value::from)
}

/// Makes an empty disk from a record as `VDI.create` takes it. The size is rounded up as the SR does.
pub fn create_from(world: &World, record: &Map) -> Result<Ref, ApiError> {
    let sr = Args::field_reference(record, "SR");
    world.db.read(|t| sr::check_usable(t, &sr))?;
    let wanted = record.get("virtual_size").and_then(Value::as_int).unwrap_or_default();
    let size = rounded(world, &sr, wanted)?;
    let taken = [
        "name_label",
        "name_description",
        "SR",
        "type",
        "sharable",
        "read_only",
        "other_config",
        "xenstore_data",
        "sm_config",
        "tags",
    ];
    let mut fields: Map = record
        .iter()
        .filter(|(name, _)| taken.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let uuid = uuid::Uuid::new_v4().to_string();
    fields.insert("uuid".to_owned(), Value::from(&uuid));
    fields.insert("location".to_owned(), Value::from(&uuid));
    fields.insert("virtual_size".to_owned(), Value::Int(size));
    let sr_uuid = world.db.read(|t| t.str(&sr, "uuid"));
    world.storage.create(&sr_uuid, &uuid, size.unsigned_abs())?;
    Ok(add(world, &fields))
}

/// Makes an empty disk of a size.
pub fn create_empty(world: &World, sr: &Ref, name: &str, size_bytes: u64, kind: &str) -> Result<Ref, ApiError> {
    let size = i64::try_from(size_bytes).map_err(|_| ApiError::value("virtual_size", size_bytes))?;
    let record = Map::from([
        ("SR".to_owned(), Value::from(sr)),
        ("name_label".to_owned(), Value::from(name)),
        ("virtual_size".to_owned(), Value::Int(size)),
        ("type".to_owned(), Value::from(kind)),
    ]);
    create_from(world, &record)
}

/// Makes the object of a disk that the storage has already.
fn add(world: &World, fields: &Map) -> Ref {
    let mut fields = fields.clone();
    fields.insert("managed".to_owned(), Value::Bool(true));
    fields.insert("missing".to_owned(), Value::Bool(false));
    let vdi = world.db.write(|t| {
        let vdi = t.create_from(Class::Vdi, &fields);
        allowed::refresh_vdi(t, &vdi);
        vdi
    });
    account(world, &vdi);
    vdi
}

/// Brings the numbers of a disk and its SR up to date.
fn account(world: &World, vdi: &Ref) {
    let (uuid, sr) = world.db.read(|t| (t.str(vdi, "uuid"), t.reference(vdi, "SR")));
    if let Ok(used) = world.storage.utilisation_bytes(&uuid) {
        world.db.write(|t| t.set(vdi, "physical_utilisation", i64::try_from(used).unwrap_or(i64::MAX)));
    }
    sr::account(world, &sr);
}

fn rounded(world: &World, sr: &Ref, wanted: i64) -> Result<i64, ApiError> {
    let too_odd = || ApiError::driver(79, "VDI Invalid size", &format!("size {wanted}"));
    if wanted <= 0 {
        return Err(too_odd());
    }
    let step = world.sr_configs.get(sr).map_or(VHD_BLOCK_BYTES, |at| world.config.srs[*at].rounding_bytes.max(1));
    let step = i64::try_from(step).unwrap_or(1);
    wanted.checked_add(step - 1).map(|size| size / step * step).ok_or_else(too_odd)
}

fn destroy_call(ctx: &Ctx, args: &Args) -> Reply {
    destroy(&ctx.world, &args.reference(0))?;
    Ok(Value::Nil)
}

/// Destroys a disk and what it holds, as `VDI.destroy` does.
pub fn destroy(world: &World, vdi: &Ref) -> Result<(), ApiError> {
    world.db.read(|t| check_idle(t, vdi, "destroy"))?;
    if world.faults.strike(FaultKind::VdiInUse).is_some() {
        return Err(ApiError::new("VDI_IN_USE", [vdi.as_str(), "destroy"]));
    }
    let (uuid, sr) = world.db.read(|t| (t.str(vdi, "uuid"), t.reference(vdi, "SR")));
    world.db.read(|t| sr::check_usable(t, &sr))?;
    if world.config.keep_deleted && world.db.read(|t| t.bool(vdi, "is_a_snapshot")) {
        world.storage.bury(world.db.read(|t| epitaph(t, vdi)))?;
    } else if world.storage.exists(&uuid) {
        world.storage.remove(&uuid)?;
    }
    drop_record(world, vdi);
    sr::account(world, &sr);
    Ok(())
}

fn epitaph(t: &Tables, vdi: &Ref) -> Buried {
    let original = t.reference(vdi, "snapshot_of");
    let vm = t.references(&original, "VBDs").into_iter().map(|vbd| t.reference(&vbd, "VM"));
    let vm = vm.into_iter().find(|vm| !t.bool(vm, "is_control_domain"));
    Buried {
        uuid: t.str(vdi, "uuid"),
        snapshot_of: t.str(&original, "uuid"),
        name: t.str(vdi, "name_label"),
        size: t.int(vdi, "virtual_size").unsigned_abs(),
        vm: vm.map(|vm| t.str(&vm, "name_label")).unwrap_or_default(),
    }
}

fn drop_record(world: &World, vdi: &Ref) {
    world.db.write(|t| {
        for vbd in t.references(vdi, "VBDs") {
            if t.str(&vbd, "type") == "CD" {
                t.set(&vbd, "VDI", NULL_REF);
                t.set(&vbd, "empty", true);
            } else {
                t.destroy(&vbd);
            }
        }
        for vm in t.all(Class::Vm) {
            if t.reference(&vm, "suspend_VDI") == *vdi {
                t.set(&vm, "suspend_VDI", NULL_REF);
            }
        }
        t.destroy(vdi);
    });
}

/// Fails when something uses the disk, or it isn't for clients to touch.
fn check_idle(t: &Tables, vdi: &Ref, operation: &str) -> Result<(), ApiError> {
    if !t.has(Class::Vdi, vdi) {
        return Err(ApiError::handle(Class::Vdi, vdi));
    }
    if !t.bool(vdi, "managed") {
        return Err(ApiError::new("VDI_NOT_MANAGED", [vdi]));
    }
    check_no_operation(t, vdi)?;
    if t.references(vdi, "VBDs").iter().any(|vbd| t.bool(vbd, "currently_attached")) {
        return Err(ApiError::new("VDI_IN_USE", [vdi.as_str(), operation]));
    }
    Ok(())
}

fn check_no_operation(t: &Tables, vdi: &Ref) -> Result<(), ApiError> {
    match t.map(vdi, "current_operations").into_iter().next() {
        Some((task, running)) => {
            let running = running.as_str().unwrap_or_default();
            Err(ApiError::new("OTHER_OPERATION_IN_PROGRESS", ["VDI", vdi.as_str(), running, &task]))
        }
        None => Ok(()),
    }
}

fn snapshot(ctx: &Ctx, args: &Args) -> Reply {
    snapshot_of(&ctx.world, &args.reference(0), ctx.world.clock.now()).map(Value::from)
}

/// Takes a snapshot of a disk, attached or not.
pub fn snapshot_of(world: &World, vdi: &Ref, time: i64) -> Result<Ref, ApiError> {
    if world.db.read(|t| t.map(vdi, "current_operations").values().any(|value| value.as_str() == Some("copy"))) {
        return Err(ApiError::not_allowed("VDI is being copied"));
    }
    if world.faults.strike(FaultKind::SrFullSnapshot).is_some() {
        return Err(ApiError::storage_full());
    }
    let extra =
        [("is_a_snapshot", Value::Bool(true)), ("snapshot_of", Value::from(vdi)), ("snapshot_time", Value::Date(time))];
    twin(world, vdi, extra)
}

fn clone(ctx: &Ctx, args: &Args) -> Reply {
    let vdi = args.reference(0);
    ctx.world.db.read(|t| check_idle(t, &vdi, "clone"))?;
    clone_of(&ctx.world, &vdi).map(Value::from)
}

/// Makes a disk of its own that starts as what another holds now, on the same SR, without copying.
pub fn clone_of(world: &World, vdi: &Ref) -> Result<Ref, ApiError> {
    let extra = [
        ("is_a_snapshot", Value::Bool(false)),
        ("snapshot_of", Value::from(NULL_REF)),
        ("snapshot_time", Value::Date(0)),
    ];
    twin(world, vdi, extra)
}

fn twin<const N: usize>(world: &World, vdi: &Ref, extra: [(&str, Value); N]) -> Result<Ref, ApiError> {
    let (from, sr) = world.db.read(|t| {
        let sr = t.reference(vdi, "SR");
        sr::check_usable(t, &sr).map(|()| (t.str(vdi, "uuid"), sr))
    })?;
    let uuid = uuid::Uuid::new_v4().to_string();
    world.storage.snapshot(&from, &uuid)?;
    let fields = world.db.read(|t| copied_fields(t, vdi, &sr, &uuid));
    let fields = fields.into_iter().chain(extra.into_iter().map(|(name, value)| (name.to_owned(), value))).collect();
    Ok(add(world, &fields))
}

/// What a snapshot, clone or copy takes over from its original.
fn copied_fields(t: &Tables, vdi: &Ref, sr: &Ref, uuid: &str) -> Map {
    let taken = [
        "name_label",
        "name_description",
        "virtual_size",
        "type",
        "sharable",
        "read_only",
        "other_config",
        "xenstore_data",
        "on_boot",
        "tags",
        "allow_caching",
    ];
    let record = t.record(vdi).unwrap_or_default();
    let mut fields: Map = record.into_iter().filter(|(name, _)| taken.contains(&name.as_str())).collect();
    fields.insert("uuid".to_owned(), Value::from(uuid));
    fields.insert("location".to_owned(), Value::from(uuid));
    fields.insert("SR".to_owned(), Value::from(sr));
    fields
}

fn resize(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.read(|t| check_idle(t, &args.reference(0), "resize"))?;
    resize_online(ctx, args)
}

fn resize_online(ctx: &Ctx, args: &Args) -> Reply {
    let vdi = args.reference(0);
    let (uuid, sr) = ctx.world.db.read(|t| (t.str(&vdi, "uuid"), t.reference(&vdi, "SR")));
    let size = rounded(&ctx.world, &sr, args.int(1))?;
    ctx.world.storage.resize(&uuid, size.unsigned_abs())?;
    ctx.world.db.write(|t| t.set(&vdi, "virtual_size", size));
    account(&ctx.world, &vdi);
    Ok(Value::Nil)
}

fn forget(ctx: &Ctx, args: &Args) -> Reply {
    let vdi = args.reference(0);
    ctx.world.db.read(|t| check_idle(t, &vdi, "forget"))?;
    drop_record(&ctx.world, &vdi);
    Ok(Value::Nil)
}

fn update(ctx: &Ctx, args: &Args) -> Reply {
    account(&ctx.world, &args.reference(0));
    Ok(Value::Nil)
}

fn set_on_boot(ctx: &Ctx, args: &Args) -> Reply {
    let (vdi, mode) = (args.reference(0), args.text(1));
    ctx.world.db.write(|t| {
        check_idle(t, &vdi, "set_on_boot")?;
        let kind = t.str(&t.reference(&vdi, "SR"), "type");
        if mode == "reset" && !matches!(kind.as_str(), "ext" | "nfs") {
            return Err(ApiError::new("SR_OPERATION_NOT_SUPPORTED", [t.reference(&vdi, "SR")]));
        }
        t.set(&vdi, "on_boot", mode);
        Ok(Value::Nil)
    })
}

/// No network has the purpose `nbd`.
fn get_nbd_info(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Set(Vec::new()))
}

/// None of the SRs tracks changed blocks.
fn refuse_tracking(ctx: &Ctx, args: &Args) -> Reply {
    Err(ApiError::new("SR_OPERATION_NOT_SUPPORTED", [ctx.world.db.read(|t| t.reference(&args.reference(0), "SR"))]))
}

fn disable_tracking(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Nil)
}

fn data_destroy(ctx: &Ctx, args: &Args) -> Reply {
    let vdi = args.reference(0);
    ctx.world.db.read(|t| {
        if !t.bool(&vdi, "is_a_snapshot") {
            return Err(ApiError::not_allowed(format!("VDI is not a snapshot: {vdi}")));
        }
        Err(ApiError::new("VDI_NO_CBT_METADATA", [&vdi]))
    })
}
