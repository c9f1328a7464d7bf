//! The pool's database as XML, as a host writes it and reads it again (xapi: `db_xml.ml`, `xml_spaces.ml`).

use std::fmt::Write as _;

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};

use super::{Class, Map, Ref, Schema, Tables, Type, Value, value::date_text};

/// Version of the schema: of the release that the simulated hosts have.
pub const SCHEMA: (u32, u32) = (5, 787);

/// Fields whose first word is a name space of the database: `name_label` is `name__label` there.
const NAME_SPACES: &[&str] = &["name", "memory", "VCPUs", "actions", "HVM", "qos", "API_version"];
const PV_FIELDS: &[&str] =
    &["PV_kernel", "PV_ramdisk", "PV_args", "PV_bootloader", "PV_bootloader_args", "PV_legacy_args"];

/// A row of a dump.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its class.
    pub class: Class,
    /// Its reference.
    pub reference: Ref,
    /// Its fields.
    pub fields: Map,
}

/// A dump that was read.
#[derive(Debug, Default)]
pub struct Dump {
    /// Version of its schema; none where it says none.
    pub schema: Option<(u32, u32)>,
    /// All rows.
    pub rows: Vec<Row>,
}

/// Whether the rows of a class lie in the database. Alerts lie in files.
fn is_stored(class: Class) -> bool {
    !matches!(class, Class::Message | Class::Event)
}

/// Whether they outlive a restart.
fn is_persistent(class: Class) -> bool {
    is_stored(class) && !matches!(class, Class::Session | Class::Task)
}

/// Writes all tables.
pub fn write(t: &Tables) -> String {
    let mut xml = manifest(t.generation());
    for def in Schema::get().classes().iter().filter(|def| is_stored(def.class)) {
        let rows = if is_persistent(def.class) { t.all(def.class) } else { Vec::new() };
        if rows.is_empty() {
            let _ = write!(xml, r#"<table name="{}"/>"#, def.class.name());
            continue;
        }
        let _ = write!(xml, r#"<table name="{}">"#, def.class.name());
        for reference in rows {
            let Some(object) = t.object(&reference) else { continue };
            let (created, modified) = (object.created, object.modified);
            let _ =
                write!(xml, r#"<row ref="{reference}" __ctime="{created}" __mtime="{modified}" _ref="{reference}""#);
            for field in &def.fields {
                let value = t.get(&reference, &field.name).map(stored_text).unwrap_or_default();
                let _ = write!(xml, r#" {}="{}""#, column(&field.name), escape(protect(&value)));
            }
            xml.push_str("/>");
        }
        xml.push_str("</table>");
    }
    xml.push_str("</database>");
    xml
}

/// What is sent during a rolling upgrade: a database without anything in it.
pub fn stub() -> String {
    manifest(0) + "</database>"
}

fn manifest(generation: u64) -> String {
    let (major, minor) = SCHEMA;
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<database><manifest><pair key=\"schema_major_vsn\" \
         value=\"{major}\"/><pair key=\"schema_minor_vsn\" value=\"{minor}\"/><pair key=\"generation_count\" \
         value=\"{generation}\"/></manifest>"
    )
}

/// The name of a field in the database.
fn column(field: &str) -> String {
    let spaced = NAME_SPACES.iter().find_map(|space| {
        let rest = field.strip_prefix(space)?.strip_prefix('_')?;
        Some(format!("{space}__{rest}"))
    });
    match spaced {
        Some(spaced) => spaced,
        None if PV_FIELDS.contains(&field) => field.replacen('_', "__", 1),
        None => field.to_owned(),
    }
}

/// A value as text: sets and maps as S-expressions.
fn stored_text(value: &Value) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"));
    match value {
        Value::Nil => String::new(),
        Value::Str(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::TaggedInt(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Date(seconds) => date_text(*seconds),
        Value::Set(members) => {
            let words: Vec<String> = members.iter().map(|member| quoted(&stored_text(member))).collect();
            format!("({})", words.join(" "))
        }
        Value::Map(map) => {
            let pair = |(key, value): (&String, &Value)| format!("({} {})", quoted(key), quoted(&stored_text(value)));
            let words: Vec<String> = map.iter().map(pair).collect();
            format!("({})", words.join(" "))
        }
    }
}

/// XML makes one space of any white space in an attribute, so none may be in one.
fn protect(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' => safe.push_str("%."),
            '\t' => safe.push_str("%t"),
            '\n' => safe.push_str("%n"),
            '\r' => safe.push_str("%r"),
            '%' => safe.push_str("%%"),
            c => safe.push(c),
        }
    }
    safe
}

fn unprotect(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let meant = match c {
            '%' => match chars.next() {
                Some('.' | '_') => ' ',
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '%',
            },
            c => c,
        };
        plain.push(meant);
    }
    plain
}

/// Reads a dump.
pub fn parse(xml: &str) -> Result<Dump, String> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut dump = Dump::default();
    let mut versions = (None, None);
    let (mut class, mut ended) = (None, false);
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Eof if ended => break,
            Event::Eof => return Err("it ends before its last tag".to_owned()),
            Event::End(tag) if tag.name().as_ref() == "database" => ended = true,
            Event::Start(tag) | Event::Empty(tag) => match tag.name().as_ref() {
                "table" => class = attribute(&tag, "name")?.and_then(|name| Class::parse(&name)),
                "pair" => {
                    let number = attribute(&tag, "value")?.and_then(|value| value.parse().ok());
                    match attribute(&tag, "key")?.as_deref() {
                        Some("schema_major_vsn") => versions.0 = number,
                        Some("schema_minor_vsn") => versions.1 = number,
                        _ => {}
                    }
                }
                "row" => dump.rows.extend(class.map(|class| row(class, &tag)).transpose()?),
                _ => {}
            },
            _ => {}
        }
    }
    dump.schema = versions.0.zip(versions.1);
    Ok(dump)
}

