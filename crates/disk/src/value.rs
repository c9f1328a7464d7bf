//! XML-RPC values: the grammar of `ova.xml` (and of XenServer's XML-RPC, facts from ocaml-rpc's `xmlrpc.ml`).
//!
//! Parsing is lenient where writers differ (strings with and without tag, white space between tags, `i4` and `i8`)
//! and strict about size and depth. Writing is in XenServer's own dialect: strings without a tag.

use crate::Error;

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{parse, parse_call};

/// Longest text that is parsed.
pub const MAX_TEXT_BYTES: usize = 64 << 20;
/// Deepest nesting of arrays and structs.
pub const MAX_DEPTH: usize = 64;
/// Most values in one text.
pub const MAX_VALUES: usize = 1_000_000;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text. XenServer writes 64-bit integers as text too, see [`Value::decimal`].
    String(String),
    /// A tagged integer (`i4`, `i8` or `int`).
    Int(i64),
    /// `boolean`.
    Bool(bool),
    /// `double`.
    Double(f64),
    /// `dateTime.iso8601`, as it was written.
    DateTime(String),
    /// `array`.
    Array(Vec<Value>),
    /// `struct`.
    Struct(Struct),
    /// `nil`.
    Nil,
}

impl Value {
    /// An integer as XenServer writes it in records: as untagged text.
    #[must_use]
    pub fn decimal(number: i64) -> Self {
        Value::String(number.to_string())
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) | Value::DateTime(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is an integer, tagged or written as text.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// The struct, if it is one.
    #[must_use]
    pub fn as_struct(&self) -> Option<&Struct> {
        match self {
            Value::Struct(fields) => Some(fields),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value as an XML element `<value>…</value>`.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = String::new();
        self.write(&mut xml);
        xml
    }

    /// Appends the XML element `<value>…</value>` to `xml`.
    pub fn write(&self, xml: &mut String) {
        xml.push_str("<value>");
        match self {
            Value::String(text) => escape(text, xml),
            Value::Int(number) => tagged("i4", &number.to_string(), xml),
            Value::Bool(flag) => tagged("boolean", if *flag { "1" } else { "0" }, xml),
            Value::Double(number) => tagged("double", &number.to_string(), xml),
            Value::DateTime(text) => tagged("dateTime.iso8601", text, xml),
            Value::Array(elements) => {
                xml.push_str("<array><data>");
                elements.iter().for_each(|element| element.write(xml));
                xml.push_str("</data></array>");
            }
            Value::Struct(fields) => fields.write(xml),
            Value::Nil => xml.push_str("<nil/>"),
        }
        xml.push_str("</value>");
    }
}

fn tagged(tag: &str, text: &str, xml: &mut String) {
    xml.extend(["<", tag, ">"]);
    escape(text, xml);
    xml.extend(["</", tag, ">"]);
}

/// Control characters that XML cannot hold are left out, as XenServer does. CR is written as a reference, because
/// parsers turn a plain one into LF.
fn escape(text: &str, xml: &mut String) {
    for character in text.chars() {
        match character {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\r' => xml.push_str("&#13;"),
            '\t' | '\n' => xml.push(character),
            character if character.is_ascii_control() && character != '\u{7f}' => {}
            '\u{fffe}' | '\u{ffff}' => {}
            character => xml.push(character),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Value::Bool(flag)
    }
}

impl From<Struct> for Value {
    fn from(fields: Struct) -> Self {
        Value::Struct(fields)
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Self {
        Value::Array(elements)
    }
}

/// Named values in the order in which they were written: a record, or a map. Of two of the same name the first counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Struct {
    members: Vec<(String, Value)>,
}

impl Struct {
    /// A struct without members.
    #[must_use]
    pub fn new() -> Self {
        Struct::default()
    }

    /// The value of a member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The value of a member, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.members.iter_mut().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Gives a member a new value, in its old place, or adds it at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.get_mut(name) {
            Some(old) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    /// Removes a member.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.members.iter().position(|(key, _)| key == name)?;
        Some(self.members.remove(at).1)
    }

    /// The text of a member, if it is there and is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// The integer of a member, if it is there and is one.
    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        self.get(name)?.as_int()
    }

    /// The truth value of a member, if it is there and is one.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// The struct in a member (a map such as `other_config`), if it is there and is one.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<&Struct> {
        self.get(name)?.as_struct()
    }

    /// The struct in a member, to be changed; an empty one is made of whatever else is there.
    pub fn map_mut(&mut self, name: &str) -> &mut Struct {
        if self.map(name).is_none() {
            self.set(name, Struct::new());
        }
        match self.get_mut(name) {
            Some(Value::Struct(fields)) => fields,
            _ => unreachable!("the member was made a struct above"),
        }
    }

    /// The elements of the array in a member; none if there is none.
    pub fn array(&self, name: &str) -> &[Value] {
        self.get(name).and_then(Value::as_array).unwrap_or_default()
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.members.iter_mut().map(|(_, value)| value)
    }

    /// Number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Is there no member?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a member without looking whether there is one of that name.
    fn push(&mut self, name: String, value: Value) {
        self.members.push((name, value));
    }

    fn write(&self, xml: &mut String) {
        xml.push_str("<struct>");
        for (name, value) in &self.members {
            xml.push_str("<member><name>");
            escape(name, xml);
            xml.push_str("</name>");
            value.write(xml);
            xml.push_str("</member>");
        }
        xml.push_str("</struct>");
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Struct {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(members: I) -> Self {
        Struct { members: members.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

impl IntoIterator for Struct {
    type Item = (String, Value);
    type IntoIter = std::vec::IntoIter<(String, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.members.into_iter()
    }
}

fn not_a_value(what: impl std::fmt::Display) -> Error {
    Error::damaged(format!("not an XML-RPC value: {what}"))
}
