//! The shape of every class: fields, their types and defaults, enums and calls.
//!
//! The tables stand as text in `schema/*.txt`, one class after the other:
//!
//! ```text
//! class VM [removed]
//!   enum NAME = MEMBER…                 (continued on lines that begin with `|`)
//!   rw|ro|init NAME: TYPE [= DEFAULT] [removed]
//!   generic create destroy get_all …    the constructors and queries that the class has
//!   call NAME(PARAM: TYPE, OPTIONAL?: TYPE) -> TYPE [removed] [sessionless] [hidden]
//! ```
//!
//! `rw` fields have setters, `ro` fields have none, and `init` fields can be given only to the constructor.

use std::{
    collections::{HashMap, HashSet},
    sync::OnceLock,
};

use super::{
    Class, Value,
    types::{Type, parse_default},
};

const TABLES: &[&str] = &[
    include_str!("schema/session.txt"),
    include_str!("schema/pool.txt"),
    include_str!("schema/vm.txt"),
    include_str!("schema/host.txt"),
    include_str!("schema/network.txt"),
    include_str!("schema/storage.txt"),
    include_str!("schema/device.txt"),
];

/// Who may write a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Clients, at any time.
    ReadWrite,
    /// The server alone.
    ReadOnly,
    /// Clients, in the constructor only.
    Initial,
}

/// One field of a class.
#[derive(Debug)]
pub struct Field {
    /// Name on the wire.
    pub name: String,
    /// What it holds.
    pub ty: Type,
    /// Who may write it.
    pub access: Access,
    /// What the constructor takes when the record leaves it out; `None`: it must be given.
    pub default: Option<Value>,
    /// Frozen: still in records, but its getter is gone.
    pub removed: bool,
}

impl Field {
    /// The value of the field in an object that says nothing of it.
    pub fn initial(&self) -> Value {
        self.default.clone().unwrap_or_else(|| self.ty.empty())
    }
}

/// One parameter of a call, the session left out.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name in the API reference.
    pub name: String,
    /// What it must be.
    pub ty: Type,
    /// Whether it may be left out.
    pub optional: bool,
}

/// One call that isn't one of the regular getters, setters and queries.
#[derive(Debug)]
pub struct Call {
    /// Name without the class.
    pub name: String,
    /// Parameters without the session.
    pub params: Vec<Param>,
    /// What it answers.
    pub result: Type,
    /// It no longer exists: MESSAGE_REMOVED.
    pub removed: bool,
    /// It takes no session.
    pub sessionless: bool,
    /// XAPI leaves it out of its reference, but serves it.
    pub hidden: bool,
}

/// One class.
#[derive(Debug)]
pub struct ClassDef {
    /// Which.
    pub class: Class,
    /// Kept for old clients only: queries answer MESSAGE_REMOVED.
    pub removed: bool,
    /// Fields in the order of the reference.
    pub fields: Vec<Field>,
    /// Which of `create destroy get_all get_all_records get_by_uuid get_by_name_label get_record` it has.
    pub generic: HashSet<String>,
    /// The other calls.
    pub calls: Vec<Call>,
    field_at: HashMap<String, usize>,
    call_at: HashMap<String, usize>,
}

impl ClassDef {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.field_at.get(name).map(|at| &self.fields[*at])
    }

    /// The call of that name.
    pub fn call(&self, name: &str) -> Option<&Call> {
        self.call_at.get(name).map(|at| &self.calls[*at])
    }

    /// Whether objects of it can be listed.
    pub fn is_listed(&self) -> bool {
        self.generic.contains("get_all_records") || self.call_at.contains_key("get_all_records")
    }
}

/// All classes and enums.
#[derive(Debug)]
pub struct Schema {
    classes: Vec<ClassDef>,
    enums: HashMap<String, Vec<String>>,
}

impl Schema {
    /// The one schema.
    pub fn get() -> &'static Schema {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Schema::parse(TABLES))
    }

    /// The shape of one class.
    pub fn class(&self, class: Class) -> &ClassDef {
        &self.classes[class as usize]
    }

    /// All classes.
    pub fn classes(&self) -> &[ClassDef] {
        &self.classes
    }

    /// The members of an enum.
    pub fn members(&self, name: &str) -> Option<&[String]> {
        self.enums.get(name).map(Vec::as_slice)
    }

    fn parse(tables: &[&str]) -> Schema {
        let mut reader = Reader::default();
        for table in tables {
            for line in table.lines() {
                reader.line(line);
            }
        }
        reader.finish()
    }
}

