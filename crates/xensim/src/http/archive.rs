//! What an archive says of itself: its version and its objects.

use crate::error::ApiError;
use crate::model::{Class, Map, Value};
use crate::rpc::xml;
use crate::world::World;

/// What `ova.xml` says.
pub(super) struct Archive {
    version: (u64, u64),
    objects: Vec<Object>,
}

/// A record of an archive.
pub(super) struct Object {
    pub(super) class: Class,
    pub(super) id: String,
    pub(super) record: Map,
}

impl Archive {
    /// Reads `ova.xml`; classes that we don't know are left out.
    pub(super) fn parse(text: &[u8]) -> Result<Self, ApiError> {
        let broken = || ApiError::new("IMPORT_ERROR", ["ova.xml can't be understood"]);
        let whole = xml::from_text(text).map_err(|error| ApiError::new("IMPORT_ERROR", [error]))?;
        let whole = whole.as_map().ok_or_else(broken)?;
        let version = whole.get("version").and_then(Value::as_map).ok_or_else(broken)?;
        let number = |key: &str| version.get(key).and_then(|value| value.as_str()?.parse().ok()).unwrap_or(0);
        let objects = whole.get("objects").and_then(Value::as_set).ok_or_else(broken)?;
        let objects = objects.iter().map(|object| Object::parse(object).ok_or_else(broken));
        let objects = objects.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        Ok(Self { version: (number("xapi_major"), number("xapi_minor")), objects })
    }

    /// Refuses archives of newer hosts.
    pub(super) fn check_version(&self, world: &World) -> Result<(), ApiError> {
        if self.version > world.db.read(|t| super::xapi_version(world, t)) {
            return Err(ApiError::bare("IMPORT_INCOMPATIBLE_VERSION"));
        }
        Ok(())
    }

    /// All objects of a class.
    pub(super) fn of_class(&self, class: Class) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.class == class)
    }

    /// The object of an id.
    pub(super) fn find(&self, id: &str) -> Result<&Object, ApiError> {
        let found = self.objects.iter().find(|object| object.id == id);
        found.ok_or_else(|| ApiError::new("IMPORT_ERROR_FAILED_TO_FIND_OBJECT", [id]))
    }

    /// Whether a disk's content belongs into the archive, or must be there already.
    pub(super) fn needs(&self, vdi: &Object) -> bool {
        let by_device = |vbd: &Object| vbd.text("type") == "Disk" && vbd.text("VDI") == vdi.id;
        let by_memory = |vm: &Object| vm.text("power_state") == "Suspended" && vm.text("suspend_VDI") == vdi.id;
        self.of_class(Class::Vbd).any(by_device) || self.of_class(Class::Vm).any(by_memory)
    }
}

impl Object {
    /// `None`: broken. `Some(None)`: of a class that means nothing to us.
    fn parse(value: &Value) -> Option<Option<Self>> {
        let fields = value.as_map()?;
        let id = fields.get("id")?.as_str()?.to_owned();
        let record = fields.get("snapshot")?.as_map()?.clone();
        let class = Class::parse(fields.get("class")?.as_str()?);
        Some(class.map(|class| Self { class, id, record }))
    }

    /// A field that is text, empty when it is missing.
    pub(super) fn text(&self, field: &str) -> &str {
        self.record.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A truth value, false when it is missing.
    pub(super) fn flag(&self, field: &str) -> bool {
        matches!(self.record.get(field), Some(Value::Bool(true)))
    }

    /// An entry of a map.
    pub(super) fn entry(&self, field: &str, key: &str) -> Option<&str> {
        self.record.get(field)?.as_map()?.get(key)?.as_str()
    }

    /// A number, which archives write as text; 0 when it is missing.
    pub(super) fn int(&self, field: &str) -> i64 {
        match self.record.get(field) {
            Some(Value::Str(text)) => text.trim().parse().unwrap_or(0),
            Some(other) => other.as_int().unwrap_or(0),
            None => 0,
        }
    }
}
