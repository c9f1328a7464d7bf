//! `ova.xml`: the records of a virtual machine and of all that belongs to it.
//!
//! References become ids of the archive (`Ref:0`, `Ref:1` …), those that lead out of it become null
//! (xapi: `export.ml`, `importexport.ml`).

use std::collections::HashMap;

use crate::model::{Class, Map, NULL_REF, Ref, Schema, Tables, Type, Value};
use crate::rpc::xml;
use crate::world::World;

/// The way in which disks are written: with a checksum behind each chunk.
const EXPORT_VERSION: &str = "2";

/// In this order objects stand in the archive, and are made at import.
const ORDER: &[Class] = &[
    Class::Host,
    Class::Vm,
    Class::VmMetrics,
    Class::VmGuestMetrics,
    Class::Vbd,
    Class::Vif,
    Class::Network,
    Class::Vdi,
    Class::Sr,
    Class::Vtpm,
];

/// What goes into an archive.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    /// The virtual machines (and snapshots and templates).
    pub(super) vms: Vec<Ref>,
    /// Keep the power state, and with it the image of suspended memory.
    pub(super) keep_power_state: bool,
    /// Keep the links between machines and snapshots: for metadata.
    pub(super) keep_snapshots: bool,
    /// Classes of devices to leave out.
    pub(super) without: Vec<Class>,
    /// Follow `sm_config:vhd-parent`.
    pub(super) with_parents: bool,
}

/// An archive's description, and which of its ids stand for which disks.
pub(super) struct Description {
    pub(super) xml: String,
    /// Every VDI of the archive by its id.
    pub(super) vdis: HashMap<String, Ref>,
}

/// Describes the selected machines.
pub(super) fn describe(world: &World, selection: &Selection) -> Description {
    world.db.read(|t| {
        let objects = collect(t, selection);
        let ids: HashMap<Ref, String> =
            objects.iter().enumerate().map(|(number, object)| (object.clone(), format!("Ref:{number}"))).collect();
        let records =
            ORDER.iter().flat_map(|class| objects.iter().filter(|object| t.has(*class, object))).map(|object| {
                let class = t.class_of(object).unwrap_or(Class::Vm);
                let record = record_of(world, t, class, object, &ids, selection);
                Value::map([
                    ("class", Value::from(class.name())),
                    ("id", Value::from(&ids[object])),
                    ("snapshot", Value::Map(record)),
                ])
            });
        let whole = Value::map([("version", version(world, t)), ("objects", Value::Set(records.collect()))]);
        let vdis = objects.iter().filter(|object| t.has(Class::Vdi, object));
        Description { xml: xml::to_text(&whole), vdis: vdis.map(|vdi| (ids[vdi].clone(), vdi.clone())).collect() }
    })
}

/// The version of this host, as an archive carries it.
fn version(world: &World, t: &Tables) -> Value {
    let software = t.map(world.master(), "software_version");
    let text = |key: &str| software.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (major, minor) = super::xapi_version(world, t);
    Value::map([
        ("hostname", Value::from(t.str(world.master(), "hostname"))),
        ("date", Value::from(text("date"))),
        ("product_version", Value::from(text("product_version"))),
        ("product_brand", Value::from(text("product_brand"))),
        ("build_number", Value::from(text("build_number"))),
        ("xapi_major", Value::text(major)),
        ("xapi_minor", Value::text(minor)),
        ("export_vsn", Value::from(EXPORT_VERSION)),
    ])
}

/// All objects that belong to the machines, each once.
fn collect(t: &Tables, selection: &Selection) -> Vec<Ref> {
    let mut all = Vec::new();
    let add = |all: &mut Vec<Ref>, object: Ref| {
        if t.class_of(&object).is_some() && !all.contains(&object) {
            all.push(object);
        }
    };
    for vm in &selection.vms {
        add(&mut all, vm.clone());
        for host in ["affinity", "resident_on"] {
            add(&mut all, t.reference(vm, host));
        }
        add(&mut all, t.reference(vm, "metrics"));
        add(&mut all, t.reference(vm, "guest_metrics"));
        if selection.keep_power_state {
            add(&mut all, t.reference(vm, "suspend_VDI"));
        }
        for (class, field) in [(Class::Vbd, "VBDs"), (Class::Vif, "VIFs"), (Class::Vtpm, "VTPMs")] {
            if !selection.without.contains(&class) {
                t.references(vm, field).into_iter().for_each(|device| add(&mut all, device));
            }
        }
    }
    for device in all.clone() {
        match t.class_of(&device) {
            Some(Class::Vbd) => add(&mut all, t.reference(&device, "VDI")),
            Some(Class::Vif) => add(&mut all, t.reference(&device, "network")),
            _ => {}
        }
    }
    if selection.with_parents {
        for vdi in all.clone() {
            let parent = t.entry(&vdi, "sm_config", "vhd-parent");
            if let Some(parent) = parent.and_then(|uuid| t.by_uuid(Class::Vdi, &uuid)) {
                add(&mut all, parent);
            }
        }
    }
    for vdi in all.clone() {
        if t.has(Class::Vdi, &vdi) {
            add(&mut all, t.reference(&vdi, "SR"));
        }
    }
    all
}