#[derive(Default)]
struct Reader {
    classes: Vec<ClassDef>,
    enums: HashMap<String, Vec<String>>,
    last_enum: String,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let rest = rest.trim();
        match word {
            "" => {}
            "class" => self.class(rest),
            "enum" => {
                let (name, members) = rest.split_once('=').expect("the tables are our own: enum NAME = …");
                self.last_enum = name.trim().to_owned();
                self.members(members);
            }
            "|" => self.members(rest),
            "rw" => self.field(Access::ReadWrite, rest),
            "ro" => self.field(Access::ReadOnly, rest),
            "init" => self.field(Access::Initial, rest),
            "generic" => self.last().generic.extend(rest.split(' ').map(str::to_owned)),
            "call" => self.call(rest),
            other => unreachable!("the tables are our own: {other}"),
        }
    }

    fn last(&mut self) -> &mut ClassDef {
        self.classes.last_mut().expect("the tables are our own: a class comes first")
    }

    fn class(&mut self, rest: &str) {
        let (name, flags) = rest.split_once(' ').unwrap_or((rest, ""));
        self.classes.push(ClassDef {
            class: Class::parse(name).expect("the tables are our own: a known class"),
            removed: flags.contains("removed"),
            fields: Vec::new(),
            generic: HashSet::new(),
            calls: Vec::new(),
            field_at: HashMap::new(),
            call_at: HashMap::new(),
        });
    }

    fn members(&mut self, text: &str) {
        let members = text.split_whitespace().map(str::to_owned);
        self.enums.entry(self.last_enum.clone()).or_default().extend(members);
    }

    fn field(&mut self, access: Access, rest: &str) {
        let (rest, removed) = match rest.strip_suffix(" removed") {
            Some(rest) => (rest, true),
            None => (rest, false),
        };
        let (name, rest) = rest.split_once(':').expect("the tables are our own: NAME: TYPE");
        let (ty, default) = match rest.split_once(" = ") {
            Some((ty, default)) => (Type::parse(ty.trim()), Some(default.trim())),
            None => (Type::parse(rest.trim()), None),
        };
        let default = default.map(|text| parse_default(&ty, text));
        let class = self.last();
        class.field_at.insert(name.to_owned(), class.fields.len());
        class.fields.push(Field { name: name.to_owned(), ty, access, default, removed });
    }

    fn call(&mut self, rest: &str) {
        let (name, rest) = rest.split_once('(').expect("the tables are our own: NAME(");
        let (params, rest) = rest.split_once(") -> ").expect("the tables are our own: ) -> TYPE");
        let flags: Vec<&str> = rest.split(' ').collect();
        let known: &[&str] = &["removed", "sessionless", "hidden"];
        let result: Vec<&str> = flags.iter().copied().filter(|word| !known.contains(word)).collect();
        let call = Call {
            name: name.to_owned(),
            params: split_params(params).into_iter().map(parse_param).collect(),
            result: Type::parse(&result.join(" ")),
            removed: flags.contains(&"removed"),
            sessionless: flags.contains(&"sessionless"),
            hidden: flags.contains(&"hidden"),
        };
        let class = self.last();
        class.call_at.insert(call.name.clone(), class.calls.len());
        class.calls.push(call);
    }

    fn finish(mut self) -> Schema {
        self.classes.sort_by_key(|def| def.class);
        assert_eq!(self.classes.len(), Class::ALL.len(), "one table for each class");
        for def in &mut self.classes {
            resolve_enums(def, &self.enums);
        }
        Schema { classes: self.classes, enums: self.enums }
    }
}

/// An enum field without a default starts as the first member of its enum: every object must hold a legal value.
fn resolve_enums(def: &mut ClassDef, enums: &HashMap<String, Vec<String>>) {
    for field in &mut def.fields {
        if let Type::Enum { name, first } = &mut field.ty {
            let members = enums.get(name).expect("the tables are our own: enums are declared");
            first.clone_from(&members[0]);
        }
    }
}

fn parse_param(text: &str) -> Param {
    let (name, ty) = text.split_once(':').expect("the tables are our own: PARAM: TYPE");
    let (name, optional) = match name.strip_suffix('?') {
        Some(name) => (name, true),
        None => (name, false),
    };
    Param { name: name.trim().to_owned(), ty: Type::parse(ty.trim()), optional }
}

/// Splits at the commas that stand outside of angle brackets.
fn split_params(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}
