#![allow(clippy::unwrap_used)]

use super::*;

const QUICK: Kdf = Kdf { n: 16, r: 8, p: 1 };

#[test]
fn a_key_file_opens_with_its_password_only() {
    let master = Key::random();
    let password = SecretString::from("pass wörd");
    let (id, content) = seal(&master, &password, QUICK).unwrap();
    assert_eq!(id, Id::of(&content));
    let opened = open(&content, &password).unwrap().unwrap();
    assert_eq!(opened.open_in_place(&mut master.seal(b"x")).unwrap(), b"x");
    assert!(open(&content, &SecretString::from("other")).unwrap().is_none());
    assert!(!String::from_utf8_lossy(&content).contains("pass"));
}

#[test]
fn hostile_parameters_are_refused_before_they_cost_anything() {
    let password = SecretString::from("x");
    for kdf in [
        Kdf { n: 0, r: 8, p: 1 },
        Kdf { n: 1, r: 8, p: 1 },
        Kdf { n: 3, r: 8, p: 1 },
        Kdf { n: 1 << 31, r: 8, p: 1 },
        Kdf { n: 1 << 15, r: u32::MAX, p: u32::MAX },
        Kdf { n: 1 << 15, r: 8, p: 1 << 20 },
        Kdf { n: 1 << 15, r: 0, p: 1 },
        Kdf { n: 1 << 15, r: 8, p: 0 },
    ] {
        assert!(matches!(kdf.derive(&password, b"salt"), Err(Error::Damaged { .. })), "{kdf:?}");
    }
}
