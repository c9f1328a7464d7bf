//! Block devices: which disk is plugged into which machine.

use super::{Entry, allowed};
use crate::{
    error::ApiError,
    model::{Class, Map, NULL_REF, Ref, Tables, Value},
    rpc::{Args, Ctx, Handler, Reply, checked_record},
    world::World,
};

/// Positions that a machine has for disks.
const POSITIONS: usize = 16;

pub(super) const CALLS: &[Entry] = &[
    (Class::Vbd, "create", Handler::Now(create)),
    (Class::Vbd, "destroy", Handler::Now(destroy)),
    (Class::Vbd, "plug", Handler::Now(plug)),
    (Class::Vbd, "unplug", Handler::Now(unplug)),
    (Class::Vbd, "unplug_force", Handler::Now(unplug)),
    (Class::Vbd, "insert", Handler::Now(insert)),
    (Class::Vbd, "eject", Handler::Now(eject)),
    (Class::Vbd, "assert_attachable", Handler::Now(assert_attachable)),
    (Class::Vbd, "set_mode", Handler::Now(set_mode)),
];

fn create(ctx: &Ctx, args: &Args) -> Reply {
    let record = checked_record(Class::Vbd, &args.map(0))?;
    ctx.world.db.write(|t| create_from(t, &record)).map(Value::from)
}

