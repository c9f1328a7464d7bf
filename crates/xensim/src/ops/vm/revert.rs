//! Reverting: a machine becomes again what a snapshot of it holds.

use super::{begin, create, power};
use crate::{
    error::ApiError,
    model::{Class, Map, NULL_REF, Ref, Tables, Value},
    ops::{self, vdi, vif},
    rpc::{Args, Ctx, Reply},
};

/// What of the machine's record comes back from the snapshot.
const RESTORED: &[&str] = &[
    "name_description",
    "user_version",
    "memory_static_max",
    "memory_dynamic_max",
    "memory_dynamic_min",
    "memory_static_min",
    "VCPUs_params",
    "VCPUs_max",
    "VCPUs_at_startup",
    "actions_after_shutdown",
    "actions_after_reboot",
    "actions_after_crash",
    "PV_bootloader",
    "PV_kernel",
    "PV_ramdisk",
    "PV_args",
    "PV_bootloader_args",
    "PV_legacy_args",
    "HVM_boot_policy",
    "HVM_boot_params",
    "HVM_shadow_multiplier",
    "platform",
    "other_config",
    "xenstore_data",
    "recommendations",
    "ha_restart_priority",
    "tags",
    "bios_strings",
    "domain_type",
    "has_vendor_device",
    "NVRAM",
];

pub(super) fn revert(ctx: &Ctx, args: &Args) -> Reply {
    let snapshot = args.reference(0);
    ctx.need(Class::Vm, &snapshot)?;
    let reverting = begin(&ctx.world, &snapshot, "revert", &ctx.task)?;
    let vm = ctx.world.db.read(|t| t.reference(&snapshot, "snapshot_of"));
    let vm = if ctx.world.db.read(|t| t.has(Class::Vm, &vm)) { vm } else { reborn(ctx, &snapshot) };
    if ctx.world.db.read(|t| t.str(&vm, "power_state")) != "Halted" {
        power::halt(ctx, &vm, "hard_shutdown")?;
    }
    let running = super::begin_unchecked(&ctx.world, &vm, "reverting", &ctx.task);
    let done = bring_back(ctx, &vm, &snapshot);
    running.end();
    reverting.end();
    done.map(|()| Value::Nil)
}

/// The machine is gone: a new one takes its place, and its snapshots.
fn reborn(ctx: &Ctx, snapshot: &Ref) -> Ref {
    let now = ctx.world.clock.now();
    ctx.world.db.write(|t| {
        let gone = t.reference(snapshot, "snapshot_of");
        let mut record = t.record(snapshot).unwrap_or_default();
        for (name, value) in create::fresh_fields() {
            record.insert(name.to_owned(), value);
        }
        for (name, value) in [
            ("power_state", Value::from("Halted")),
            ("is_a_template", Value::Bool(false)),
            ("is_a_snapshot", Value::Bool(false)),
            ("snapshot_of", Value::from(NULL_REF)),
            ("snapshot_time", Value::Date(0)),
            ("snapshot_info", Value::Map(Map::new())),
            ("snapshot_metadata", Value::from("")),
        ] {
            record.insert(name.to_owned(), value);
        }
        let vm = t.create_from(Class::Vm, &record);
        create::add_metrics(t, &vm, now);
        for sibling in t.all(Class::Vm) {
            if t.reference(&sibling, "snapshot_of") == gone && t.bool(&sibling, "is_a_snapshot") {
                t.set(&sibling, "snapshot_of", &vm);
            }
        }
        vm
    })
}

fn bring_back(ctx: &Ctx, vm: &Ref, snapshot: &Ref) -> Result<(), ApiError> {
    let failed = |_| ApiError::new("VM_REVERT_FAILED", [snapshot, vm]);
    // Clones first: when the SR has no room for them, nothing is lost yet.
    let devices = ctx.world.db.read(|t| devices_of(t, snapshot));
    let mut clones: Vec<(Ref, Ref)> = Vec::new();
    for (_, frozen) in devices.iter().filter(|(vbd, _)| ctx.world.db.read(|t| t.str(vbd, "type") == "Disk")) {
        match vdi::clone_of(&ctx.world, frozen) {
            Ok(clone) => clones.push((frozen.clone(), clone)),
            Err(error) => {
                for (_, clone) in clones {
                    let _ = vdi::destroy(&ctx.world, &clone);
                }
                return Err(error);
            }
        }
    }
    let image = ctx.world.db.read(|t| t.reference(snapshot, "suspend_VDI"));
    let image = if image.is_null() { image } else { vdi::clone_of(&ctx.world, &image).map_err(failed)? };
    let replaced = ctx.world.db.write(|t| swap_disks(t, vm, &devices, &clones));
    for old in replaced {
        vdi::destroy(&ctx.world, &old).map_err(failed)?;
    }
    ctx.world.db.write(|t| restore_record(t, vm, snapshot, &image));
    Ok(())
}

/// The devices of the snapshot with what they hold.
fn devices_of(t: &Tables, snapshot: &Ref) -> Vec<(Ref, Ref)> {
    t.references(snapshot, "VBDs").into_iter().map(|vbd| (vbd.clone(), t.reference(&vbd, "VDI"))).collect()
}

/// Gives the machine the snapshot's devices. Returns the disks that were replaced; disks without snapshot stay, unplugged.
fn swap_disks(t: &mut Tables, vm: &Ref, devices: &[(Ref, Ref)], clones: &[(Ref, Ref)]) -> Vec<Ref> {
    let originals: Vec<(Ref, Ref)> =
        clones.iter().map(|(frozen, clone)| (t.reference(frozen, "snapshot_of"), clone.clone())).collect();
    let mut replaced = Vec::new();
    for vbd in t.references(vm, "VBDs") {
        let old = t.reference(&vbd, "VDI");
        t.destroy(&vbd);
        if let Some((_, clone)) = originals.iter().find(|(original, _)| *original == old) {
            for relative in t.references(&old, "snapshots") {
                t.set(&relative, "snapshot_of", clone);
            }
            replaced.push(old);
        }
    }
    for (vbd, held) in devices {
        let vdi = clones.iter().find(|(frozen, _)| frozen == held).map_or(held, |(_, clone)| clone);
        let mut record = t.record(vbd).unwrap_or_default();
        record.remove("uuid");
        record.insert("VM".to_owned(), Value::from(vm));
        record.insert("VDI".to_owned(), Value::from(vdi));
        record.insert("currently_attached".to_owned(), Value::Bool(false));
        record.insert("current_operations".to_owned(), Value::Map(Map::new()));
        t.create_from(Class::Vbd, &record);
    }
    replaced
}

fn restore_record(t: &mut Tables, vm: &Ref, snapshot: &Ref, image: &Ref) {
    for vif in t.references(vm, "VIFs") {
        t.destroy(&vif);
    }
    for vif in t.references(snapshot, "VIFs") {
        vif::copy_to(t, &vif, vm, None);
    }
    for field in RESTORED {
        if let Some(value) = t.get(snapshot, field).cloned() {
            t.set(vm, field, value);
        }
    }
    t.set(vm, "parent", snapshot);
    t.set(vm, "suspend_VDI", image);
    t.set(vm, "generation_id", create::fresh_generation());
    if !image.is_null() {
        t.set(vm, "power_state", "Suspended");
    }
    ops::refresh(t, vm);
}
