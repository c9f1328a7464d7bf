//! Snapshots, checkpoints, clones and copies: one machine made from another, as in xapi's `xapi_vm_clone.ml`.

use super::{begin, create};
use crate::{
    error::ApiError,
    model::{Class, Map, NULL_REF, Ref, Tables, Value, database_text},
    ops::{self, vdi, vif},
    rpc::{Args, Ctx, Later, Reply},
};

/// How the new machine comes to its disks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Way {
    Snapshot,
    /// The same, of a guest that waits for it.
    Quiesced,
    /// With the memory. The machine was in this state, with these devices plugged in, before it was suspended for it.
    Checkpoint {
        state: String,
        attached: Vec<Ref>,
    },
    Clone,
    /// Full copies; on this SR, or each on the SR of its original.
    Copy(Option<Ref>),
}

impl Way {
    fn operation(&self) -> &'static str {
        match self {
            Way::Snapshot => "snapshot",
            Way::Quiesced => "snapshot_with_quiesce",
            Way::Checkpoint { .. } => "checkpoint",
            Way::Clone => "clone",
            Way::Copy(_) => "copy",
        }
    }

    fn freezes(&self) -> bool {
        matches!(self, Way::Snapshot | Way::Quiesced | Way::Checkpoint { .. })
    }
}

pub(super) fn snapshot(ctx: Ctx, args: Args) -> Later {
    let ignored = args.texts(2).into_iter().map(Ref::from).collect();
    Box::pin(async move { duplicate(&ctx, &args.reference(0), &args.text(1), Way::Snapshot, ignored).await })
}

pub(super) fn clone(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move { duplicate(&ctx, &args.reference(0), &args.text(1), Way::Clone, Vec::new()).await })
}

pub(super) fn copy(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let sr = Some(args.reference(2)).filter(|sr| !sr.is_null());
        if let Some(sr) = &sr {
            ctx.need(Class::Sr, sr)?;
        }
        duplicate(&ctx, &args.reference(0), &args.text(1), Way::Copy(sr), Vec::new()).await
    })
}

async fn duplicate(ctx: &Ctx, vm: &Ref, name: &str, way: Way, ignored: Vec<Ref>) -> Reply {
    for vdi in &ignored {
        ctx.need(Class::Vdi, vdi)?;
    }
    let running = begin(&ctx.world, vm, way.operation(), &ctx.task)?;
    let twin = twin_of(ctx, vm, name, way, &ignored).await?;
    running.end();
    ctx.world.db.write(|t| ops::refresh(t, &twin));
    Ok(Value::from(twin))
}

/// Makes the new machine; the operation that this is part of has begun.
pub(super) async fn twin_of(ctx: &Ctx, vm: &Ref, name: &str, way: Way, ignored: &[Ref]) -> Result<Ref, ApiError> {
    let devices = ctx.world.db.read(|t| devices_of(t, vm, &way, ignored))?;
    let now = ctx.world.clock.now();
    let mut made: Vec<(Ref, Ref)> = Vec::new();
    let outcome = make_disks(ctx, &devices, &way, now, &mut made).await;
    let image = match outcome.and_then(|()| memory_image(ctx, vm, &way, now)) {
        Ok(image) => image,
        Err(error) => {
            for (_, vdi) in made {
                // The first error is the one to tell.
                let _ = vdi::destroy(&ctx.world, &vdi);
            }
            return Err(error);
        }
    };
    let twin = ctx.world.db.write(|t| {
        let twin = machine(t, vm, name, &way, now, image);
        for device in &devices {
            let vdi = made.iter().find(|(old, _)| *old == device.vdi).map(|(_, new)| new.clone());
            copy_device(t, device, &twin, vdi, &way);
        }
        let seed = (!way.freezes()).then(|| t.entry(&twin, "other_config", "mac_seed").unwrap_or_default());
        for vif in t.references(vm, "VIFs") {
            vif::copy_to(t, &vif, &twin, seed.as_deref());
        }
        for vtpm in t.references(vm, "VTPMs") {
            copy_record(t, Class::Vtpm, &vtpm, [("VM", Value::from(&twin))]);
        }
        twin
    });
    copy_vtpm_contents(ctx, vm, &twin);
    Ok(twin)
}

