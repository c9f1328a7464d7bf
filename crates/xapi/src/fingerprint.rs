//! Fingerprints of certificates.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;

/// SHA-256 of a certificate (DER). Shown as lower-case hex; read with or without colons, in either case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint([u8; 32]);

/// A text that is no SHA-256 fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 fingerprint has 64 hexadecimal digits, with or without colons")]
pub struct BadFingerprint;

impl Fingerprint {
    /// Of a certificate in DER.
    #[must_use]
    pub fn of_der(der: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Self(sum)
    }

    /// Of the first certificate in a PEM text.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_pem(pem: &str) -> Result<Self, BadFingerprint> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).map_err(|_| BadFingerprint)?;
        Ok(Self::of_der(&pem.contents))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Upper-case pairs with colons, as XAPI and OpenSSL show it.
    #[must_use]
    pub fn with_colons(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let mut sum = [0; 32];
        hex::decode_to_slice(&digits, &mut sum).map_err(|_| BadFingerprint)?;
        Ok(Self(sum))
    }
}

impl serde::Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_what_it_writes_and_what_xapi_writes() {
        let print = Fingerprint::of_der(b"abc");
        assert_eq!(print.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(print.to_string().parse(), Ok(print));
        assert_eq!(print.with_colons().parse(), Ok(print));
        assert!(print.with_colons().starts_with("BA:78:16:"));
        assert_eq!(format!(" {print}\n").parse(), Ok(print));
    }

    #[test]
    fn refuses_anything_else() {
        for text in ["", "ba78", "zz", &"0".repeat(63), &"0".repeat(65), &"é".repeat(32)] {
            assert_eq!(text.parse::<Fingerprint>(), Err(BadFingerprint), "{text}");
        }
        assert_eq!(Fingerprint::of_pem("no pem"), Err(BadFingerprint));
    }
}
