#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn all_types_are_read() {
    let cases = [
        ("<value>text</value>", Value::from("text")),
        ("<value/>", Value::from("")),
        ("<value></value>", Value::from("")),
        ("<value> a  b </value>", Value::from(" a  b ")),
        ("<value><string> a </string></value>", Value::from(" a ")),
        ("<?xml version='1.0'?>\n<value> <string/> </value>\n", Value::from("")),
        ("<value>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;</value>", Value::from("<&>\"'AB")),
        ("<value>a<![CDATA[<b>]]>c</value>", Value::from("a<b>c")),
        ("<value>a<!-- no -->b</value>", Value::from("ab")),
        ("<value><int>-7</int></value>", Value::Int(-7)),
        ("<value><i4> 7 </i4></value>", Value::Int(7)),
        ("<value><i8>9223372036854775807</i8></value>", Value::Int(i64::MAX)),
        ("<value><boolean>1</boolean></value>", Value::Bool(true)),
        ("<value><boolean>0</boolean></value>", Value::Bool(false)),
        ("<value><double>-0.5</double></value>", Value::Double(-0.5)),
        (
            "<value><dateTime.iso8601>20260821T02:00:23Z</dateTime.iso8601></value>",
            Value::DateTime("20260821T02:00:23Z".into()),
        ),
        ("<value><nil/></value>", Value::Nil),
        ("<value><array><data/></array></value>", Value::Array(vec![])),
        ("<value><array/></value>", Value::Array(vec![])),
        (
            "<value><array> <data><value>a</value> <value/></data></array></value>",
            Value::Array(vec!["a".into(), "".into()]),
        ),
        ("<value><struct/></value>", Struct::new().into()),
        (
            "<value><struct><member><name>a</name><value>1</value></member></struct></value>",
            Struct::from_iter([("a", "1")]).into(),
        ),
    ];
    for (xml, value) in cases {
        assert_eq!(parse(xml.as_bytes()).unwrap(), value, "{xml}");
    }
}

#[test]
fn what_is_not_a_value_is_refused() {
    let cases = [
        "",
        "text",
        "<value>",
        "<value><int>7</value>",
        "<value></values>",
        "<value/><value/>",
        "<value/>text",
        "<value>text<int>7</int></value>",
        "<value><int>7</int>text</value>",
        "<value><int>x</int></value>",
        "<value><int>9223372036854775808</int></value>",
        "<value><boolean>2</boolean></value>",
        "<value><base64>aGk=</base64></value>",
        "<value>&unknown;</value>",
        "<value>&#xd800;</value>",
        "<value><struct><member><value/></member></struct></value>",
        "<value><struct><member><name>a</name></member></struct></value>",
        "<value><array><value/></array></value>",
        "<!DOCTYPE v [<!ENTITY e \"eeee\">]><value>&e;</value>",
    ];
    for xml in cases {
        let result = parse(xml.as_bytes());
        assert!(matches!(result, Err(Error::Damaged(_))), "{xml}: {result:?}");
    }
    assert!(parse(b"<value>\xff</value>").is_err());
}

#[test]
fn depth_and_number_are_bounded() {
    let nested = |depth| {
        let (open, close) = ("<value><array><data>".repeat(depth), "</data></array></value>".repeat(depth));
        parse(format!("{open}{close}").as_bytes())
    };
    assert!(nested(MAX_DEPTH).is_ok());
    assert!(matches!(nested(MAX_DEPTH + 2), Err(Error::TooLarge { .. })));
    assert!(matches!(nested(100_000), Err(Error::TooLarge { .. })));
    let many = format!("<value><array><data>{}</data></array></value>", "<value/>".repeat(MAX_VALUES));
    assert!(matches!(parse(many.as_bytes()), Err(Error::TooLarge { .. })));
}

#[test]
fn values_are_written_in_the_dialect_of_xapi() {
    let mut record = Struct::new();
    record.set("name_label", "a <b> & \"c\"\u{1}\u{7}");
    record.set("virtual_size", Value::decimal(-5));
    record.set("sharable", false);
    record.set("tags", vec!["x".into(), Value::Nil]);
    record.set("snapshot_time", Value::DateTime("19700101T00:00:00Z".into()));
    let xml = Value::from(record).to_xml();
    let expected = "<value><struct>\
        <member><name>name_label</name><value>a &lt;b&gt; &amp; &quot;c&quot;</value></member>\
        <member><name>virtual_size</name><value>-5</value></member>\
        <member><name>sharable</name><value><boolean>0</boolean></value></member>\
        <member><name>tags</name><value><array><data><value>x</value><value><nil/></value></data></array></value></member>\
        <member><name>snapshot_time</name><value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value></member>\
        </struct></value>";
    assert_eq!(xml, expected);
}

#[test]
fn calls_are_read() {
    let xml = "<?xml version=\"1.0\"?><methodCall><methodName>VM.get_uuid</methodName>\
        <params>\n<param><value>a</value></param><param><value><int>3</int></value></param></params></methodCall>";
    let expected = ("VM.get_uuid".to_owned(), vec!["a".into(), Value::Int(3)]);
    assert_eq!(parse_call(xml.as_bytes()).unwrap(), expected);
    for params in ["", "<params/>"] {
        let xml = format!("<methodCall><methodName>a</methodName>{params}</methodCall>");
        assert_eq!(parse_call(xml.as_bytes()).unwrap(), ("a".to_owned(), vec![]));
    }
    assert!(parse_call(b"<methodCall><params/></methodCall>").is_err());
    assert!(parse_call(b"<value/>").is_err());
}

#[test]
fn members_can_be_read_and_changed() {
    let mut record: Struct = [("a", "1"), ("b", "2"), ("c", "x")].into_iter().collect();
    assert_eq!((record.int("a"), record.int("c"), record.text("b")), (Some(1), None, Some("2")));
    record.set("b", true);
    assert_eq!((record.flag("b"), record.flag("a")), (Some(true), None));
    record.map_mut("other_config").set("k", "v");
    record.map_mut("other_config").set("l", "w");
    assert_eq!(record.map("other_config").map(Struct::len), Some(2));
    assert_eq!(record.remove("a"), Some("1".into()));
    assert_eq!(record.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "c", "other_config"]);
    assert!(record.array("c").is_empty());
}

/// Text without the control characters that XML can't hold.
fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![any::<char>(), Just('\r'), Just('\n'), Just('&'), Just('<'), Just(' '), Just(']'), Just('>')],
        0..12,
    )
    .prop_map(|text| {
        let legal =
            |c: &char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
        text.into_iter().filter(legal).collect()
    })
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::String),
        any::<i64>().prop_map(Value::Int),
        any::<bool>().prop_map(Value::Bool),
        any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()).prop_map(Value::Double),
        text().prop_map(Value::DateTime),
        Just(Value::Nil),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((text(), inner), 0..6).prop_map(|members| Value::Struct(Struct { members })),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_can_be_read(value in value()) {
        prop_assert_eq!(parse(value.to_xml().as_bytes()).unwrap(), value);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "(<|>|/|value|struct|member|name|array|data|int|&|;|!|\\[|\\?| |a|\"|=|-){0,60}") {
        let _ = parse(text.as_bytes());
        let _ = parse_call(text.as_bytes());
        let _ = parse(format!("<value>{text}</value>").as_bytes());
    }
}
