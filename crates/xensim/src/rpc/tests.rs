#![allow(clippy::unwrap_used)]
//! The model beside XAPI's own: fields, types, enums, messages and their parameters.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value as Json;

use super::{
    Flavour, TELL_THUMBPRINT, handle,
    method::{self, Target},
};
use crate::model::{Access, Class, Schema, Type};

/// XAPI's machine-readable data model is not part of the project; where it lies beside the checkout, the model is judged by it.
fn reference() -> Option<Vec<Json>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/xenapi.json");
    match std::fs::read(&path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap()),
        Err(error) => {
            println!("NOT COMPARED with XAPI's data model: {} ({error})", path.display());
            None
        }
    }
}

fn text<'a>(json: &'a Json, key: &str) -> &'a str {
    json[key].as_str().unwrap_or_default()
}

fn list<'a>(json: &'a Json, key: &str) -> &'a [Json] {
    json[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_removed(json: &Json) -> bool {
    json["lifecycle"]["state"] == "Removed_s"
}

/// XAPI's words for a type, as a type of the model.
fn parse_type(words: &str) -> Type {
    if let Some(inside) = words.strip_prefix('(').and_then(|words| words.strip_suffix(") map")) {
        let (key, value) = inside.split_once(" -> ").unwrap();
        return Type::Map(Box::new(parse_type(key)), Box::new(parse_type(value)));
    }
    for (suffix, wrap) in [(" set", Type::Set as fn(Box<Type>) -> Type), (" option", Type::Option)] {
        if let Some(inner) = words.strip_suffix(suffix) {
            return wrap(Box::new(parse_type(inner)));
        }
    }
    if let Some(class) = words.strip_suffix(" ref") {
        return Type::Ref(Class::parse(class).unwrap());
    }
    if let Some(class) = words.strip_suffix(" record") {
        return Type::Record(class.replace("<class>", "any"));
    }
    match words {
        "an event batch" => Type::EventBatch,
        "void" => Type::Void,
        "string" => Type::Str,
        "int" => Type::Int,
        "float" => Type::Float,
        "bool" => Type::Bool,
        "datetime" => Type::Date,
        other => Type::Enum { name: other.strip_prefix("enum ").unwrap().to_owned(), first: String::new() },
    }
}

/// Whether two types are the same; enums by name.
fn same(ours: &Type, theirs: &Type) -> bool {
    match (ours, theirs) {
        (Type::Enum { name: a, .. }, Type::Enum { name: b, .. }) => a == b,
        (Type::Set(a), Type::Set(b)) | (Type::Option(a), Type::Option(b)) => same(a, b),
        (Type::Map(a, b), Type::Map(c, d)) => same(a, c) && same(b, d),
        (a, b) => a == b,
    }
}

#[test]
fn fields_are_xapis() {
    let Some(reference) = reference() else { return };
    assert_eq!(reference.len(), Class::ALL.len());
    for theirs in &reference {
        let class = Class::parse(text(theirs, "name")).unwrap();
        let def = Schema::get().class(class);
        let names: Vec<&str> = list(theirs, "fields").iter().map(|field| text(field, "name")).collect();
        let ours: Vec<&str> = def.fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(ours, names, "{}", class.name());
        for field in list(theirs, "fields") {
            let about = format!("{}.{}", class.name(), text(field, "name"));
            let ours = def.field(text(field, "name")).unwrap();
            assert!(same(&ours.ty, &parse_type(text(field, "type"))), "{about}: {:?}", ours.ty);
            let access = match text(field, "qualifier") {
                "RW" => Access::ReadWrite,
                "RO/constructor" => Access::Initial,
                _ => Access::ReadOnly,
            };
            assert_eq!(ours.access, access, "{about}");
            assert_eq!(ours.default.is_some(), field.get("default").is_some(), "{about}");
            assert_eq!(ours.removed, is_removed(field), "{about}");
        }
        for theirs in list(theirs, "enums") {
            let members: Vec<&str> = list(theirs, "values").iter().map(|value| text(value, "name")).collect();
            assert_eq!(Schema::get().members(text(theirs, "name")).unwrap(), members, "{}", text(theirs, "name"));
        }
    }
}

#[test]
fn messages_are_xapis() {
    let Some(reference) = reference() else { return };
    let mut theirs = BTreeSet::new();
    for class in &reference {
        for message in list(class, "messages") {
            let name = format!("{}.{}", text(class, "name"), text(message, "name"));
            check_message(&name, message);
            theirs.insert(name);
        }
    }
    for name in method::all() {
        let known = theirs.contains(&name) || name.ends_with(".get_all_records_where");
        let hidden = matches!(method::find(&name).unwrap().target, Target::Call(call) if call.hidden);
        assert!(known || hidden, "XAPI has no {name}");
    }
}

fn check_message(name: &str, message: &Json) {
    let ours = method::find(name).unwrap_or_else(|| panic!("{name} is missing"));
    assert_eq!(ours.removed, is_removed(message), "{name}");
    let params = list(message, "params");
    let takes_session = params.first().is_some_and(|param| text(param, "name") == "session_id");
    assert_eq!(ours.is_sessionless(), !takes_session, "{name}");
    let params = &params[usize::from(takes_session)..];
    let our_params = ours.params();
    assert_eq!(our_params.len(), params.len(), "{name}");
    for (param, theirs) in our_params.iter().zip(params) {
        assert_eq!(param.name, text(theirs, "name"), "{name}");
        assert_eq!(param.optional, theirs["required"] == false, "{name} {}", param.name);
        assert!(same(&param.ty, &parse_type(text(theirs, "type"))), "{name} {}: {:?}", param.name, param.ty);
    }
    if let Target::Call(call) = ours.target {
        assert!(same(&call.result, &parse_type(message["result"][0].as_str().unwrap())), "{name}");
    }
}

#[test]
fn names_have_aliases() {
    for (name, class) in [
        ("VM.get_all", Class::Vm),
        ("VM_get_all", Class::Vm),
        ("VM_guest_metrics_get_all", Class::VmGuestMetrics),
        ("host_metrics_get_record", Class::HostMetrics),
        ("session_login_with_password", Class::Session),
    ] {
        assert_eq!(method::find(name).map(|method| method.class), Some(class), "{name}");
    }
    for name in ["VM.get_no_such", "VM", "vm.get_all", "", "_", "VM.set_uuid", "event.get_all"] {
        assert!(method::find(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn answers_come_in_their_envelopes() {
    let bench = crate::testing::Bench::new().await;
    let ask = |flavour: Flavour, host: usize, body: String| {
        let world = bench.world.clone();
        async move { handle(&world, host, flavour, Some("sha-256:master"), body.as_bytes()).await }
    };
    let xml = |method: &str, params: &str| {
        format!("<methodCall><methodName>{method}</methodName><params>{params}</params></methodCall>")
    };
    let param = |text: &str| format!("<param><value>{text}</value></param>");
    let session = bench.session.as_str().unwrap().to_owned();

    let reply = ask(Flavour::Xml, 0, xml("pool.get_all", &param(&session))).await;
    assert_eq!((reply.status, reply.content_type), (200, "text/xml"));
    assert!(reply.body.contains("<name>Status</name><value>Success</value>"), "{}", reply.body);
    let reply = ask(Flavour::Xml, 0, xml("pool.get_all", &param("OpaqueRef:x"))).await;
    assert!(reply.body.contains("<value>Failure</value>") && reply.body.contains("<value>SESSION_INVALID</value>"));
    let reply = ask(Flavour::Xml, 0, xml("system.listMethods", "")).await;
    assert!(reply.body.contains("<param><value><array>"), "no envelope");
    let reply = ask(Flavour::Xml, 0, xml("Async.VM.get_all", &param(&session))).await;
    assert!(reply.body.contains("<fault>"), "{}", reply.body);
    let reply = ask(Flavour::Xml, 0, xml("system.isAlive:x", &param("hello"))).await;
    assert!(reply.body.contains("<value>hello</value>"), "{}", reply.body);
    let reply = ask(Flavour::Xml, 0, "what?".to_owned()).await;
    assert_eq!((reply.status, reply.content_type), (500, "text/html"));

    let login = xml("session.login_with_password", &(param("root") + &param("x")));
    let reply = ask(Flavour::Xml, 1, login.clone()).await;
    assert_eq!(reply.headers, [(TELL_THUMBPRINT.to_owned(), "AA:BB".to_owned())]);
    let reply = handle(&bench.world, 1, Flavour::Xml, Some("sha-1:master"), login.as_bytes()).await;
    assert_eq!(reply.headers, [(TELL_THUMBPRINT.to_owned(), "CC:DD".to_owned())]);
    let login = r#"{"jsonrpc":"2.0","id":0,"method":"session.login_with_password","params":["root","x"]}"#;
    let reply = ask(Flavour::Json, 1, login.to_owned()).await;
    assert_eq!(reply.content_type, "application/json");
    let body: Json = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(body["error"]["message"], "HOST_IS_SLAVE");
    assert_eq!(body["error"]["data"][0], "192.0.2.1");
    assert_eq!(ask(Flavour::Json, 0, "{}".to_owned()).await.status, 500);
}