fn record_of(
    world: &World,
    t: &Tables,
    class: Class,
    object: &Ref,
    ids: &HashMap<Ref, String>,
    selection: &Selection,
) -> Map {
    if class == Class::Vtpm {
        return vtpm_record(world, t, object, ids);
    }
    let mut record = t.record(object).unwrap_or_default();
    for field in &Schema::get().class(class).fields {
        if let Some(value) = record.get_mut(&field.name) {
            translate(&field.ty, value, ids);
        }
    }
    for field in ["allowed_operations", "current_operations"] {
        blank(class, &mut record, field);
    }
    match class {
        Class::Host => return host_record(&record),
        Class::Vm => trim_vm(&mut record, selection),
        Class::Vbd | Class::Vif => {
            if !selection.keep_power_state {
                record.insert("currently_attached".to_owned(), Value::Bool(false));
            }
            record.insert("metrics".to_owned(), Value::from(NULL_REF));
        }
        _ => {}
    }
    record
}

fn trim_vm(record: &mut Map, selection: &Selection) {
    for field in ["consoles", "blobs", "crash_dumps"] {
        blank(Class::Vm, record, field);
    }
    if !selection.keep_power_state {
        record.insert("power_state".to_owned(), Value::from("Halted"));
        blank(Class::Vm, record, "suspend_VDI");
    }
    if !selection.keep_snapshots {
        for field in ["is_a_snapshot", "snapshot_of", "snapshots", "snapshot_time", "parent", "children"] {
            blank(Class::Vm, record, field);
        }
    }
}

/// Of a host only its names are told.
fn host_record(record: &Map) -> Map {
    const TOLD: &[&str] = &["uuid", "name_label", "name_description", "hostname", "address", "enabled"];
    let fields = Schema::get().class(Class::Host).fields.iter().filter(|field| record.contains_key(&field.name));
    fields
        .map(|field| {
            let told = TOLD.contains(&field.name.as_str());
            let value = if told { record[&field.name].clone() } else { field.ty.empty() };
            (field.name.clone(), value)
        })
        .collect()
}

/// A TPM carries its content, under names of its own.
fn vtpm_record(world: &World, t: &Tables, vtpm: &Ref, ids: &HashMap<Ref, String>) -> Map {
    let vm = ids.get(&t.reference(vtpm, "VM")).cloned().unwrap_or_else(|| NULL_REF.to_owned());
    let contents = world.vtpm_contents.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    Map::from([
        ("vTPM'_VM".to_owned(), Value::from(vm)),
        ("vTPM'_uuid".to_owned(), Value::from(t.str(vtpm, "uuid"))),
        ("vTPM'_is_unique".to_owned(), Value::Bool(t.bool(vtpm, "is_unique"))),
        ("vTPM'_is_protected".to_owned(), Value::Bool(t.bool(vtpm, "is_protected"))),
        ("vTPM'_content".to_owned(), Value::from(contents.get(vtpm).cloned().unwrap_or_default())),
    ])
}

fn blank(class: Class, record: &mut Map, field: &str) {
    if let Some(def) = Schema::get().class(class).field(field) {
        record.insert(field.to_owned(), def.ty.empty());
    }
}

/// Puts ids in place of references.
fn translate(ty: &Type, value: &mut Value, ids: &HashMap<Ref, String>) {
    let id_of = |text: &str| ids.get(&Ref::from(text));
    match (ty, value) {
        (Type::Ref(_), Value::Str(text)) => {
            *text = id_of(text).cloned().unwrap_or_else(|| NULL_REF.to_owned());
        }
        (Type::Set(inner), Value::Set(members)) => {
            if matches!(**inner, Type::Ref(_)) {
                members.retain(|member| member.as_str().is_some_and(|text| id_of(text).is_some()));
            }
            members.iter_mut().for_each(|member| translate(inner, member, ids));
        }
        (Type::Map(key, inner), Value::Map(map)) => {
            if matches!(**key, Type::Ref(_)) {
                map.clear();
            }
            map.values_mut().for_each(|value| translate(inner, value, ids));
        }
        _ => {}
    }
}
