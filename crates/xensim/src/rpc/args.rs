//! The arguments of a call, already of the types that the schema asks for.

use crate::{
    error::ApiError,
    model::{Access, Class, Map, Param, Ref, Schema, Value},
};

/// Arguments by position, the session left out. What a client left out is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Args(Vec<Option<Value>>);

impl Args {
    /// Takes values that match the parameters, in number and type.
    pub(super) fn new(params: &[Param], values: &[Value]) -> Result<Args, ApiError> {
        let taken = params.iter().enumerate().map(|(at, param)| match values.get(at) {
            None => Ok(None),
            Some(value) => match param.ty.coerce(value) {
                Some(value) => Ok(Some(value)),
                None => Err(ApiError::new("FIELD_TYPE_ERROR", [&param.name])),
            },
        });
        Ok(Args(taken.collect::<Result<_, _>>()?))
    }

    fn get(&self, at: usize) -> Option<&Value> {
        self.0.get(at)?.as_ref()
    }

    /// Whether the client gave it.
    pub(crate) fn given(&self, at: usize) -> bool {
        self.get(at).is_some()
    }

    /// A value of any type; nothing when left out.
    pub(crate) fn value(&self, at: usize) -> Value {
        self.get(at).cloned().unwrap_or(Value::Nil)
    }

    /// A reference; null when left out.
    pub(crate) fn reference(&self, at: usize) -> Ref {
        self.get(at).and_then(Value::as_str).map_or_else(Ref::null, Ref::from)
    }

    /// A text; empty when left out.
    pub(crate) fn text(&self, at: usize) -> String {
        self.get(at).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// An integer; 0 when left out.
    pub(crate) fn int(&self, at: usize) -> i64 {
        self.get(at).and_then(Value::as_int).unwrap_or_default()
    }

    /// A number; 0 when left out.
    pub(crate) fn float(&self, at: usize) -> f64 {
        match self.get(at) {
            Some(Value::Float(number)) => *number,
            _ => 0.0,
        }
    }

    /// A truth value; false when left out.
    pub(crate) fn truth(&self, at: usize) -> bool {
        matches!(self.get(at), Some(Value::Bool(true)))
    }

    /// A map or record; empty when left out.
    pub(crate) fn map(&self, at: usize) -> Map {
        self.get(at).and_then(Value::as_map).cloned().unwrap_or_default()
    }

    /// A set of texts or references; empty when left out.
    pub(crate) fn texts(&self, at: usize) -> Vec<String> {
        let members = self.get(at).and_then(Value::as_set).unwrap_or_default();
        members.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What a constructor's record says of a reference field.
    pub(crate) fn field_reference(record: &Map, field: &str) -> Ref {
        record.get(field).and_then(Value::as_str).map_or_else(Ref::null, Ref::from)
    }
}

/// Checks a constructor's record: fields that have no default must be there, and all must be of their types, which they
/// then have. What the class doesn't know is left out.
pub(crate) fn checked_record(class: Class, record: &Map) -> Result<Map, ApiError> {
    let mut checked = Map::new();
    for field in &Schema::get().class(class).fields {
        let needed = field.access != Access::ReadOnly;
        match record.get(&field.name).map(|value| field.ty.coerce(value)) {
            Some(Some(value)) => {
                checked.insert(field.name.clone(), value);
            }
            Some(None) if needed => return Err(ApiError::new("FIELD_TYPE_ERROR", [&field.name])),
            None if needed && field.default.is_none() => {
                let text = format!("Server_helpers.Dispatcher_FieldNotFound(\"{}\")", field.name);
                return Err(ApiError::internal(text));
            }
            _ => {}
        }
    }
    Ok(checked)
}
