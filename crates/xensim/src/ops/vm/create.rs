//! Making, changing and destroying the objects of machines.

use super::{super::allowed, begin};
use crate::{
    error::ApiError,
    model::{Access, Class, Map, NULL_REF, Ref, Schema, Tables, Value},
    ops::{self, vdi},
    rpc::{Args, Ctx, Reply, checked_record},
    world::World,
};

/// Fields that the constructor does not take, though clients may write them elsewhere.
const NOT_TAKEN: &[&str] = &["bios_strings", "blocked_operations", "is_default_template", "uuid", "power_state"];

pub(super) fn create(ctx: &Ctx, args: &Args) -> Reply {
    let mut record = checked_record(Class::Vm, &args.map(0))?;
    let suspended = record.get("power_state").and_then(Value::as_str) == Some("Suspended");
    let has_image = !Args::field_reference(&record, "suspend_VDI").is_null();
    let def = Schema::get().class(Class::Vm);
    record.retain(|name, _| {
        let writable = def.field(name).is_some_and(|field| field.access != Access::ReadOnly);
        writable && !NOT_TAKEN.contains(&name.as_str())
    });
    check_memory(&record)?;
    record.insert("power_state".to_owned(), Value::from(if suspended && has_image { "Suspended" } else { "Halted" }));
    record.insert("domid".to_owned(), Value::Int(-1));
    let now = ctx.world.clock.now();
    let vm = ctx.world.db.write(|t| {
        let vm = t.create_from(Class::Vm, &record);
        complete(t, &vm, now);
        vm
    });
    Ok(Value::from(vm))
}

fn check_memory(record: &Map) -> Result<(), ApiError> {
    let number = |name: &str| record.get(name).and_then(Value::as_int).unwrap_or(0);
    let ordered = number("memory_static_min") <= number("memory_dynamic_min")
        && number("memory_dynamic_min") <= number("memory_dynamic_max")
        && number("memory_dynamic_max") <= number("memory_static_max");
    if ordered { Ok(()) } else { Err(super::memory::violation()) }
}

/// Gives a fresh machine what XAPI gives it: a seed for addresses, metrics, a generation.
fn complete(t: &mut Tables, vm: &Ref, now: i64) {
    if t.entry(vm, "other_config", "mac_seed").is_none() {
        t.map_insert(vm, "other_config", "mac_seed", uuid::Uuid::new_v4().to_string());
    }
    if t.str(vm, "generation_id") == "0:0" && !t.bool(vm, "is_a_template") {
        t.set(vm, "generation_id", fresh_generation());
    }
    if t.str(vm, "domain_type") == "unspecified" {
        let is_hvm = !t.str(vm, "HVM_boot_policy").is_empty();
        t.set(vm, "domain_type", if is_hvm { "hvm" } else { "pv" });
    }
    add_metrics(t, vm, now);
    allowed::refresh_vm(t, vm);
}

/// A new `generation_id`, by which a Windows guest sees that it was copied.
pub(super) fn fresh_generation() -> String {
    format!("{}:{}", rand::random::<i64>(), rand::random::<i64>())
}

/// Gives a machine its metrics object.
pub(crate) fn add_metrics(t: &mut Tables, vm: &Ref, now: i64) {
    let fields = [
        ("memory_actual", t.get(vm, "memory_static_max").cloned().unwrap_or(Value::Int(0))),
        ("VCPUs_number", t.get(vm, "VCPUs_at_startup").cloned().unwrap_or(Value::Int(0))),
        ("install_time", Value::Date(now)),
        ("last_updated", Value::Date(now)),
        ("current_domain_type", Value::from("unspecified")),
    ];
    let metrics = t.create(Class::VmMetrics, fields);
    t.set(vm, "metrics", metrics);
}

/// What a guest's BIOS says of itself.
pub(crate) fn default_bios_strings() -> Value {
    Value::map([
        ("bios-vendor", "Xen"),
        ("bios-version", ""),
        ("system-manufacturer", "Xen"),
        ("system-product-name", "HVM domU"),
        ("system-version", ""),
        ("system-serial-number", ""),
        ("hp-rombios", ""),
        ("oem-1", "Xen"),
        ("oem-2", "MS_VM_CERT/SHA1/bdbeb6e0a816d43fa6d3fe8aaef04c2bad9d3e3d"),
    ])
}

pub(super) fn destroy_call(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    let operation = begin(&ctx.world, &vm, "destroy", &ctx.task)?;
    destroy(&ctx.world, &vm);
    operation.end();
    Ok(Value::Nil)
}

/// Destroys a machine's objects without any check: the machine, its devices and metrics, but neither its disks nor its
/// snapshots.
pub fn destroy(world: &World, vm: &Ref) {
    world.db.write(|t| {
        let parent = t.reference(vm, "parent");
        for child in t.references(vm, "children") {
            t.set(&child, "parent", &parent);
        }
        for field in ["VBDs", "VIFs", "VTPMs", "VGPUs", "VUSBs", "consoles"] {
            for device in t.references(vm, field) {
                let vdi = t.reference(&device, "VDI");
                t.destroy(&device);
                if t.has(Class::Vdi, &vdi) {
                    allowed::refresh_vdi(t, &vdi);
                }
            }
        }
        for field in ["metrics", "guest_metrics"] {
            let metrics = t.reference(vm, field);
            t.destroy(&metrics);
        }
        t.destroy(vm);
    });
}

