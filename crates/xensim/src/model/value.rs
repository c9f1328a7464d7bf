//! Values as they travel: what a field holds, what a call takes and what it answers.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};

/// A record or a map: text keys, any values.
pub type Map = BTreeMap<String, Value>;

/// The text of a reference that names nothing.
pub const NULL_REF: &str = "OpaqueRef:NULL";

/// A reference to an object, as clients see it: `OpaqueRef:<uuid>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ref(Arc<str>);

impl Ref {
    /// A reference that no object has had before.
    pub fn fresh() -> Ref {
        Ref(format!("OpaqueRef:{}", uuid::Uuid::new_v4()).into())
    }

    /// The reference that names nothing.
    pub fn null() -> Ref {
        Ref(NULL_REF.into())
    }

    /// Whether this is the null reference. XAPI's own code also leaves `""` and `Ref:NULL` behind, so they count too.
    pub fn is_null(&self) -> bool {
        matches!(&*self.0, NULL_REF | "" | "Ref:NULL" | "NULL")
    }

    /// The text that travels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Ref {
    fn from(text: &str) -> Ref {
        Ref(text.into())
    }
}

impl From<String> for Ref {
    fn from(text: String) -> Ref {
        Ref(text.into())
    }
}

/// One value. References and enum members are text.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: the result of a void call, `<nil/>`, JSON `null`.
    Nil,
    /// Text, a reference or a member of an enum.
    Str(String),
    /// A 64-bit integer; plain text in XML-RPC.
    Int(i64),
    /// A 32-bit integer that keeps its tag in XML-RPC (`<i4>`): only `valid_ref_counts` of `event.from` has them.
    TaggedInt(i32),
    /// A floating point number.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A point in time, in seconds since 1970.
    Date(i64),
    /// A set or list.
    Set(Vec<Value>),
    /// A map or record.
    Map(Map),
}

impl Value {
    /// Text from anything that shows itself.
    pub fn text(text: impl fmt::Display) -> Value {
        Value::Str(text.to_string())
    }

    /// A set of texts.
    pub fn texts<T: fmt::Display>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::Set(texts.into_iter().map(Value::text).collect())
    }

    /// A map from texts to values.
    pub fn map<K: Into<String>, V: Into<Value>>(pairs: impl IntoIterator<Item = (K, V)>) -> Value {
        Value::Map(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::TaggedInt(number) => Some(i64::from(*number)),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The members, if it is a set.
    pub fn as_set(&self) -> Option<&[Value]> {
        match self {
            Value::Set(members) => Some(members),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Str(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Value {
        Value::Str(text.clone())
    }
}

impl From<&Ref> for Value {
    fn from(reference: &Ref) -> Value {
        Value::Str(reference.to_string())
    }
}

impl From<Ref> for Value {
    fn from(reference: Ref) -> Value {
        Value::from(&reference)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value::Bool(truth)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Float(number)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Value {
        Value::Map(map)
    }
}

impl From<Vec<Value>> for Value {
    fn from(members: Vec<Value>) -> Value {
        Value::Set(members)
    }
}

/// XAPI's form of a date: `20260821T02:00:23Z`.
pub fn date_text(seconds: i64) -> String {
    let moment = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H:%M:%SZ").to_string()
}

/// Reads a date in XAPI's form, with or without dashes, with or without a zone (then UTC).
pub fn date_from_text(text: &str) -> Option<i64> {
    let bare = text.trim();
    let (bare, offset_seconds) = split_zone(bare)?;
    let (date, time) = bare.split_once('T')?;
    let digits: String = date.chars().filter(|c| *c != '-').collect();
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let clock: String = time.chars().filter(|c| *c != ':').collect();
    if digits.len() != 8 || clock.len() != 6 {
        return None;
    }
    let year: i16 = digits.get(..4)?.parse().ok()?;
    let two = |text: &str, at: usize| -> Option<i8> { text.get(at..at + 2)?.parse().ok() };
    let civil = jiff::civil::DateTime::new(
        year,
        two(&digits, 4)?,
        two(&digits, 6)?,
        two(&clock, 0)?,
        two(&clock, 2)?,
        two(&clock, 4)?,
        0,
    )
    .ok()?;
    let utc = civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    utc.checked_sub(offset_seconds)
}

fn split_zone(text: &str) -> Option<(&str, i64)> {
    if let Some(bare) = text.strip_suffix('Z') {
        return Some((bare, 0));
    }
    let time_at = text.find('T')?;
    let Some(sign_at) = text.get(time_at..)?.find(['+', '-']).map(|at| at + time_at) else {
        return Some((text, 0));
    };
    let digits: String = text.get(sign_at + 1..)?.chars().filter(|c| *c != ':').collect();
    let hours: i64 = digits.get(..2)?.parse().ok()?;
    let minutes: i64 = digits.get(2..4).unwrap_or("00").parse().ok()?;
    let seconds = hours * 3600 + minutes * 60;
    let sign = if text.get(sign_at..)?.starts_with('-') { -1 } else { 1 };
    Some((text.get(..sign_at)?, sign * seconds))
}

/// The text that XAPI's database holds for a value: sets and maps as S-expressions.
pub fn database_text(value: &Value) -> String {
    match value {
        Value::Nil => String::new(),
        Value::Str(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::TaggedInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Date(seconds) => date_text(*seconds),
        Value::Set(members) => {
            let words: Vec<String> = members.iter().map(|member| format!("'{}'", database_text(member))).collect();
            format!("({})", words.join(" "))
        }
        Value::Map(map) => {
            let words: Vec<String> =
                map.iter().map(|(key, value)| format!("('{key}' '{}')", database_text(value))).collect();
            format!("({})", words.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dates_come_back() {
        for text in ["19700101T00:00:00Z", "20260821T02:00:23Z", "20000229T23:59:59Z"] {
            assert_eq!(date_text(date_from_text(text).unwrap()), text);
        }
    }

    #[test]
    fn dates_are_read_in_every_form() {
        let noon = date_from_text("20260821T12:00:00Z").unwrap();
        for text in ["2026-08-21T12:00:00Z", "20260821T12:00:00", "2026-08-21T14:00:00+02:00", "20260821T12:00:00.5Z"] {
            assert_eq!(date_from_text(text), Some(noon), "{text}");
        }
        for text in ["", "T", "2026", "20261321T12:00:00Z", "20260821T25:00:00Z", "ä0260821T12:00:00Z"] {
            assert_eq!(date_from_text(text), None, "{text}");
        }
    }
}
