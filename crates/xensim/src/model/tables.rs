//! The objects themselves: rows of every class, references kept true in both directions, and what changed when.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::{
    Class, Map, NULL_REF, Ref, Schema, Value,
    links::{Link, links_of},
};

/// How many deletions are remembered for `event.from`.
const DELETIONS_KEPT: usize = 100_000;

/// One object.
#[derive(Debug)]
pub struct Object {
    /// Its class.
    pub class: Class,
    /// Generation in which it came.
    pub created: u64,
    /// Generation in which it changed last.
    pub modified: u64,
    fields: Map,
}

/// An object that is gone.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// Its class.
    pub class: Class,
    /// Its reference.
    pub reference: Ref,
    /// Generation in which it had come.
    pub created: u64,
    /// Generation in which it went.
    pub deleted: u64,
}

/// All objects of the pool. Each change gets a generation number of its own.
#[derive(Debug, Default)]
pub struct Tables {
    objects: HashMap<Ref, Object>,
    by_class: BTreeMap<Class, BTreeMap<u64, Ref>>,
    by_uuid: HashMap<(Class, String), Ref>,
    touched: BTreeMap<u64, Ref>,
    deletions: VecDeque<Deletion>,
    generation: u64,
}

impl Tables {
    /// The number of the latest change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All objects of a class, oldest first.
    pub fn all(&self, class: Class) -> Vec<Ref> {
        self.by_class.get(&class).map(|rows| rows.values().cloned().collect()).unwrap_or_default()
    }

    /// How many objects a class has.
    pub fn count(&self, class: Class) -> usize {
        self.by_class.get(&class).map_or(0, BTreeMap::len)
    }

    /// The object of a class with that uuid.
    pub fn by_uuid(&self, class: Class, uuid: &str) -> Option<Ref> {
        self.by_uuid.get(&(class, uuid.to_ascii_lowercase())).cloned()
    }

    /// The objects of a class with that name.
    pub fn by_name(&self, class: Class, name: &str) -> Vec<Ref> {
        let mut all = self.all(class);
        all.retain(|reference| self.str(reference, "name_label") == name);
        all
    }

    /// The class of an object, if there is one.
    pub fn class_of(&self, reference: &Ref) -> Option<Class> {
        self.objects.get(reference).map(|object| object.class)
    }

    /// Whether the reference names an object of that class.
    pub fn has(&self, class: Class, reference: &Ref) -> bool {
        self.class_of(reference) == Some(class)
    }

    /// The object behind a reference.
    pub fn object(&self, reference: &Ref) -> Option<&Object> {
        self.objects.get(reference)
    }

    /// One field of an object.
    pub fn get(&self, reference: &Ref, field: &str) -> Option<&Value> {
        self.objects.get(reference)?.fields.get(field)
    }

    /// The whole record, with every field of the class.
    pub fn record(&self, reference: &Ref) -> Option<Map> {
        self.objects.get(reference).map(|object| object.fields.clone())
    }

    /// A text field; empty when the object is gone.
    pub fn str(&self, reference: &Ref, field: &str) -> String {
        self.get(reference, field).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// An integer field; 0 when the object is gone.
    pub fn int(&self, reference: &Ref, field: &str) -> i64 {
        self.get(reference, field).and_then(Value::as_int).unwrap_or_default()
    }

    /// A truth value; false when the object is gone.
    pub fn bool(&self, reference: &Ref, field: &str) -> bool {
        matches!(self.get(reference, field), Some(Value::Bool(true)))
    }

    /// A date, in seconds since 1970.
    pub fn date(&self, reference: &Ref, field: &str) -> i64 {
        match self.get(reference, field) {
            Some(Value::Date(seconds)) => *seconds,
            _ => 0,
        }
    }

    /// A reference; the null reference when the object is gone.
    pub fn reference(&self, reference: &Ref, field: &str) -> Ref {
        Ref::from(self.get(reference, field).and_then(Value::as_str).unwrap_or(NULL_REF))
    }

    /// A set of references.
    pub fn references(&self, reference: &Ref, field: &str) -> Vec<Ref> {
        self.texts(reference, field).into_iter().map(Ref::from).collect()
    }

    /// A set of texts.
    pub fn texts(&self, reference: &Ref, field: &str) -> Vec<String> {
        let members = self.get(reference, field).and_then(Value::as_set).unwrap_or_default();
        members.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A map; empty when the object is gone.
    pub fn map(&self, reference: &Ref, field: &str) -> Map {
        self.get(reference, field).and_then(Value::as_map).cloned().unwrap_or_default()
    }

    /// One entry of a map of texts.
    pub fn entry(&self, reference: &Ref, field: &str, key: &str) -> Option<String> {
        self.get(reference, field)?.as_map()?.get(key)?.as_str().map(str::to_owned)
    }

    /// The objects that were made or changed after a generation, in the order of their last change.
    pub fn changed_since(&self, generation: u64) -> impl Iterator<Item = (&Ref, &Object)> {
        self.touched
            .range(generation.saturating_add(1)..)
            .filter_map(|(_, reference)| self.objects.get(reference).map(|object| (reference, object)))
    }

    /// The objects that went after a generation.
    pub fn deleted_since(&self, generation: u64) -> impl Iterator<Item = &Deletion> {
        self.deletions.iter().filter(move |deletion| deletion.deleted > generation)
    }

    /// Makes an object. What isn't given starts as the class says; a uuid is made unless given.
    pub fn create<'a>(&mut self, class: Class, fields: impl IntoIterator<Item = (&'a str, Value)>) -> Ref {
        let given: Map = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        self.create_from(class, &given)
    }