/// A device of the original.
struct Device {
    vbd: Ref,
    vdi: Ref,
    is_disk: bool,
}

fn devices_of(t: &Tables, vm: &Ref, way: &Way, ignored: &[Ref]) -> Result<Vec<Device>, ApiError> {
    let mut vbds = t.references(vm, "VBDs");
    vbds.sort_by_key(|vbd| t.str(vbd, "userdevice").parse::<u32>().unwrap_or(u32::MAX));
    let devices = vbds.into_iter().map(|vbd| {
        let vdi = t.reference(&vbd, "VDI");
        let is_disk = t.str(&vbd, "type") == "Disk" && t.has(Class::Vdi, &vdi);
        Device { vbd, vdi, is_disk }
    });
    let devices: Vec<Device> = devices.filter(|device| !ignored.contains(&device.vdi)).collect();
    if way.freezes() {
        for device in devices.iter().filter(|device| device.is_disk) {
            if t.bool(&device.vdi, "sharable") {
                return Err(ApiError::new("VDI_IS_SHARABLE", [&device.vdi]));
            }
        }
    }
    Ok(devices)
}

/// One disk after the other, in the order of their positions; a machine may write in between.
async fn make_disks(
    ctx: &Ctx,
    devices: &[Device],
    way: &Way,
    now: i64,
    made: &mut Vec<(Ref, Ref)>,
) -> Result<(), ApiError> {
    for device in devices.iter().filter(|device| device.is_disk) {
        ctx.check_cancelled()?;
        let new = match way {
            Way::Snapshot | Way::Quiesced | Way::Checkpoint { .. } => vdi::snapshot_of(&ctx.world, &device.vdi, now)?,
            Way::Clone => vdi::clone_of(&ctx.world, &device.vdi)?,
            Way::Copy(sr) => {
                let home = ctx.world.db.read(|t| t.reference(&device.vdi, "SR"));
                vdi::copy_of(&ctx.world, &device.vdi, sr.as_ref().unwrap_or(&home)).await?
            }
        };
        made.push((device.vdi.clone(), new));
    }
    Ok(())
}

/// The memory of a suspended machine, which a checkpoint freezes and a clone takes along.
fn memory_image(ctx: &Ctx, vm: &Ref, way: &Way, now: i64) -> Result<Ref, ApiError> {
    let (state, image) = ctx.world.db.read(|t| (t.str(vm, "power_state"), t.reference(vm, "suspend_VDI")));
    match way {
        _ if state != "Suspended" || image.is_null() => Ok(Ref::null()),
        Way::Snapshot | Way::Quiesced => Ok(Ref::null()),
        Way::Checkpoint { .. } => vdi::snapshot_of(&ctx.world, &image, now),
        Way::Clone | Way::Copy(_) => vdi::clone_of(&ctx.world, &image),
    }
}

fn machine(t: &mut Tables, vm: &Ref, name: &str, way: &Way, now: i64, image: Ref) -> Ref {
    let original = t.record(vm).unwrap_or_default();
    let mut record = original.clone();
    let mut set = |name: &str, value: Value| record.insert(name.to_owned(), value);
    for (name, value) in create::fresh_fields() {
        set(name, value);
    }
    set("name_label", Value::from(name));
    set("power_state", Value::from(if image.is_null() { "Halted" } else { "Suspended" }));
    set("suspend_VDI", Value::from(&image));
    set("metrics", Value::from(NULL_REF));
    let is_template = way.freezes() || t.bool(vm, "is_a_snapshot") || t.bool(vm, "is_a_template");
    set("is_a_template", Value::Bool(is_template));
    if way.freezes() {
        set("is_a_snapshot", Value::Bool(true));
        set("snapshot_of", Value::from(vm));
        set("snapshot_time", Value::Date(now));
        set("snapshot_info", snapshot_info(t, vm, way));
        if *way == Way::Quiesced {
            set("transportable_snapshot_id", Value::text(uuid::Uuid::new_v4()));
        }
        set("snapshot_metadata", Value::from(metadata(&original)));
        set("appliance", Value::from(NULL_REF));
        set("suspend_SR", Value::from(NULL_REF));
        for field in ["order", "start_delay", "shutdown_delay"] {
            set(field, Value::Int(0));
        }
    } else {
        set("is_a_snapshot", Value::Bool(false));
        set("snapshot_of", Value::from(NULL_REF));
        set("snapshot_time", Value::Date(0));
        set("snapshot_info", Value::Map(Map::new()));
        set("snapshot_metadata", Value::from(""));
        set("parent", Value::from(NULL_REF));
        set("version", Value::Int(0));
        let mut other_config = t.map(vm, "other_config");
        other_config.insert("mac_seed".to_owned(), Value::text(uuid::Uuid::new_v4()));
        for key in ["default_template", "import_task"] {
            other_config.remove(key);
        }
        set("other_config", Value::Map(other_config));
    }
    let twin = t.create_from(Class::Vm, &record);
    if way.freezes() {
        t.set(vm, "parent", &twin);
    }
    copy_metrics(t, vm, &twin, now);
    twin
}

