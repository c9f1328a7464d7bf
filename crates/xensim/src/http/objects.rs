//! Making the objects that an archive describes (xapi: `import.ml`).

mod devices;

use std::collections::{HashMap, HashSet};

use crate::error::ApiError;
use crate::model::{Class, Map, NULL_REF, Ref, Schema, Tables, Type, Value};
use crate::ops;
use crate::world::World;

use super::archive::{Archive, Object};

/// Objects are made in this order, class by class.
const ORDER: &[Class] = &[
    Class::Host,
    Class::Sr,
    Class::Vdi,
    Class::VmGuestMetrics,
    Class::VmMetrics,
    Class::Vm,
    Class::Network,
    Class::Vbd,
    Class::Vif,
    Class::Vtpm,
];

const MAC_SEED: &str = "mac_seed";
const IMPORT_TASK: &str = "import_task";

/// Where the disks come from.
pub(super) enum Disks {
    /// New ones are made on this storage repository.
    On(Ref),
    /// They are there; the map leads from old uuids to new ones.
    There(HashMap<String, String>),
}

/// How to import.
pub(super) struct Wishes {
    pub(super) restore: bool,
    pub(super) force: bool,
    pub(super) disks: Disks,
    /// The task that the import runs as.
    pub(super) task: Ref,
}