/// Makes a device from a record as `VBD.create` takes it.
pub fn create_from(t: &mut Tables, record: &Map) -> Result<Ref, ApiError> {
    let (vm, vdi) = (Args::field_reference(record, "VM"), Args::field_reference(record, "VDI"));
    if !t.has(Class::Vm, &vm) {
        return Err(ApiError::handle(Class::Vm, &vm));
    }
    let empty = record.get("empty") == Some(&Value::Bool(true)) || vdi.is_null();
    let kind = record.get("type").and_then(Value::as_str).unwrap_or("Disk");
    if !empty && !t.has(Class::Vdi, &vdi) || empty && kind == "Disk" {
        return Err(ApiError::handle(Class::Vdi, &vdi));
    }
    let mode = record.get("mode").and_then(Value::as_str).unwrap_or("RW");
    if !empty && mode == "RW" && kind == "Disk" && t.bool(&vdi, "read_only") {
        return Err(ApiError::new("VDI_READONLY", [&vdi]));
    }
    let wanted = record.get("userdevice").and_then(Value::as_str).unwrap_or("autodetect");
    let position = choose_position(t, &vm, wanted)?;
    let taken = [
        "VM",
        "VDI",
        "bootable",
        "mode",
        "type",
        "unpluggable",
        "empty",
        "other_config",
        "qos_algorithm_type",
        "qos_algorithm_params",
    ];
    let mut fields: Map = record
        .iter()
        .filter(|(name, _)| taken.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    fields.insert("userdevice".to_owned(), Value::from(position));
    fields.insert("empty".to_owned(), Value::Bool(empty));
    let vbd = t.create_from(Class::Vbd, &fields);
    refresh(t, &vbd);
    Ok(vbd)
}

/// The free position that a client asks for. XAPI also takes names such as `hdb` and `xvdb`.
fn choose_position(t: &Tables, vm: &Ref, wanted: &str) -> Result<String, ApiError> {
    let free = free_positions(t, vm);
    if wanted == "autodetect" {
        return free.into_iter().next().ok_or_else(|| ApiError::not_allowed("no free device"));
    }
    let number = position_number(wanted).ok_or_else(|| ApiError::new("INVALID_DEVICE", [wanted]))?;
    let position = number.to_string();
    if free.contains(&position) {
        return Ok(position);
    }
    let taken = t.references(vm, "VBDs").iter().any(|vbd| t.str(vbd, "userdevice") == position);
    let code = if taken { "DEVICE_ALREADY_EXISTS" } else { "INVALID_DEVICE" };
    Err(ApiError::new(code, [position]))
}

fn position_number(text: &str) -> Option<usize> {
    if let Some(letter) =
        text.strip_prefix("xvd").or_else(|| text.strip_prefix("hd")).or_else(|| text.strip_prefix("sd"))
    {
        let mut letters = letter.bytes();
        return match (letters.next(), letters.next()) {
            (Some(letter @ b'a'..=b'p'), None) => Some(usize::from(letter - b'a')),
            _ => None,
        };
    }
    text.parse().ok()
}

/// The positions that no device of the machine has. A control domain has many more than a guest.
pub(super) fn free_positions(t: &Tables, vm: &Ref) -> Vec<String> {
    let taken: Vec<String> = t.references(vm, "VBDs").iter().map(|vbd| t.str(vbd, "userdevice")).collect();
    let positions = if t.bool(vm, "is_control_domain") { 4096 } else { POSITIONS };
    (0..positions).map(|number| number.to_string()).filter(|position| !taken.contains(position)).collect()
}

/// Plugs a disk into a machine at a position, as a template's or description's disks are.
pub(crate) fn attach_disk(t: &mut Tables, vm: &Ref, vdi: &Ref, position: usize, bootable: bool) -> Ref {
    t.create(
        Class::Vbd,
        [
            ("VM", Value::from(vm)),
            ("VDI", Value::from(vdi)),
            ("userdevice", Value::text(position)),
            ("bootable", Value::Bool(bootable)),
            ("mode", Value::from("RW")),
            ("type", Value::from("Disk")),
            ("unpluggable", Value::Bool(true)),
            ("other_config", Value::map([("owner", "")])),
        ],
    )
}

/// What follows from a change of a device.
fn refresh(t: &mut Tables, vbd: &Ref) {
    allowed::refresh_vbd(t, vbd);
    let vdi = t.reference(vbd, "VDI");
    if t.has(Class::Vdi, &vdi) {
        allowed::refresh_vdi(t, &vdi);
    }
}

fn destroy(ctx: &Ctx, args: &Args) -> Reply {
    let vbd = args.reference(0);
    ctx.world.db.write(|t| {
        let vm = t.reference(&vbd, "VM");
        if t.bool(&vbd, "currently_attached") && allowed::is_live(t, &vm) {
            let text = format!("VBD '{}' still attached to '{}'", t.str(&vbd, "uuid"), t.str(&vm, "uuid"));
            return Err(ApiError::not_allowed(text));
        }
        let vdi = t.reference(&vbd, "VDI");
        t.destroy(&vbd);
        if t.has(Class::Vdi, &vdi) {
            allowed::refresh_vdi(t, &vdi);
        }
        Ok(Value::Nil)
    })
}

fn plug(ctx: &Ctx, args: &Args) -> Reply {
    let vbd = args.reference(0);
    ctx.world.db.write(|t| {
        check_live(t, &vbd)?;
        if t.bool(&vbd, "currently_attached") {
            return Err(ApiError::new("DEVICE_ALREADY_ATTACHED", [&vbd]));
        }
        check_sharing(t, &vbd)?;
        attach(t, &vbd);
        Ok(Value::Nil)
    })
}

fn unplug(ctx: &Ctx, args: &Args) -> Reply {
    let vbd = args.reference(0);
    ctx.world.db.write(|t| {
        check_live(t, &vbd)?;
        if !t.bool(&vbd, "currently_attached") {
            return Err(ApiError::new("DEVICE_ALREADY_DETACHED", [&vbd]));
        }
        detach(t, &vbd);
        Ok(Value::Nil)
    })
}

fn check_live(t: &Tables, vbd: &Ref) -> Result<(), ApiError> {
    let vm = t.reference(vbd, "VM");
    if allowed::is_live(t, &vm) {
        Ok(())
    } else {
        Err(allowed::bad_power_state(&vm, &["Running"], &t.str(&vm, "power_state")))
    }
}

/// Fails when another machine has the disk in a way that this one can't share.
pub(crate) fn check_sharing(t: &Tables, vbd: &Ref) -> Result<(), ApiError> {
    let vdi = t.reference(vbd, "VDI");
    if vdi.is_null() || t.bool(&vdi, "sharable") {
        return Ok(());
    }
    let reads_only = |vbd: &Ref| t.str(vbd, "mode") == "RO";
    // A suspended machine, such as a checkpoint, has its devices and is off all the same (xapi: xapi_vbd_helpers.ml).
    let is_off = |other: &Ref| t.str(&t.reference(other, "VM"), "power_state") == "Suspended";
    let mut others = t.references(&vdi, "VBDs").into_iter().filter(|other| other != vbd && !is_off(other));
    let clash = others.any(|other| t.bool(&other, "currently_attached") && !(reads_only(&other) && reads_only(vbd)));
    if clash { Err(ApiError::new("VDI_IN_USE", [vdi.as_str(), "attach"])) } else { Ok(()) }
}

/// Marks a device as plugged in.
pub(crate) fn attach(t: &mut Tables, vbd: &Ref) {
    let number = position_number(&t.str(vbd, "userdevice")).unwrap_or(0);
    let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    t.set(vbd, "device", format!("xvd{letter}"));
    t.set(vbd, "currently_attached", true);
    refresh(t, vbd);
}

/// Marks a device as not plugged in.
pub(crate) fn detach(t: &mut Tables, vbd: &Ref) {
    t.set(vbd, "device", "");
    t.set(vbd, "currently_attached", false);
    refresh(t, vbd);
}

fn insert(ctx: &Ctx, args: &Args) -> Reply {
    let (vbd, vdi) = (args.reference(0), args.reference(1));
    ctx.need(Class::Vdi, &vdi)?;
    ctx.world.db.write(|t| {
        check_removable(t, &vbd)?;
        if !t.bool(&vbd, "empty") {
            return Err(ApiError::new("VBD_NOT_EMPTY", [&vbd]));
        }
        t.set(&vbd, "VDI", &vdi);
        t.set(&vbd, "empty", false);
        refresh(t, &vbd);
        Ok(Value::Nil)
    })
}

fn eject(ctx: &Ctx, args: &Args) -> Reply {
    let vbd = args.reference(0);
    ctx.world.db.write(|t| {
        check_removable(t, &vbd)?;
        if t.bool(&vbd, "empty") {
            return Err(ApiError::new("VBD_IS_EMPTY", [&vbd]));
        }
        t.set(&vbd, "VDI", NULL_REF);
        t.set(&vbd, "empty", true);
        refresh(t, &vbd);
        Ok(Value::Nil)
    })
}

fn check_removable(t: &Tables, vbd: &Ref) -> Result<(), ApiError> {
    if t.str(vbd, "type") == "CD" { Ok(()) } else { Err(ApiError::new("VBD_NOT_REMOVABLE_MEDIA", [vbd])) }
}

fn assert_attachable(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.read(|t| check_sharing(t, &args.reference(0)))?;
    Ok(Value::Nil)
}

fn set_mode(ctx: &Ctx, args: &Args) -> Reply {
    let vbd = args.reference(0);
    ctx.world.db.write(|t| {
        let vm = t.reference(&vbd, "VM");
        let state = t.str(&vm, "power_state");
        if state != "Halted" {
            return Err(allowed::bad_power_state(&vm, &["Halted"], &state));
        }
        t.set(&vbd, "mode", args.text(1));
        Ok(Value::Nil)
    })
}

/// Checks a new `userdevice`.
pub(crate) fn check_userdevice(ctx: &Ctx, vbd: &Ref, value: &Value) -> Result<(), ApiError> {
    let wanted = value.as_str().unwrap_or_default();
    ctx.world.db.read(|t| {
        if t.bool(vbd, "currently_attached") {
            return Err(ApiError::not_allowed("VBD is currently attached"));
        }
        if t.str(vbd, "userdevice") == wanted {
            return Ok(());
        }
        choose_position(t, &t.reference(vbd, "VM"), wanted).map(drop)
    })
}

/// Plugs a disk into the control domain of a host, as transfers do. VDI_IN_USE when a machine writes to it.
pub fn attach_to_dom0(world: &World, host: usize, vdi: &Ref, mode: &str) -> Result<Ref, ApiError> {
    world.db.write(|t| {
        if !t.has(Class::Vdi, vdi) {
            return Err(ApiError::handle(Class::Vdi, vdi));
        }
        let dom0 = t.reference(&world.hosts[host], "control_domain");
        let position = choose_position(t, &dom0, "autodetect")?;
        let vbd = t.create(
            Class::Vbd,
            [
                ("VM", Value::from(&dom0)),
                ("VDI", Value::from(vdi)),
                ("userdevice", Value::from(position)),
                ("mode", Value::from(mode)),
                ("type", Value::from("Disk")),
                ("unpluggable", Value::Bool(true)),
            ],
        );
        if let Err(error) = check_sharing(t, &vbd) {
            t.destroy(&vbd);
            return Err(error);
        }
        attach(t, &vbd);
        Ok(vbd)
    })
}

/// Unplugs a disk from the control domain again, and forgets the device.
pub fn detach_from_dom0(world: &World, vbd: &Ref) {
    world.db.write(|t| {
        if t.has(Class::Vbd, vbd) {
            detach(t, vbd);
            let vdi = t.reference(vbd, "VDI");
            t.destroy(vbd);
            if t.has(Class::Vdi, &vdi) {
                allowed::refresh_vdi(t, &vdi);
            }
        }
    });
}