fn snapshot_info(t: &Tables, vm: &Ref, way: &Way) -> Value {
    let state = if let Way::Checkpoint { state, .. } = way { state.clone() } else { t.str(vm, "power_state") };
    let kind = if *way == Way::Quiesced { "quiesced" } else { "crash_consistent" };
    Value::map([("power-state-at-snapshot", state), ("disk-snapshot-type", kind.to_owned())])
}

/// The record of the original, as an S-expression.
fn metadata(record: &Map) -> String {
    let fields: Vec<String> =
        record.iter().map(|(name, value)| format!("('{name}' '{}')", database_text(value))).collect();
    format!("({})", fields.join(" "))
}

fn copy_metrics(t: &mut Tables, vm: &Ref, twin: &Ref, now: i64) {
    let metrics = t.reference(vm, "metrics");
    if t.has(Class::VmMetrics, &metrics) {
        let copy = copy_record(t, Class::VmMetrics, &metrics, [("last_updated", Value::Date(now))]);
        t.set(twin, "metrics", copy);
    } else {
        create::add_metrics(t, twin, now);
    }
    let guest = t.reference(vm, "guest_metrics");
    if t.has(Class::VmGuestMetrics, &guest) {
        let copy = copy_record(t, Class::VmGuestMetrics, &guest, [("last_updated", Value::Date(now))]);
        t.set(twin, "guest_metrics", copy);
    }
}

fn copy_record<const N: usize>(t: &mut Tables, class: Class, from: &Ref, changed: [(&str, Value); N]) -> Ref {
    let mut record = t.record(from).unwrap_or_default();
    record.remove("uuid");
    record.extend(changed.into_iter().map(|(name, value)| (name.to_owned(), value)));
    t.create_from(class, &record)
}

fn copy_device(t: &mut Tables, device: &Device, twin: &Ref, vdi: Option<Ref>, way: &Way) {
    let mut other_config = t.map(&device.vbd, "other_config");
    if device.is_disk {
        // Whoever uninstalls the new machine may remove its disks, as they were made for it.
        other_config.insert("owner".to_owned(), Value::from(""));
    }
    let attached = matches!(way, Way::Checkpoint { attached, .. } if attached.contains(&device.vbd));
    let vdi = vdi.unwrap_or_else(|| device.vdi.clone());
    copy_record(
        t,
        Class::Vbd,
        &device.vbd,
        [
            ("VM", Value::from(twin)),
            ("VDI", Value::from(&vdi)),
            ("device", Value::from("")),
            ("currently_attached", Value::Bool(attached)),
            ("current_operations", Value::Map(Map::new())),
            ("other_config", Value::Map(other_config)),
        ],
    );
}

/// The devices were copied in the same order.
pub(super) fn copy_vtpm_contents(ctx: &Ctx, from: &Ref, to: &Ref) {
    let (old, new) = ctx.world.db.read(|t| (t.references(from, "VTPMs"), t.references(to, "VTPMs")));
    let mut contents = ctx.world.vtpm_contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (old, new) in old.iter().zip(new) {
        if let Some(content) = contents.get(old).cloned() {
            contents.insert(new, content);
        }
    }
}
