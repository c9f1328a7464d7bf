//! Secrets in the database: sealed with AES-256-GCM, bound to the place where they lie.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use xenkeep_api::Secret;
use zeroize::Zeroizing;

use crate::Error;
use crate::key::Key;

/// First byte of what is sealed, so that the way of sealing can change.
const VERSION: u8 = 1;

/// Seals secrets for the database and opens them again.
///
/// What comes out is `1 ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. The place (`clients/<id>/password`) is authenticated with
/// it: a sealed password that is copied to another row or column can't be opened there.
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    pub(crate) fn new(key: &Key) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).expect("a key of 32 bytes fits AES-256");
        Self { key }
    }

    /// Seals `secret` for `place`.
    pub(crate) fn seal(&self, place: &str, secret: &Secret) -> Result<Vec<u8>, Error> {
        let mut text = secret.expose().as_bytes().to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(place.as_bytes()), &mut text)
            .map_err(|_| Error::Sealed(place.to_owned()))?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens what was sealed for `place`.
    pub(crate) fn open(&self, place: &str, sealed: &[u8]) -> Result<Secret, Error> {
        let broken = || Error::Sealed(place.to_owned());
        let (version, rest) = sealed.split_first().ok_or_else(broken)?;
        if *version != VERSION || rest.len() < NONCE_LEN {
            return Err(broken());
        }
        let (nonce, text) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| broken())?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened =
            self.key.open_in_place(nonce, Aad::from(place.as_bytes()), text.as_mut_slice()).map_err(|_| broken())?;
        std::str::from_utf8(opened).map(Secret::new).map_err(|_| broken())
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&Key::from([byte; 32]))
    }

    #[test]
    fn opens_what_it_sealed_and_hides_it() {
        let sealed = sealer(1).seal("clients/1/password", &Secret::new("hunter2-hunter2")).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(sealer(1).open("clients/1/password", &sealed).unwrap().expose(), "hunter2-hunter2");
    }

    #[test]
    fn two_seals_of_one_secret_differ() {
        let secret = Secret::new("same");
        assert_ne!(sealer(1).seal("a", &secret).unwrap(), sealer(1).seal("a", &secret).unwrap());
    }

    #[test]
    fn opens_nowhere_else_and_under_no_other_key() {
        let sealed = sealer(1).seal("clients/1/password", &Secret::new("x")).unwrap();
        assert!(matches!(sealer(1).open("clients/2/password", &sealed), Err(Error::Sealed(_))));
        assert!(matches!(sealer(2).open("clients/1/password", &sealed), Err(Error::Sealed(_))));
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let sealed = sealer(1).seal("p", &Secret::new("secret")).unwrap();
        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 1;
            assert!(sealer(1).open("p", &damaged).is_err(), "byte {position}");
        }
        for len in 0..sealed.len() {
            assert!(sealer(1).open("p", &sealed[..len]).is_err(), "cut to {len}");
        }
    }
}