    /// Makes an object from a record: unknown fields are ignored, missing ones start as the class says, values of a
    /// wrong type count as missing, and sets that mirror references of other objects are left to the server.
    pub fn create_from(&mut self, class: Class, record: &Map) -> Ref {
        let reference = Ref::fresh();
        let def = Schema::get().class(class);
        let mut fields = Map::new();
        for field in &def.fields {
            let given = record.get(&field.name).and_then(|value| field.ty.coerce(value));
            fields.insert(field.name.clone(), given.unwrap_or_else(|| field.initial()));
        }
        for link in links_of(class).filter(|link| link.many.0 == class) {
            fields.insert(link.many.1.to_owned(), Value::Set(Vec::new()));
        }
        if def.field("uuid").is_some() && fields.get("uuid").and_then(Value::as_str) == Some("") {
            fields.insert("uuid".to_owned(), Value::text(uuid::Uuid::new_v4()));
        }
        self.insert(class, reference.clone(), fields);
        reference
    }

    pub(super) fn insert(&mut self, class: Class, reference: Ref, fields: Map) {
        self.generation += 1;
        let generation = self.generation;
        if let Some(uuid) = fields.get("uuid").and_then(Value::as_str) {
            self.by_uuid.insert((class, uuid.to_ascii_lowercase()), reference.clone());
        }
        self.by_class.entry(class).or_default().insert(generation, reference.clone());
        self.touched.insert(generation, reference.clone());
        let targets: Vec<(&Link, Ref)> = links_of(class)
            .filter(|link| link.one.0 == class)
            .map(|link| (link, Ref::from(fields.get(link.one.1).and_then(Value::as_str).unwrap_or(NULL_REF))))
            .collect();
        self.objects.insert(reference.clone(), Object { class, created: generation, modified: generation, fields });
        for (link, target) in targets {
            self.link(link, &reference, &target);
        }
    }

    /// Removes an object; references to it from elsewhere dangle, as they do in XAPI.
    pub fn destroy(&mut self, reference: &Ref) -> Option<Map> {
        let object = self.objects.remove(reference)?;
        self.generation += 1;
        if let Some(uuid) = object.fields.get("uuid").and_then(Value::as_str) {
            self.by_uuid.remove(&(object.class, uuid.to_ascii_lowercase()));
        }
        if let Some(rows) = self.by_class.get_mut(&object.class) {
            rows.remove(&object.created);
        }
        self.touched.remove(&object.modified);
        self.deletions.push_back(Deletion {
            class: object.class,
            reference: reference.clone(),
            created: object.created,
            deleted: self.generation,
        });
        if self.deletions.len() > DELETIONS_KEPT {
            self.deletions.pop_front();
        }
        for link in links_of(object.class).filter(|link| link.one.0 == object.class) {
            let target = Ref::from(object.fields.get(link.one.1).and_then(Value::as_str).unwrap_or(NULL_REF));
            self.unlink(link, reference, &target);
        }
        Some(object.fields)
    }

    /// Writes a field. Nothing happens when the object is gone or holds the value already.
    pub fn set(&mut self, reference: &Ref, field: &str, value: impl Into<Value>) {
        let value = value.into();
        let Some(object) = self.objects.get_mut(reference) else { return };
        let class = object.class;
        let Some(slot) = object.fields.get_mut(field) else {
            debug_assert!(false, "{} has no field {field}", class.name());
            return;
        };
        if *slot == value {
            return;
        }
        let before = std::mem::replace(slot, value.clone());
        self.touch(reference);
        if field == "uuid" {
            self.by_uuid.retain(|_, holder| holder != reference);
            self.by_uuid.insert((class, value.as_str().unwrap_or_default().to_ascii_lowercase()), reference.clone());
        }
        if let Some(link) = links_of(class).find(|link| link.one == (class, field)) {
            self.unlink(link, reference, &Ref::from(before.as_str().unwrap_or(NULL_REF)));
            self.link(link, reference, &Ref::from(value.as_str().unwrap_or(NULL_REF)));
        }
    }

    /// Writes one entry of a map.
    pub fn map_insert(&mut self, reference: &Ref, field: &str, key: impl Into<String>, value: impl Into<Value>) {
        let mut map = self.map(reference, field);
        map.insert(key.into(), value.into());
        self.set(reference, field, map);
    }

    /// Removes one entry of a map.
    pub fn map_remove(&mut self, reference: &Ref, field: &str, key: &str) {
        let mut map = self.map(reference, field);
        if map.remove(key).is_some() {
            self.set(reference, field, map);
        }
    }

    /// Marks an object as changed.
    pub fn touch(&mut self, reference: &Ref) {
        self.generation += 1;
        if let Some(object) = self.objects.get_mut(reference) {
            self.touched.remove(&object.modified);
            object.modified = self.generation;
            self.touched.insert(self.generation, reference.clone());
        }
    }

    fn link(&mut self, link: &Link, from: &Ref, to: &Ref) {
        self.mirror(link, to, |members| {
            let value = Value::from(from);
            if !members.contains(&value) {
                members.push(value);
            }
        });
    }

    fn unlink(&mut self, link: &Link, from: &Ref, to: &Ref) {
        let value = Value::from(from);
        self.mirror(link, to, |members| members.retain(|member| *member != value));
    }

    fn mirror(&mut self, link: &Link, target: &Ref, change: impl FnOnce(&mut Vec<Value>)) {
        let Some(object) = self.objects.get_mut(target).filter(|object| object.class == link.many.0) else { return };
        if let Some(Value::Set(members)) = object.fields.get_mut(link.many.1) {
            change(members);
            self.touch(target);
        }
    }
}
