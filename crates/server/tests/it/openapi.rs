//! The description of the API is committed, so that every change of the API is seen in review.

use serde_json::Value;

#[test]
fn the_committed_description_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let described = xenkeep_server::openapi_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &described).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap();
    assert!(committed == described, "openapi.json is not up to date: run the test again with UPDATE_OPENAPI=1");
}

#[test]
fn every_reference_leads_somewhere() {
    let description: Value = serde_json::from_str(&xenkeep_server::openapi_json()).unwrap();
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut found = 0;
    visit(&description, &mut |reference| {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(description.pointer(pointer).is_some(), "{reference}");
        found += 1;
    });
    assert!(found > 50, "{found}");
}

fn visit(value: &Value, seen: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                seen(reference);
            }
            map.values().for_each(|value| visit(value, seen));
        }
        Value::Array(list) => list.iter().for_each(|value| visit(value, seen)),
        _ => {}
    }
}
