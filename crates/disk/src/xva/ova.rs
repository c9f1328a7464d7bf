use std::collections::{HashMap, HashSet};

use crate::Error;
use crate::value::{self, Struct, Value};

#[cfg(test)]
mod tests;

/// Longest id of a disk: the names of its chunks must fit into the header of a file.
const MAX_ID_BYTES: usize = 64;
/// The reference that points nowhere.
const NULL_REF: &str = "OpaqueRef:NULL";

/// The description of a VM and of all that belongs to it, as it stands in `ova.xml`.
///
/// Whatever is not asked for is kept as it was read, so that a record can be changed and written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ova {
    /// Which product wrote it: `product_version`, `xapi_major`, `xapi_minor`, `export_vsn` …
    pub version: Struct,
    /// All objects, in order.
    pub objects: Vec<Object>,
    rest: Struct,
}

/// A record of one of XAPI's classes. References to other objects are their ids.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// `VM`, `VDI`, `VBD`, `VIF`, `SR`, `network` …
    pub class: String,
    /// Its id within the archive: `Ref:7`.
    pub id: String,
    /// All fields of the record.
    pub snapshot: Struct,
    rest: Struct,
}

/// A disk whose contents belong into the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OvaDisk {
    /// Id of the VDI within the archive, and name of the directory of its chunks: `Ref:7`.
    pub id: String,
    /// Size of the disk in bytes.
    pub virtual_size: u64,
    /// `uuid` of the VDI.
    pub vdi_uuid: String,
    /// `name_label` of the VDI.
    pub name_label: String,
    /// `name_description` of the VDI.
    pub name_description: String,
    /// Id of its SR within the archive.
    pub sr: String,
    /// Id of the VBD that ties it to a VM; none for the image of suspended memory.
    pub vbd: Option<String>,
    /// Position in the VM (`userdevice` of the VBD): `0`, `1` …; empty if there is no VBD.
    pub userdevice: String,
    /// Does the VM boot from it?
    pub bootable: bool,
    /// May the VM only read it (`mode` of the VBD)?
    pub read_only: bool,
}

impl Object {
    /// An object from a record.
    pub fn new(class: impl Into<String>, id: impl Into<String>, snapshot: Struct) -> Self {
        Object { class: class.into(), id: id.into(), snapshot, rest: Struct::new() }
    }

    /// The text of a field, empty if there is none.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.snapshot.text(field).unwrap_or_default()
    }

    fn parse(value: Value) -> Result<Self, Error> {
        let Value::Struct(mut rest) = value else {
            return Err(Error::damaged("an object of ova.xml is not a struct"));
        };
        let mut text = |name| match rest.remove(name) {
            Some(Value::String(text)) => Ok(text),
            _ => Err(Error::damaged(format!("an object of ova.xml has no {name}"))),
        };
        let (class, id) = (text("class")?, text("id")?);
        match rest.remove("snapshot") {
            Some(Value::Struct(snapshot)) => Ok(Object { class, id, snapshot, rest }),
            _ => Err(Error::damaged(format!("the object {id} of ova.xml has no record"))),
        }
    }

    fn to_value(&self) -> Value {
        let mut fields: Struct = [
            ("class", Value::from(self.class.as_str())),
            ("id", Value::from(self.id.as_str())),
            ("snapshot", Value::Struct(self.snapshot.clone())),
        ]
        .into_iter()
        .collect();
        self.rest.iter().for_each(|(name, value)| fields.set(name, value.clone()));
        Value::Struct(fields)
    }
}

impl Ova {
    /// A description without objects yet.
    #[must_use]
    pub fn new(version: Struct) -> Self {
        Ova { version, ..Ova::default() }
    }

    /// Adds an object. Ids must be unique; it is for the caller to choose them (XenServer counts `Ref:0`, `Ref:1` …).
    pub fn push(&mut self, class: impl Into<String>, id: impl Into<String>, snapshot: Struct) {
        self.objects.push(Object::new(class, id, snapshot));
    }

    /// Reads `ova.xml`.
    pub fn parse(xml: &[u8]) -> Result<Self, Error> {
        if xml.trim_ascii_start().starts_with(b"<appliance") {
            return Err(Error::Unsupported("an archive of the old kind that XenServer 3 wrote".into()));
        }
        let Value::Struct(mut rest) = value::parse(xml)? else {
            return Err(Error::damaged("ova.xml is not a struct"));
        };
        let Some(Value::Struct(version)) = rest.remove("version") else {
            return Err(Error::damaged("ova.xml has no version"));
        };
        let Some(Value::Array(objects)) = rest.remove("objects") else {
            return Err(Error::damaged("ova.xml has no objects"));
        };
        let objects = objects.into_iter().map(Object::parse).collect::<Result<Vec<_>, _>>()?;
        let ova = Ova { version, objects, rest };
        ova.check_ids()?;
        Ok(ova)
    }

    fn check_ids(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        match self.objects.iter().find(|object| !seen.insert(object.id.as_str())) {
            Some(twice) => Err(Error::damaged(format!("ova.xml has two objects {}", twice.id))),
            None => Ok(()),
        }
    }