/// Checks a new `is_a_template`.
pub(crate) fn check_template(ctx: &Ctx, vm: &Ref, value: &Value) -> Result<(), ApiError> {
    ctx.world.db.read(|t| {
        if *value == Value::Bool(true) {
            allowed::check_vm(t, vm, "make_into_template")
        } else if allowed::is_default_template(t, vm) {
            Err(ApiError::new("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", [vm]))
        } else {
            Ok(())
        }
    })
}

pub(super) fn set_is_default_template(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    let on = args.truth(1);
    ctx.world.db.write(|t| {
        t.set(&vm, "is_default_template", on);
        if on {
            t.map_insert(&vm, "other_config", "default_template", "true");
        } else {
            t.map_remove(&vm, "other_config", "default_template");
        }
        allowed::refresh_vm(t, &vm);
    });
    Ok(Value::Nil)
}

pub(super) fn set_bios_strings(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    ctx.world.db.write(|t| {
        if !t.map(&vm, "bios_strings").is_empty() {
            return Err(ApiError::bare("VM_BIOS_STRINGS_ALREADY_SET"));
        }
        let Value::Map(mut strings) = default_bios_strings() else { return Ok(Value::Nil) };
        strings.extend(args.map(1));
        t.set(&vm, "bios_strings", strings);
        Ok(Value::Nil)
    })
}

pub(super) fn set_efi_variables(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.write(|t| t.map_insert(&args.reference(0), "NVRAM", "EFI-variables", args.text(1)));
    Ok(Value::Nil)
}

/// Makes the disks that a template's `other_config:disks` describes, and turns it into a machine.
pub(super) fn provision(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    let operation = begin(&ctx.world, &vm, "provision", &ctx.task)?;
    let made = provision_disks(ctx, &vm);
    operation.end();
    made?;
    ctx.world.db.write(|t| {
        t.set(&vm, "is_a_template", false);
        t.map_remove(&vm, "other_config", "disks");
        if t.map(&vm, "bios_strings").is_empty() {
            t.set(&vm, "bios_strings", default_bios_strings());
        }
        t.map_remove(&vm, "other_config", "default_template");
        t.set(&vm, "is_default_template", false);
        ops::refresh(t, &vm);
    });
    Ok(Value::Nil)
}

fn provision_disks(ctx: &Ctx, vm: &Ref) -> Result<(), ApiError> {
    let (description, name) =
        ctx.world.db.read(|t| (t.entry(vm, "other_config", "disks").unwrap_or_default(), t.str(vm, "name_label")));
    let mut made: Vec<Ref> = Vec::new();
    for disk in disks_described(&description) {
        let sr = match disk.sr.as_str() {
            "" | "default" => ctx.world.db.read(|t| t.reference(ctx.world.pool(), "default_SR")),
            uuid => ctx.world.db.read(|t| t.by_uuid(Class::Sr, uuid)).ok_or_else(|| ApiError::uuid(Class::Sr, uuid))?,
        };
        let label = format!("{name} {}", disk.position);
        match vdi::create_empty(&ctx.world, &sr, &label, disk.size_bytes, "system") {
            Ok(vdi) => {
                ctx.world.db.write(|t| ops::vbd::attach_disk(t, vm, &vdi, disk.position, disk.bootable));
                made.push(vdi);
            }
            Err(error) => {
                for vdi in made {
                    let _ = vdi::destroy(&ctx.world, &vdi);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

struct DescribedDisk {
    position: usize,
    size_bytes: u64,
    sr: String,
    bootable: bool,
}

/// Reads `<provision><disk device="0" size="…" sr="…" bootable="true" type="system"/></provision>`.
fn disks_described(text: &str) -> Vec<DescribedDisk> {
    let attribute = |tag: &str, name: &str| -> Option<String> {
        let (_, rest) = tag.split_once(&format!("{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let tags = text.split("<disk ").skip(1).filter_map(|rest| rest.split_once('>').map(|(tag, _)| tag));
    tags.filter_map(|tag| {
        Some(DescribedDisk {
            position: attribute(tag, "device")?.parse().ok()?,
            size_bytes: attribute(tag, "size")?.parse().ok()?,
            sr: attribute(tag, "sr").unwrap_or_default(),
            bootable: attribute(tag, "bootable").as_deref() == Some("true"),
        })
    })
    .collect()
}

/// Fields of a copied machine that start afresh.
pub(super) fn fresh_fields() -> [(&'static str, Value); 13] {
    [
        ("uuid", Value::from("")),
        ("allowed_operations", Value::Set(Vec::new())),
        ("current_operations", Value::Map(Map::new())),
        ("blocked_operations", Value::Map(Map::new())),
        ("blobs", Value::Map(Map::new())),
        ("is_default_template", Value::Bool(false)),
        ("is_control_domain", Value::Bool(false)),
        ("resident_on", Value::from(NULL_REF)),
        ("scheduled_to_be_resident_on", Value::from(NULL_REF)),
        ("suspend_VDI", Value::from(NULL_REF)),
        ("guest_metrics", Value::from(NULL_REF)),
        ("domid", Value::Int(-1)),
        ("generation_id", Value::from(fresh_generation())),
    ]
}
