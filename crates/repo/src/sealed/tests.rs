#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn open_text(text: &[u8], max_bytes: u64) -> Result<Value> {
    let key = Key::random();
    let sealed = key.seal(text);
    open(&key, Name::Lock(Id::of(&sealed)), &sealed, max_bytes)
}

#[test]
fn documents_survive_both_ways() {
    let key = Key::random();
    let document = json!({"a": [1, 2, 3], "b": "text"});
    let (id, sealed) = seal(&key, &document);
    assert_eq!(open::<Value>(&key, Name::Index(id), &sealed, 1000).unwrap(), document);
    let plain = seal_plain(&key, &document);
    assert_eq!(open::<Value>(&key, Name::Config, &plain, 1000).unwrap(), document);
}

#[test]
fn a_name_that_is_not_the_hash_is_damage() {
    let key = Key::random();
    let (_, sealed) = seal(&key, &json!({}));
    let error = open::<Value>(&key, Name::Index(Id::random()), &sealed, 1000).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
}

#[test]
fn bombs_are_bounded() {
    let mut bomb = vec![COMPRESSED];
    bomb.extend(zstd::bulk::compress(&vec![b' '; 50 << 20], 1).unwrap());
    assert!(bomb.len() < 10_000);
    let error = open_text(&bomb, 1 << 20).unwrap_err().to_string();
    assert!(error.contains("unpacks to more than"), "{error}");
}

#[test]
fn deep_and_broken_json_is_damage() {
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    for text in [&deep[..], b"{", b"", b"\x02", b"\x02rubbish", b"\x03{}"] {
        assert!(matches!(open_text(text, 1 << 20), Err(Error::Damaged { .. })));
    }
}