fn attributes(tag: &BytesStart<'_>) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|error| error.to_string())?;
        found.push((attribute.key.as_ref().to_owned(), value.into_owned()));
    }
    Ok(found)
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Result<Option<String>, String> {
    Ok(attributes(tag)?.into_iter().find(|(key, _)| key == name).map(|(_, value)| value))
}

fn row(class: Class, tag: &BytesStart<'_>) -> Result<Row, String> {
    let columns: std::collections::HashMap<String, String> = attributes(tag)?.into_iter().collect();
    let reference = columns.get("ref").ok_or_else(|| format!("a row of {} without ref", class.name()))?;
    let mut fields = Map::new();
    for field in &Schema::get().class(class).fields {
        let text = columns.get(&column(&field.name)).map(|text| unprotect(text));
        let value = text.and_then(|text| stored_value(&field.ty, &text));
        fields.insert(field.name.clone(), value.unwrap_or_else(|| field.initial()));
    }
    Ok(Row { class, reference: Ref::from(reference.as_str()), fields })
}

fn stored_value(ty: &Type, text: &str) -> Option<Value> {
    match ty {
        Type::Set(inner) | Type::Option(inner) => {
            let words = words(text)?;
            words.iter().map(|word| stored_value(inner, word)).collect::<Option<_>>().map(Value::Set)
        }
        Type::Map(_, inner) => {
            let mut map = Map::new();
            for pair in words(text)? {
                let [key, value] = <[String; 2]>::try_from(words(&pair)?).ok()?;
                map.insert(key, stored_value(inner, &value)?);
            }
            Some(Value::Map(map))
        }
        Type::Bool => Some(Value::Bool(text == "true")),
        _ => ty.coerce(&Value::from(text)),
    }
}

/// The words of an S-expression: quoted ones without their quotes, lists as they are.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = text.strip_prefix('(')?.strip_suffix(')')?.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => words.push(quoted(&mut chars)?),
            '(' => words.push(list(&mut chars)?),
            ' ' => {}
            _ => return None,
        }
    }
    Some(words)
}

fn quoted(chars: &mut std::str::Chars<'_>) -> Option<String> {
    let mut word = String::new();
    loop {
        match chars.next()? {
            '\'' => return Some(word),
            '\\' => word.push(chars.next()?),
            c => word.push(c),
        }
    }
}

/// The rest of a list, with its parentheses.
fn list(chars: &mut std::str::Chars<'_>) -> Option<String> {
    let mut text = "(".to_owned();
    let (mut depth, mut in_quotes) = (1, false);
    while depth > 0 {
        let c = chars.next()?;
        text.push(c);
        match c {
            '\\' => text.push(chars.next()?),
            '\'' => in_quotes = !in_quotes,
            '(' if !in_quotes => depth += 1,
            ')' if !in_quotes => depth -= 1,
            _ => {}
        }
    }
    Some(text)
}

impl Tables {
    /// Puts the rows of a dump in the place of all that a database holds.
    pub fn restore(&mut self, rows: &[Row]) {
        for class in Class::ALL.iter().copied().filter(|class| is_persistent(*class)) {
            for reference in self.all(class) {
                self.destroy(&reference);
            }
        }
        for row in rows.iter().filter(|row| is_persistent(row.class)) {
            self.insert(row.class, row.reference.clone(), row.fields.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let mut t = Tables::default();
        let odd = "two  spaces, a tab\t, a line\nend, 100 %, %n and <\"quotes\"> & 'more' \\ (all)";
        let vm = t.create(
            Class::Vm,
            [
                ("name_label", Value::from(odd)),
                ("other_config", Value::map([(odd, odd), ("b", "")])),
                ("tags", Value::texts([odd, "", "x"])),
                ("memory_static_max", Value::Int(1 << 40)),
                ("is_a_template", Value::Bool(true)),
            ],
        );
        t.create(Class::Session, []);
        let xml = write(&t);
        assert!(xml.ends_with("</database>") && xml.contains(r#"<table name="session"/>"#), "{xml}");
        assert!(xml.contains(r#" name__label="two%.%.spaces,%.a%.tab%t,"#), "{xml}");
        assert!(!xml.split_once("<database>").unwrap().1.contains('\n'));
        let dump = parse(&xml).unwrap();
        assert_eq!((dump.schema, dump.rows.len()), (Some(SCHEMA), 1));
        assert_eq!(dump.rows[0].fields, t.record(&vm).unwrap());
        t.set(&vm, "name_label", "another");
        t.restore(&dump.rows);
        assert_eq!((t.str(&vm, "name_label"), t.count(Class::Session)), (odd.to_owned(), 1));
    }

    #[test]
    fn what_is_cut_short_is_refused() {
        let xml = write(&Tables::default());
        for end in [0, 10, xml.len() / 2, xml.len() - 1] {
            assert!(parse(&xml[..end]).is_err(), "{end}");
        }
        assert!(parse("<database></databas>").is_err());
    }
}