/// What has been made so far.
pub(super) struct Builder<'a> {
    world: &'a World,
    wishes: Wishes,
    /// New references by the ids of the archive.
    table: HashMap<String, Ref>,
    /// All that was made, oldest first.
    made: Vec<(Class, Ref)>,
    /// The new machines, and the ids they had.
    vms: Vec<(Ref, String)>,
    operations: Vec<ops::vm::Operation>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(world: &'a World, wishes: Wishes) -> Self {
        Self { world, wishes, table: HashMap::new(), made: Vec::new(), vms: Vec::new(), operations: Vec::new() }
    }

    /// What an id of the archive has become.
    pub(super) fn reference(&self, id: &str) -> Option<&Ref> {
        self.table.get(id)
    }

    /// Checks all that can be checked before anything is made.
    pub(super) fn check(&self, archive: &Archive) -> Result<(), ApiError> {
        archive.check_version(self.world)?;
        if let Disks::There(_) = self.wishes.disks {
            for vdi in archive.of_class(Class::Vdi).filter(|vdi| archive.needs(vdi)) {
                self.find_disk(archive, vdi)?;
            }
        }
        if !self.wishes.restore {
            return Ok(());
        }
        let uuids: HashSet<&str> = archive.of_class(Class::Vm).map(|vm| vm.text("uuid")).collect();
        self.world.db.read(|t| {
            for vm in archive.of_class(Class::Vm) {
                check_seed(t, vm, &uuids)?;
                if let Some(existing) = t.by_uuid(Class::Vm, vm.text("uuid")) {
                    self.check_existing(t, &existing, vm)?;
                }
            }
            Ok(())
        })
    }

    /// Whether an existing machine may be replaced.
    fn check_existing(&self, t: &Tables, existing: &Ref, vm: &Object) -> Result<(), ApiError> {
        let state = t.str(existing, "power_state");
        if self.wishes.force {
            return Ok(());
        }
        if state != "Halted" {
            // Unlike everywhere else, with capitals (xapi: `import.ml`).
            return Err(ApiError::new("VM_BAD_POWER_STATE", [existing.as_str(), "Halted", &state]));
        }
        let (theirs, ours) = (t.int(existing, "version"), vm.int("version"));
        if theirs >= ours {
            let params = [existing.to_string(), theirs.to_string(), ours.to_string()];
            return Err(ApiError::new("VM_TO_IMPORT_IS_NOT_NEWER_VERSION", params));
        }
        Ok(())
    }

    /// Makes everything; what was made before an error is for [`Builder::undo`].
    pub(super) fn build(&mut self, archive: &Archive) -> Result<(), ApiError> {
        for class in ORDER {
            for object in archive.of_class(*class) {
                self.make(archive, object)?;
            }
        }
        self.link_snapshots(archive);
        Ok(())
    }

    fn make(&mut self, archive: &Archive, object: &Object) -> Result<(), ApiError> {
        let found = match object.class {
            Class::Host => self.world.db.read(|t| t.by_uuid(Class::Host, object.text("uuid"))),
            Class::Sr => match &self.wishes.disks {
                Disks::On(sr) => Some(sr.clone()),
                Disks::There(_) => self.world.db.read(|t| t.by_uuid(Class::Sr, object.text("uuid"))),
            },
            Class::Vdi => self.disk(archive, object)?,
            Class::VmMetrics | Class::VmGuestMetrics => Some(self.plain(object)),
            Class::Vm => self.vm(object),
            Class::Network => Some(self.network(object)),
            Class::Vbd => self.vbd(object)?,
            Class::Vif => Some(self.vif(object)?),
            Class::Vtpm => Some(self.vtpm(object)?),
            _ => None,
        };
        if let Some(reference) = found {
            self.table.insert(object.id.clone(), reference);
        }
        Ok(())
    }

    /// Makes an object of the fields given, and remembers it for undoing.
    fn create(&mut self, class: Class, fields: &Map) -> Ref {
        let made = self.world.db.write(|t| t.create_from(class, fields));
        self.made.push((class, made.clone()));
        made
    }

    /// The record with its references led to the new objects, without uuid.
    fn translated(&self, object: &Object) -> Map {
        let mut fields = object.record.clone();
        fields.remove("uuid");
        for field in &Schema::get().class(object.class).fields {
            match (&field.ty, fields.get_mut(&field.name)) {
                (Type::Ref(_), Some(Value::Str(text))) => {
                    *text = self.table.get(text).map_or(NULL_REF, Ref::as_str).to_owned();
                }
                (Type::Set(inner) | Type::Map(inner, _), Some(_)) if matches!(**inner, Type::Ref(_)) => {
                    fields.remove(&field.name);
                }
                _ => {}
            }
        }
        for field in ["current_operations", "allowed_operations"] {
            fields.remove(field);
        }
        fields
    }

    fn plain(&mut self, object: &Object) -> Ref {
        let fields = self.translated(object);
        self.create(object.class, &fields)
    }

    fn disk(&mut self, archive: &Archive, vdi: &Object) -> Result<Option<Ref>, ApiError> {
        let sr = archive.find(vdi.text("SR"))?;
        if sr.text("content_type") == "iso" {
            return Ok(self.world.db.read(|t| find_iso(t, vdi.text("location"))));
        }
        if !archive.needs(vdi) {
            return Ok(None);
        }
        let Disks::On(sr) = &self.wishes.disks else {
            return self.find_disk(archive, vdi).map(Some);
        };
        let mut record = coerced(Class::Vdi, self.translated(vdi));
        record.insert("SR".to_owned(), Value::from(sr));
        note(&mut record, "sm_config", &self.wishes.task);
        let made = ops::vdi::create_from(self.world, &record)?;
        self.made.push((Class::Vdi, made.clone()));
        Ok(Some(made))
    }

    /// The disk that is there: by the map, or by its place on its storage repository.
    fn find_disk(&self, archive: &Archive, vdi: &Object) -> Result<Ref, ApiError> {
        let Disks::There(map) = &self.wishes.disks else { return Err(ApiError::internal("no map of disks")) };
        let sr = archive.find(vdi.text("SR"))?;
        self.world.db.read(|t| {
            if let Some(uuid) = map.get(vdi.text("uuid")) {
                return t.by_uuid(Class::Vdi, uuid).ok_or_else(|| ApiError::uuid(Class::Vdi, uuid));
            }
            let known = t.by_uuid(Class::Sr, sr.text("uuid"));
            let known = known.ok_or_else(|| ApiError::bare("VDI_CONTENT_ID_MISSING"))?;
            let location = vdi.text("location");
            let found = t.references(&known, "VDIs").into_iter().find(|other| t.str(other, "location") == location);
            found.ok_or_else(|| ApiError::new("VDI_LOCATION_MISSING", [known.as_str(), location]))
        })
    }

    /// A machine; none when one of that uuid is there and stays.
    fn vm(&mut self, vm: &Object) -> Option<Ref> {
        if self.wishes.restore && !self.make_way(vm) {
            return None;
        }
        let mut fields = self.translated(vm);
        let is_suspended = vm.text("power_state") == "Suspended"
            && fields.get("suspend_VDI").and_then(Value::as_str).is_some_and(|vdi| vdi != NULL_REF);
        let state = if is_suspended { "Suspended" } else { "Halted" };
        fields.insert("power_state".to_owned(), Value::from(state));
        for field in ["protection_policy", "appliance", "resident_on", "scheduled_to_be_resident_on"] {
            fields.insert(field.to_owned(), Value::from(NULL_REF));
        }
        fields.insert("domid".to_owned(), Value::Int(-1));
        if matches!(vm.text("ha_restart_priority"), "0" | "1" | "2" | "3") {
            fields.insert("ha_restart_priority".to_owned(), Value::from("restart"));
        }
        let version = if self.wishes.restore { vm.int("version") + 1 } else { 0 };
        fields.insert("version".to_owned(), Value::Int(version));
        self.name_vm(vm, &mut fields);
        let made = self.create(Class::Vm, &fields);
        let (world, task) = (self.world, &self.wishes.task);
        if world.db.read(|t| t.reference(&made, "metrics").is_null()) {
            world.db.write(|t| ops::vm::add_metrics(t, &made, world.clock.now()));
        }
        self.operations.push(ops::vm::begin_unchecked(world, &made, "import", task));
        self.vms.push((made.clone(), vm.id.clone()));
        Some(made)
    }

    /// What makes the machine itself: uuid and seed, kept or new.
    fn name_vm(&self, vm: &Object, fields: &mut Map) {
        let mut other_config = fields.get("other_config").and_then(Value::as_map).cloned().unwrap_or_default();
        other_config.insert(IMPORT_TASK.to_owned(), Value::from(&self.wishes.task));
        if !self.wishes.force {
            other_config.remove("default_template");
            fields.insert("is_default_template".to_owned(), Value::Bool(false));
        }
        if self.wishes.restore {
            fields.insert("uuid".to_owned(), Value::from(vm.text("uuid")));
        } else {
            other_config.insert(MAC_SEED.to_owned(), Value::text(uuid::Uuid::new_v4()));
            if !vm.flag("is_a_template") {
                let generation = format!("{}:{}", rand::random::<i64>(), rand::random::<i64>());
                fields.insert("generation_id".to_owned(), Value::from(generation));
            }
        }
        fields.insert("other_config".to_owned(), Value::Map(other_config));
    }

    /// Removes an existing machine of the same uuid; false when it has to stay.
    fn make_way(&self, vm: &Object) -> bool {
        let existing = self.world.db.read(|t| {
            let existing = t.by_uuid(Class::Vm, vm.text("uuid"))?;
            Some((existing.clone(), t.str(&existing, "power_state")))
        });
        match existing {
            Some((existing, state)) if state == "Halted" => {
                ops::vm::destroy(self.world, &existing);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// A network of the same name, or else of the same bridge, or else a new one.
    fn network(&mut self, network: &Object) -> Ref {
        let found = self.world.db.read(|t| {
            let by_name = t.by_name(Class::Network, network.text("name_label")).into_iter().next();
            let bridge = network.text("bridge");
            let mut all = t.all(Class::Network).into_iter();
            by_name.or_else(|| all.find(|other| t.str(other, "bridge") == bridge))
        });
        if let Some(found) = found {
            return found;
        }
        let mut fields = self.translated(network);
        note(&mut fields, "other_config", &self.wishes.task);
        fields.insert("managed".to_owned(), Value::Bool(true));
        self.create(Class::Network, &fields)
    }

    /// Machines and snapshots name each other: possible only when all of them are there.
    fn link_snapshots(&self, archive: &Archive) {
        for (vm, id) in &self.vms {
            let Ok(object) = archive.find(id) else { continue };
            self.world.db.write(|t| {
                for field in ["snapshot_of", "parent"] {
                    let target = self.table.get(object.text(field)).map_or(NULL_REF, Ref::as_str);
                    t.set(vm, field, target);
                }
                ops::allowed::refresh_vm(t, vm);
            });
        }
    }

    /// All is well: the machines are free for use. Gives those that are no snapshots, or all if there are only such.
    pub(super) fn complete(self) -> Value {
        drop(self.operations);
        self.world.db.write(|t| {
            let (snapshots, vms): (Vec<&Ref>, Vec<&Ref>) =
                self.vms.iter().map(|(vm, _)| vm).partition(|vm| t.bool(vm, "is_a_snapshot"));
            self.vms.iter().for_each(|(vm, _)| ops::allowed::refresh_vm(t, vm));
            Value::texts(if vms.is_empty() { snapshots } else { vms })
        })
    }

    /// Destroys what was made, newest first; unless forced, and as well as it goes.
    pub(super) fn undo(mut self) {
        self.operations.clear();
        if self.wishes.force {
            return;
        }
        while let Some((class, object)) = self.made.pop() {
            match class {
                Class::Vm => ops::vm::destroy(self.world, &object),
                Class::Vdi => {
                    if let Err(error) = ops::vdi::destroy(self.world, &object) {
                        tracing::warn!(%error, "a disk of a failed import stays");
                    }
                }
                _ => {
                    self.world.db.write(|t| t.destroy(&object));
                }
            }
        }
    }
}

/// No other machine may have the seed, but for the machine itself and its snapshots.
fn check_seed(t: &Tables, vm: &Object, uuids: &HashSet<&str>) -> Result<(), ApiError> {
    let Some(seed) = vm.entry("other_config", MAC_SEED) else { return Ok(()) };
    let is_ours = |other: &Ref| {
        let original = t.reference(other, "snapshot_of");
        uuids.contains(t.str(other, "uuid").as_str())
            || t.bool(other, "is_a_snapshot")
                && match t.has(Class::Vm, &original) {
                    true => uuids.contains(t.str(&original, "uuid").as_str()),
                    // Its machine is gone; whose snapshot it was stands in its metadata.
                    false => {
                        let metadata = t.str(other, "snapshot_metadata");
                        uuids.iter().any(|uuid| metadata.contains(&format!("('uuid' '{uuid}')")))
                    }
                }
    };
    let has_it = |other: &&Ref| t.entry(other, "other_config", MAC_SEED).as_deref() == Some(seed) && !is_ours(other);
    match t.all(Class::Vm).iter().find(has_it) {
        Some(_) => Err(ApiError::new("DUPLICATE_MAC_SEED", [seed])),
        None => Ok(()),
    }
}

fn find_iso(t: &Tables, location: &str) -> Option<Ref> {
    let libraries = t.all(Class::Sr).into_iter().filter(|sr| t.str(sr, "content_type") == "iso");
    libraries.flat_map(|sr| t.references(&sr, "VDIs")).find(|vdi| t.str(vdi, "location") == location)
}

/// Writes the task into a map of the record.
fn note(fields: &mut Map, field: &str, task: &Ref) {
    let mut map = fields.get(field).and_then(Value::as_map).cloned().unwrap_or_default();
    map.insert(IMPORT_TASK.to_owned(), Value::from(task));
    fields.insert(field.to_owned(), Value::Map(map));
}

/// Brings fields to the types of their class; what can't be brought there is left out.
fn coerced(class: Class, fields: Map) -> Map {
    let def = Schema::get().class(class);
    let value = |name: &str, value: &Value| def.field(name)?.ty.coerce(value);
    fields.iter().filter_map(|(name, given)| Some((name.clone(), value(name, given)?))).collect()
}
