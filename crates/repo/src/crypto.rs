//! Sealing: AES-256-CTR with Poly1305-AES, as restic does it. Sealed bytes are `nonce (16) ‖ ciphertext ‖ tag (16)`.

use std::fmt;

use aes256ctr_poly1305aes::aead::AeadInPlace;
use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key as CipherKey, Nonce, Tag};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

#[cfg(test)]
mod tests;

pub(crate) const NONCE_BYTES: usize = 16;
pub(crate) const TAG_BYTES: usize = 16;
/// What sealing adds.
pub(crate) const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// Bytes of a key: AES-256 (32), AES-128 of the authenticator (16), `r` of Poly1305 (16).
const KEY_BYTES: usize = 64;

/// A key that seals and opens.
pub(crate) struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    cipher: Aes256CtrPoly1305Aes,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The seal is broken: a wrong key, or other bytes than were sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BrokenSeal;

impl Key {
    pub(crate) fn from_bytes(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let cipher = Aes256CtrPoly1305Aes::new(CipherKey::from_slice(bytes.as_slice()));
        Key { bytes, cipher }
    }

    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        clamp(&mut bytes[48..]);
        Key::from_bytes(bytes)
    }

    /// Seals in place: `buf` holds room for the nonce, the plaintext, and room for the tag.
    pub(crate) fn seal_in_place(&self, buf: &mut [u8]) {
        let (nonce, rest) = buf.split_at_mut(NONCE_BYTES);
        let (text, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        rand::rng().fill_bytes(nonce);
        let computed = self
            .cipher
            .encrypt_in_place_detached(Nonce::from_slice(nonce), &[], text)
            .expect("only texts beyond 2^64 blocks are refused");
        tag.copy_from_slice(&computed);
    }

    pub(crate) fn seal(&self, text: &[u8]) -> Vec<u8> {
        let mut buf = vec![0; text.len() + SEAL_BYTES];
        buf[NONCE_BYTES..NONCE_BYTES + text.len()].copy_from_slice(text);
        self.seal_in_place(&mut buf);
        buf
    }

    /// Opens in place and returns the plaintext within `buf`.
    pub(crate) fn open_in_place<'a>(&self, buf: &'a mut [u8]) -> Result<&'a mut [u8], BrokenSeal> {
        if buf.len() < SEAL_BYTES {
            return Err(BrokenSeal);
        }
        let (nonce, rest) = buf.split_at_mut(NONCE_BYTES);
        let (text, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        self.cipher
            .decrypt_in_place_detached(Nonce::from_slice(nonce), &[], text, Tag::from_slice(tag))
            .map_err(|_| BrokenSeal)?;
        Ok(text)
    }

    pub(crate) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let [encrypt, k, r] = [0..32, 32..48, 48..64].map(|range| Zeroizing::new(self.bytes[range].to_vec()));
        let json = KeyJson { mac: MacJson { k: Base64(k), r: Base64(r) }, encrypt: Base64(encrypt) };
        Zeroizing::new(serde_json::to_vec(&json).expect("three byte strings are JSON"))
    }

    pub(crate) fn from_json(json: &[u8]) -> Option<Self> {
        let json: KeyJson = serde_json::from_slice(json).ok()?;
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        for (part, range) in [(&json.encrypt, 0..32), (&json.mac.k, 32..48), (&json.mac.r, 48..64)] {
            let target = &mut bytes[range];
            if part.0.len() != target.len() {
                return None;
            }
            target.copy_from_slice(&part.0);
        }
        Some(Key::from_bytes(bytes))
    }
}

/// Clears the bits of `r` that Poly1305 wants clear.
fn clamp(r: &mut [u8]) {
    for index in [3, 7, 11, 15] {
        r[index] &= 0x0f;
    }
    for index in [4, 8, 12] {
        r[index] &= 0xfc;
    }
}

/// The master key, as it stands (sealed) in a key file.
#[derive(Serialize, Deserialize)]
struct KeyJson {
    mac: MacJson,
    encrypt: Base64,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: Base64,
    r: Base64,
}

/// Bytes as Go writes them into JSON.
pub(crate) struct Base64(pub(crate) Zeroizing<Vec<u8>>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine as _;
        serializer.serialize_str(&Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine as _;
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
        bytes.map(|bytes| Base64(Zeroizing::new(bytes))).map_err(serde::de::Error::custom)
    }
}
