//! Types of fields and parameters, and how a value from the wire becomes one of the type.

use super::{Class, NULL_REF, Schema, Value, value::date_from_text};

/// The type of a field, a parameter or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Nothing.
    Void,
    /// Text.
    Str,
    /// 64-bit integer.
    Int,
    /// Floating point number.
    Float,
    /// Truth value.
    Bool,
    /// Point in time.
    Date,
    /// A member of the named enum.
    Enum {
        /// Name of the enum.
        name: String,
        /// Its first member.
        first: String,
    },
    /// Reference to an object of the class.
    Ref(Class),
    /// Set of.
    Set(Box<Type>),
    /// Map from, to.
    Map(Box<Type>, Box<Type>),
    /// There or not.
    Option(Box<Type>),
    /// Whole record of the named class (`any` in events).
    Record(String),
    /// What `event.from` answers.
    EventBatch,
}

impl Type {
    /// Reads `set<ref<VM>>` and the like. The text is our own table's, so a mistake in it panics (and a test reads all of it).
    pub(super) fn parse(text: &str) -> Type {
        if let Some((outer, inner)) = text.strip_suffix('>').and_then(|text| text.split_once('<')) {
            return match outer {
                "ref" => Type::Ref(Class::parse(inner).expect("the tables are our own: a known class")),
                "set" => Type::Set(Box::new(Type::parse(inner))),
                "option" => Type::Option(Box::new(Type::parse(inner))),
                "record" => Type::Record(inner.to_owned()),
                "map" => {
                    let at = map_comma(inner).expect("the tables are our own: map<KEY, VALUE>");
                    Type::Map(Box::new(Type::parse(inner[..at].trim())), Box::new(Type::parse(inner[at + 1..].trim())))
                }
                other => unreachable!("the tables are our own: {other}"),
            };
        }
        match text {
            "void" => Type::Void,
            "string" => Type::Str,
            "int" => Type::Int,
            "float" => Type::Float,
            "bool" => Type::Bool,
            "datetime" => Type::Date,
            "event_batch" => Type::EventBatch,
            name => Type::Enum { name: name.to_owned(), first: String::new() },
        }
    }

    /// The value of a field that nobody has written.
    pub fn empty(&self) -> Value {
        match self {
            Type::Void | Type::EventBatch => Value::Nil,
            Type::Str => Value::from(""),
            Type::Int => Value::Int(0),
            Type::Float => Value::Float(0.0),
            Type::Bool => Value::Bool(false),
            Type::Date => Value::Date(0),
            Type::Enum { first, .. } => Value::from(first.as_str()),
            Type::Ref(_) => Value::from(NULL_REF),
            Type::Set(_) | Type::Option(_) => Value::Set(Vec::new()),
            Type::Map(..) | Type::Record(_) => Value::Map(Default::default()),
        }
    }

    /// Makes of a value from the wire one of this type: numbers may come as text, dates as text. `None`: it can't be one.
    pub fn coerce(&self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Type::Void | Type::EventBatch, _) => Some(Value::Nil),
            (Type::Str, Value::Str(_)) => Some(value.clone()),
            (Type::Str, Value::Date(seconds)) => Some(Value::from(super::value::date_text(*seconds))),
            (Type::Ref(_), Value::Str(text)) => {
                Some(Value::from(if text.is_empty() { NULL_REF } else { text.as_str() }))
            }
            (Type::Enum { name, .. }, Value::Str(text)) => {
                let members = Schema::get().members(name)?;
                members.contains(text).then(|| value.clone())
            }
            (Type::Int, Value::Int(_)) => Some(value.clone()),
            (Type::Int, Value::TaggedInt(number)) => Some(Value::Int(i64::from(*number))),
            (Type::Int, Value::Str(text)) => text.trim().parse().ok().map(Value::Int),
            (Type::Int, Value::Float(number)) => whole(*number),
            (Type::Float, Value::Float(_)) => Some(value.clone()),
            (Type::Float, Value::Str(text)) => text.trim().parse().ok().map(Value::Float),
            (Type::Bool, Value::Bool(_)) => Some(value.clone()),
            (Type::Date, Value::Date(_)) => Some(value.clone()),
            (Type::Date, Value::Str(text)) => date_from_text(text).map(Value::Date),
            (Type::Set(inner), Value::Set(members)) => {
                members.iter().map(|member| inner.coerce(member)).collect::<Option<_>>().map(Value::Set)
            }
            (Type::Map(key, inner), Value::Map(map)) => map
                .iter()
                .map(|(name, value)| {
                    key.coerce(&Value::from(name))?;
                    Some((name.clone(), inner.coerce(value)?))
                })
                .collect::<Option<_>>()
                .map(Value::Map),
            (Type::Record(_), Value::Map(_)) => Some(value.clone()),
            (Type::Option(_), Value::Nil) => Some(Value::Nil),
            (Type::Option(inner), value) => inner.coerce(value),
            _ => None,
        }
    }
}

/// JavaScript clients write every number the same way, so `60.0` may stand for an integer.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked")]
fn whole(number: f64) -> Option<Value> {
    (number.fract() == 0.0 && number.abs() < 9e18).then_some(Value::Int(number as i64))
}

fn map_comma(text: &str) -> Option<usize> {
    let mut depth = 0_i32;
    text.char_indices().find_map(|(at, c)| {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        (c == ',' && depth == 0).then_some(at)
    })
}

/// Reads a default of our tables: `""`, `"text"`, `null`, `{}`, `{0}`, `{"a" -> "b"}`, `1.`, `true`, a date, an enum member.
pub(super) fn parse_default(ty: &Type, text: &str) -> Value {
    let bare = |text: &str| text.trim().trim_matches('"').to_owned();
    match ty {
        Type::Map(_, inner) => {
            let inside = text.trim_matches(['{', '}']);
            let pairs = inside.split(',').filter_map(|pair| pair.split_once("->"));
            Value::map(pairs.map(|(key, value)| (bare(key), parse_default(inner, &bare(value)))))
        }
        Type::Set(inner) => {
            let inside = text.trim_matches(['{', '}']);
            let members = inside.split(',').filter(|member| !member.trim().is_empty());
            Value::Set(members.map(|member| parse_default(inner, &bare(member))).collect())
        }
        Type::Ref(_) => Value::from(NULL_REF),
        Type::Bool => Value::Bool(text == "true"),
        Type::Enum { .. } => Value::from(text),
        _ => ty.coerce(&Value::from(bare(text))).expect("the tables are our own: a default of its type"),
    }
}