    /// Writes `ova.xml`: one line, no declaration.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut fields = Struct::new();
        fields.set("version", self.version.clone());
        fields.set("objects", self.objects.iter().map(Object::to_value).collect::<Vec<_>>());
        self.rest.iter().for_each(|(name, value)| fields.set(name, value.clone()));
        Value::Struct(fields).to_xml()
    }

    /// The version of the way in which disks are written (`export_vsn`): 2 in all archives since 2007.
    #[must_use]
    pub fn export_version(&self) -> i64 {
        self.version.int("export_vsn").unwrap_or(0)
    }

    /// The object with an id.
    #[must_use]
    pub fn object(&self, id: &str) -> Option<&Object> {
        self.objects.iter().find(|object| object.id == id)
    }

    /// The object with an id, to be changed.
    pub fn object_mut(&mut self, id: &str) -> Option<&mut Object> {
        self.objects.iter_mut().find(|object| object.id == id)
    }

    /// All objects of a class.
    pub fn of_class<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |object| object.class == class)
    }

    /// All objects of a class, to be changed.
    pub fn of_class_mut<'a>(&'a mut self, class: &'a str) -> impl Iterator<Item = &'a mut Object> {
        self.objects.iter_mut().filter(move |object| object.class == class)
    }

    /// All VMs. An archive from `/export` holds one; with metadata, snapshots may come too.
    pub fn vms(&self) -> impl Iterator<Item = &Object> {
        self.of_class("VM")
    }

    /// The one VM (that is not a snapshot) of the archive.
    pub fn vm(&self) -> Result<&Object, Error> {
        let mut vms = self.vms().filter(|vm| vm.snapshot.flag("is_a_snapshot") != Some(true));
        match (vms.next(), vms.next()) {
            (Some(vm), None) => Ok(vm),
            (None, _) => Err(Error::damaged("ova.xml has no VM")),
            (Some(_), Some(_)) => Err(Error::Unsupported("an archive with several VMs".into())),
        }
    }

    /// Objects of a class that name a VM (or any object) in one of their fields: `referring("VBD", "VM", vm_id)`.
    pub fn referring<'a>(&'a self, class: &'a str, field: &'a str, id: &'a str) -> impl Iterator<Item = &'a Object> {
        self.of_class(class).filter(move |object| object.snapshot.text(field) == Some(id))
    }

    /// The VBDs of a VM.
    pub fn vbds<'a>(&'a self, vm: &'a str) -> impl Iterator<Item = &'a Object> {
        self.referring("VBD", "VM", vm)
    }

    /// The VIFs of a VM.
    pub fn vifs<'a>(&'a self, vm: &'a str) -> impl Iterator<Item = &'a Object> {
        self.referring("VIF", "VM", vm)
    }

    /// The object that a field of another one refers to, if it is in the archive.
    #[must_use]
    pub fn follow(&self, object: &Object, field: &str) -> Option<&Object> {
        self.object(object.snapshot.text(field)?)
    }

    /// Removes objects; references to them become null. VBD and VIF lists of a VM lose them.
    pub fn remove(&mut self, ids: &[&str]) {
        self.objects.retain(|object| !ids.contains(&object.id.as_str()));
        for object in &mut self.objects {
            forget(&mut object.snapshot, ids);
        }
    }

    /// The disks whose contents belong into the archive, in the order in which XenServer writes them (ids as text).
    ///
    /// These are the VDIs of VBDs of type `Disk` and the image of a suspended VM; nothing is ever archived of an SR
    /// with ISO images or of a CD drive (xapi: `export.ml`).
    pub fn disks(&self) -> Result<Vec<OvaDisk>, Error> {
        let by_id: HashMap<&str, &Object> = self.objects.iter().map(|object| (object.id.as_str(), object)).collect();
        let mut vbds: HashMap<&str, Vec<&Object>> = HashMap::new();
        for vbd in self.of_class("VBD") {
            vbds.entry(vbd.text("VDI")).or_default().push(vbd);
        }
        let suspended = self.vms().filter(|vm| vm.text("power_state") == "Suspended");
        let memory: HashSet<&str> = suspended.map(|vm| vm.text("suspend_VDI")).collect();
        let mut disks = Vec::new();
        for vdi in self.of_class("VDI") {
            let sr = by_id.get(vdi.text("SR"));
            if sr.is_some_and(|sr| sr.text("content_type") == "iso") {
                continue;
            }
            let vbds = vbds.get(vdi.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let vbd = vbds.iter().find(|vbd| vbd.text("type") == "Disk");
            if vbd.is_some() || memory.contains(vdi.id.as_str()) {
                disks.push(OvaDisk::new(vdi, vbd.copied())?);
            }
        }
        disks.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(disks)
    }
}

impl OvaDisk {
    fn new(vdi: &Object, vbd: Option<&Object>) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'/';
        if vdi.id.is_empty() || vdi.id.len() > MAX_ID_BYTES || !vdi.id.bytes().all(plain) {
            return Err(Error::damaged(format!("{:?} cannot be the id of a disk", vdi.id)));
        }
        let size = vdi.snapshot.int("virtual_size").and_then(|size| u64::try_from(size).ok());
        let virtual_size = size.ok_or_else(|| Error::damaged(format!("the disk {} has no size", vdi.id)))?;
        let of_vbd = |field| vbd.map(|vbd| vbd.text(field)).unwrap_or_default();
        Ok(OvaDisk {
            id: vdi.id.clone(),
            virtual_size,
            vdi_uuid: vdi.text("uuid").to_owned(),
            name_label: vdi.text("name_label").to_owned(),
            name_description: vdi.text("name_description").to_owned(),
            sr: vdi.text("SR").to_owned(),
            vbd: vbd.map(|vbd| vbd.id.clone()),
            userdevice: of_vbd("userdevice").to_owned(),
            bootable: vbd.and_then(|vbd| vbd.snapshot.flag("bootable")).unwrap_or(false),
            read_only: of_vbd("mode") == "RO",
        })
    }
}

/// Takes references to some objects out of a record.
fn forget(record: &mut Struct, ids: &[&str]) {
    let gone = |value: &Value| matches!(value, Value::String(text) if ids.contains(&text.as_str()));
    for value in record.values_mut() {
        match value {
            Value::Array(elements) => elements.retain(|element| !gone(element)),
            value if gone(value) => *value = NULL_REF.into(),
            _ => {}
        }
    }
}
