#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn values_are_written_as_xapi_does() {
    for (value, text) in [
        (Value::Nil, "<value></value>"),
        (Value::from("a<b>&\"c\"\u{1}\n"), "<value>a&lt;b&gt;&amp;&quot;c&quot;\n</value>"),
        (Value::Int(-5), "<value>-5</value>"),
        (Value::TaggedInt(7), "<value><i4>7</i4></value>"),
        (Value::Float(0.5), "<value><double>0.5</double></value>"),
        (Value::Bool(true), "<value><boolean>1</boolean></value>"),
        (Value::Date(0), "<value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>"),
        (Value::Set(vec![]), "<value><array><data></data></array></value>"),
        (Value::map([("k", "v")]), "<value><struct><member><name>k</name><value>v</value></member></struct></value>"),
    ] {
        assert_eq!(to_text(&value), text);
    }
}

#[test]
fn values_are_read_in_every_form() {
    for (text, value) in [
        ("<value>a &amp; &#98;</value>", Value::from("a & b")),
        ("<value/>", Value::from("")),
        ("<value> <string>x</string> </value>", Value::from("x")),
        ("<value><string/></value>", Value::from("")),
        ("<value><i8>9223372036854775807</i8></value>", Value::Int(i64::MAX)),
        ("<value><int>3</int></value>", Value::Int(3)),
        ("<value><double>60.0</double></value>", Value::Float(60.0)),
        ("<value><boolean>0</boolean></value>", Value::Bool(false)),
        ("<value><nil/></value>", Value::Nil),
        ("<value><![CDATA[<x>]]></value>", Value::from("<x>")),
        ("<value><dateTime.iso8601>2026-08-21T02:00:23</dateTime.iso8601></value>", Value::Date(1_787_277_623)),
    ] {
        assert_eq!(from_text(text.as_bytes()).unwrap(), value, "{text}");
    }
}

#[test]
fn calls_are_read() {
    let text = b"<?xml version='1.0'?>\n<methodCall>\n<methodName>VM.get_all</methodName>\n<params>\n<param>\n<value><string>s</string></value>\n</param>\n</params>\n</methodCall>\n";
    assert_eq!(call(text).unwrap(), ("VM.get_all".to_owned(), vec![Value::from("s")]));
    let bare = b"<methodCall><methodName>system.listMethods</methodName></methodCall>";
    assert_eq!(call(bare).unwrap(), ("system.listMethods".to_owned(), vec![]));
}

#[test]
fn nonsense_is_refused() {
    let deep = format!("{}x{}", "<value><array><data>".repeat(500), "</data></array></value>".repeat(500));
    for text in [
        "",
        "x",
        "<value>",
        "<value><int>x</int></value>",
        "<value><int>99999999999999999999</int></value>",
        "<value><boolean>2</boolean></value>",
        "<value>a<int>1</int></value>",
        "<value><struct><member><value>1</value></member></struct></value>",
        "<value>&unknown;</value>",
        "<!DOCTYPE x [<!ENTITY a 'b'>]><value>&a;</value>",
        "<value>a</value><value>b</value>",
        &deep,
    ] {
        assert!(from_text(text.as_bytes()).is_err(), "{}", &text[..text.len().min(60)]);
    }
    assert!(from_text(b"<value>\xff</value>").is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ -~äß€]{0,20}".prop_map(|text| Value::from(text.trim())),
        any::<bool>().prop_map(Value::Bool),
        (0_i64..4_000_000_000).prop_map(Value::Date),
        (-1e9..1e9).prop_map(Value::Float),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Set),
            proptest::collection::btree_map("[a-z_/:]{1,12}", inner, 0..5).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_value()) {
        prop_assert_eq!(from_text(to_text(&value).as_bytes()).unwrap(), value);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[<>/a-z&;! ]{0,200}") {
        let _ = from_text(text.as_bytes());
        let _ = call(text.as_bytes());
    }
}
