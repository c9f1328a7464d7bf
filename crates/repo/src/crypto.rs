//! Sealing: AES-256-CTR with Poly1305-AES, as restic does it. Sealed bytes are `nonce (16) ‖ ciphertext ‖ tag (16)`.

use std::fmt;

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time;
use aws_lc_rs::iv::FixedLength;
use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
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
    /// AES-256 in counter mode; the counter has 128 bits, as in Go.
    cipher: EncryptingKey,
    /// AES-128, of which only single blocks are wanted.
    authenticator: EncryptingKey,
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
        let [cipher, authenticator] = [(&AES_256, 0..32), (&AES_128, 32..48)].map(|(algorithm, range)| {
            UnboundCipherKey::new(algorithm, &bytes[range]).expect("the key is as long as it must be")
        });
        Key {
            cipher: EncryptingKey::ctr(cipher).expect("AES has a counter mode"),
            authenticator: EncryptingKey::ecb(authenticator).expect("AES encrypts blocks"),
            bytes,
        }
    }

    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::rng().fill_bytes(bytes.as_mut_slice());
        clamp(&mut bytes[48..]);
        Key::from_bytes(bytes)
    }

    /// Encrypts or decrypts, which is the same in counter mode.
    fn apply_cipher(&self, nonce: &[u8; NONCE_BYTES], text: &mut [u8]) {
        let first_counter = EncryptionContext::Iv128(FixedLength::from(nonce));
        self.cipher.less_safe_encrypt(text, first_counter).expect("a counter mode takes any text");
    }

    /// Poly1305 of the ciphertext, under `r` and the encrypted nonce.
    fn tag(&self, nonce: &[u8; NONCE_BYTES], ciphertext: &[u8]) -> [u8; TAG_BYTES] {
        let mut pad = *nonce;
        self.authenticator.less_safe_encrypt(&mut pad, EncryptionContext::None).expect("a nonce is one block");
        let mut one_time_key = Zeroizing::new([0; 32]);
        one_time_key[..16].copy_from_slice(&self.bytes[48..]);
        one_time_key[16..].copy_from_slice(&pad);
        Poly1305::new(poly1305::Key::from_slice(one_time_key.as_slice())).compute_unpadded(ciphertext).into()
    }

    /// Seals in place: `buf` holds room for the nonce, the plaintext, and room for the tag.
    pub(crate) fn seal_in_place(&self, buf: &mut [u8]) {
        let (nonce, rest) = buf.split_first_chunk_mut().expect("there is room for the nonce");
        let (text, tag) = rest.split_last_chunk_mut().expect("there is room for the tag");
        rand::rng().fill_bytes(nonce);
        self.apply_cipher(nonce, text);
        *tag = self.tag(nonce, text);
    }

    pub(crate) fn seal(&self, text: &[u8]) -> Vec<u8> {
        let mut buf = vec![0; text.len() + SEAL_BYTES];
        buf[NONCE_BYTES..NONCE_BYTES + text.len()].copy_from_slice(text);
        self.seal_in_place(&mut buf);
        buf
    }

    /// Opens in place and returns the plaintext within `buf`.
    pub(crate) fn open_in_place<'a>(&self, buf: &'a mut [u8]) -> Result<&'a mut [u8], BrokenSeal> {
        let (nonce, rest) = buf.split_first_chunk_mut().ok_or(BrokenSeal)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(BrokenSeal)?;
        constant_time::verify_slices_are_equal(tag, &self.tag(nonce, text)).map_err(|_| BrokenSeal)?;
        self.apply_cipher(nonce, text);
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
