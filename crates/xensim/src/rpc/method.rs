//! Names of methods: which class and which of its calls, getters, setters or queries a name means.

use crate::model::{Access, Call, Class, ClassDef, Field, Param, Schema, Type};

/// What a method's name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// A call of its own.
    Call(&'static Call),
    Get(&'static Field),
    Set(&'static Field),
    /// `add_to_X` of a map.
    AddTo(&'static Field),
    /// `remove_from_X` of a map.
    RemoveFrom(&'static Field),
    /// `add_X` of a set.
    Add(&'static Field),
    /// `remove_X` of a set.
    Remove(&'static Field),
    GetAll,
    GetAllRecords,
    GetAllRecordsWhere,
    GetByUuid,
    GetByNameLabel,
    GetRecord,
    Create,
    Destroy,
}

/// A method that exists, or did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method {
    pub(super) class: Class,
    /// The name without the class; empty for getters and setters.
    pub(super) name: &'static str,
    pub(super) target: Target,
    pub(super) removed: bool,
}

/// Finds `VM.start`, or its alias `VM_start`.
pub(super) fn find(text: &str) -> Option<Method> {
    if let Some((class, name)) = text.split_once('.') {
        return in_class(Class::parse(class)?, name);
    }
    let cuts = text.char_indices().filter(|(_, c)| *c == '_').map(|(at, _)| at);
    cuts.filter_map(|at| in_class(Class::parse(&text[..at])?, &text[at + 1..])).next()
}

/// Every method, in its dotted form.
pub(super) fn all() -> Vec<String> {
    let schema = Schema::get();
    schema.classes().iter().flat_map(|def| names(def).map(|name| format!("{}.{name}", def.class.name()))).collect()
}

fn in_class(class: Class, name: &str) -> Option<Method> {
    let def = Schema::get().class(class);
    if let Some(call) = def.call(name) {
        return Some(Method { class, name: &call.name, target: Target::Call(call), removed: call.removed });
    }
    generic(def, name).or_else(|| accessor(def, name))
}

fn generic(def: &'static ClassDef, name: &str) -> Option<Method> {
    let (known, target) = match name {
        "get_all" => ("get_all", Target::GetAll),
        "get_all_records" => ("get_all_records", Target::GetAllRecords),
        "get_all_records_where" => ("get_all_records_where", Target::GetAllRecordsWhere),
        "get_by_uuid" => ("get_by_uuid", Target::GetByUuid),
        "get_by_name_label" => ("get_by_name_label", Target::GetByNameLabel),
        "get_record" => ("get_record", Target::GetRecord),
        "create" => ("create", Target::Create),
        "destroy" => ("destroy", Target::Destroy),
        _ => return None,
    };
    let declared = if known == "get_all_records_where" { "get_all_records" } else { known };
    let there = def.generic.contains(declared);
    there.then_some(Method { class: def.class, name: known, target, removed: def.removed })
}

fn accessor(def: &'static ClassDef, name: &str) -> Option<Method> {
    let method = |field: &'static Field, target: fn(&'static Field) -> Target| {
        Some(Method { class: def.class, name: "", target: target(field), removed: field.removed })
    };
    let writable = |field: &&'static Field| field.access == Access::ReadWrite;
    // Messages are the one class without getters.
    if let Some(field) = name.strip_prefix("get_").and_then(|name| def.field(name)) {
        return if has_getters(def) { method(field, Target::Get) } else { None };
    }
    if let Some(field) = name.strip_prefix("set_").and_then(|name| def.field(name)).filter(writable) {
        return method(field, Target::Set);
    }
    if let Some(field) = name.strip_prefix("add_to_").and_then(|name| def.field(name)).filter(writable).filter(is_map) {
        return method(field, Target::AddTo);
    }
    let from = name.strip_prefix("remove_from_").and_then(|name| def.field(name));
    if let Some(field) = from.filter(writable).filter(is_map) {
        return method(field, Target::RemoveFrom);
    }
    if let Some(field) = name.strip_prefix("add_").and_then(|name| def.field(name)).filter(writable).filter(is_set) {
        return method(field, Target::Add);
    }
    let field = name.strip_prefix("remove_").and_then(|name| def.field(name));
    field.filter(writable).filter(is_set).and_then(|field| method(field, Target::Remove))
}

fn is_map(field: &&'static Field) -> bool {
    matches!(field.ty, Type::Map(..))
}

fn is_set(field: &&'static Field) -> bool {
    matches!(field.ty, Type::Set(_))
}

/// Classes that are only parts of answers have no getters, and messages have none either.
fn has_getters(def: &ClassDef) -> bool {
    def.generic.contains("get_record")
}

fn names(def: &'static ClassDef) -> impl Iterator<Item = String> {
    let calls = def.calls.iter().map(|call| call.name.clone());
    let mut generic: Vec<String> = def.generic.iter().cloned().collect();
    generic.sort();
    if def.generic.contains("get_all_records") {
        generic.push("get_all_records_where".to_owned());
    }
    let accessors = def.fields.iter().filter(|_| has_getters(def)).flat_map(|field| {
        let mut names = vec![format!("get_{}", field.name)];
        if field.access == Access::ReadWrite {
            names.push(format!("set_{}", field.name));
            match field.ty {
                Type::Map(..) => {
                    names.push(format!("add_to_{}", field.name));
                    names.push(format!("remove_from_{}", field.name));
                }
                Type::Set(_) => {
                    names.push(format!("add_{}", field.name));
                    names.push(format!("remove_{}", field.name));
                }
                _ => {}
            }
        }
        names
    });
    let mut all: Vec<String> = calls.chain(generic).chain(accessors).collect();
    all.sort();
    all.dedup();
    all.into_iter()
}

impl Method {
    /// Its parameters, the session left out.
    pub(super) fn params(&self) -> std::borrow::Cow<'static, [Param]> {
        let param = |name: &str, ty: Type| Param { name: name.to_owned(), ty, optional: false };
        let this = param("self", Type::Ref(self.class));
        let params = match self.target {
            Target::Call(call) => return std::borrow::Cow::Borrowed(&call.params),
            Target::Get(_) | Target::GetRecord | Target::Destroy => vec![this],
            Target::Set(field) => vec![this, param("value", field.ty.clone())],
            Target::AddTo(field) => match &field.ty {
                Type::Map(key, value) => {
                    vec![this, param("key", key.as_ref().clone()), param("value", value.as_ref().clone())]
                }
                _ => vec![this],
            },
            Target::RemoveFrom(field) => match &field.ty {
                Type::Map(key, _) => vec![this, param("key", key.as_ref().clone())],
                _ => vec![this],
            },
            Target::Add(field) | Target::Remove(field) => match &field.ty {
                Type::Set(inner) => vec![this, param("value", inner.as_ref().clone())],
                _ => vec![this],
            },
            Target::GetAll | Target::GetAllRecords => Vec::new(),
            Target::GetAllRecordsWhere => vec![param("expr", Type::Str)],
            Target::GetByUuid => vec![param("uuid", Type::Str)],
            Target::GetByNameLabel => vec![param("label", Type::Str)],
            Target::Create => vec![param("args", Type::Record(self.class.name().to_owned()))],
        };
        std::borrow::Cow::Owned(params)
    }

    /// Whether it takes no session.
    pub(super) fn is_sessionless(&self) -> bool {
        matches!(self.target, Target::Call(call) if call.sessionless)
    }

    /// Whether it can run behind a task.
    pub(super) fn has_async(&self) -> bool {
        let by_class = !matches!(self.class, Class::Session | Class::Task | Class::Event | Class::Message);
        match self.target {
            Target::Call(call) => {
                by_class && !call.name.starts_with("get_all") && !call.name.starts_with("get_allowed")
            }
            Target::Create | Target::Destroy => by_class,
            _ => false,
        }
    }
}
