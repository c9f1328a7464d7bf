#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// Poly1305-AES test vector of D. J. Bernstein's paper, section B, for an empty and a short message would need the
/// authenticator alone; what binds us is restic, so this is sealed by restic 0.14 (see `tests/it/judge.rs` for the rest).
#[test]
fn what_was_sealed_opens_and_nothing_else_does() {
    let key = Key::random();
    let sealed = key.seal(b"a secret");
    assert_eq!(sealed.len(), 8 + SEAL_BYTES);
    assert_eq!(key.open_in_place(&mut sealed.clone()).unwrap(), b"a secret");
    assert_eq!(Key::random().open_in_place(&mut sealed.clone()), Err(BrokenSeal));
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key.open_in_place(&mut flipped), Err(BrokenSeal), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert_eq!(key.open_in_place(&mut sealed[..len].to_vec()), Err(BrokenSeal), "length {len}");
    }
}

#[test]
fn keys_survive_json_and_hide_in_debug() {
    let key = Key::random();
    let again = Key::from_json(&key.to_json()).unwrap();
    assert_eq!(*key.bytes, *again.bytes);
    assert_eq!(format!("{key:?}"), "Key(…)");
    assert!(Key::from_json(b"{}").is_none());
    assert!(Key::from_json(br#"{"mac":{"k":"AA==","r":"AA=="},"encrypt":"AA=="}"#).is_none());
}

proptest! {
    #[test]
    fn any_text_survives(text in proptest::collection::vec(any::<u8>(), 0..5000)) {
        let key = Key::random();
        let mut sealed = key.seal(&text);
        prop_assert_eq!(key.open_in_place(&mut sealed).unwrap(), &text[..]);
    }
}
