#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// The second example in appendix B of "The Poly1305-AES message-authentication code" (D. J. Bernstein, 2005).
#[test]
fn tags_are_those_of_the_paper() {
    let hex = |text: &str| hex::decode(text).unwrap();
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes[32..48].copy_from_slice(&hex("75deaa25c09f208e1dc4ce6b5cad3fbf"));
    bytes[48..].copy_from_slice(&hex("a0f3080000f46400d0c7e9076c834403"));
    let nonce = hex("61ee09218d29b0aaed7e154a2c5509cc");
    let tag = Key::from_bytes(bytes).tag(nonce[..].try_into().unwrap(), &[]);
    assert_eq!(hex::encode(tag), "dd3fab2251f11ac759f0887129cc2ee7");
}

/// NIST SP 800-38A, F.5.5; and a counter that runs over, which must carry through all 128 bits.
#[test]
fn the_counter_has_128_bits() {
    let hex = |text: &str| hex::decode(text).unwrap();
    let mut bytes = Zeroizing::new([0; KEY_BYTES]);
    bytes[..32].copy_from_slice(&hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"));
    let key = Key::from_bytes(bytes);
    let stream = |nonce: &[u8]| {
        let mut text = [0; 48];
        key.apply_cipher(nonce.try_into().unwrap(), &mut text);
        text
    };
    let mut text = hex("6bc1bee22e409f96e93d7e117393172a");
    key.apply_cipher(hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")[..].try_into().unwrap(), &mut text);
    assert_eq!(hex::encode(text), "601ec313775789a5b7a7f504bbf3d228");

    let before = stream(&hex("0000000000000001ffffffffffffffff"));
    let after = stream(&hex("00000000000000020000000000000000"));
    assert_eq!(before[16..], after[..32]);
    assert_eq!(stream(&[0xff; 16])[16..], stream(&[0; 16])[..32]);
}

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
