//! Irreducible polynomials over GF(2) of degree 53, of which restic wants one in each config.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[cfg(test)]
mod tests;

const DEGREE: u32 = 53;

/// A polynomial over GF(2); bit `i` is the coefficient of `x^i`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Polynomial(u64);

impl Polynomial {
    /// About one in 26 candidates is irreducible.
    pub(crate) fn random() -> Self {
        loop {
            let low: u64 = rand::random::<u64>() & ((1 << DEGREE) - 1);
            let candidate = Polynomial(1 << DEGREE | low | 1);
            if candidate.is_irreducible() {
                return candidate;
            }
        }
    }

    /// Rabin's test. As the degree is prime, the only proper subfield is GF(2) itself: there must be no linear factor,
    /// and `x^(2^53)` must be `x`.
    fn is_irreducible(self) -> bool {
        let has_root = self.0 & 1 == 0 || self.0.count_ones().is_multiple_of(2);
        let x = 2;
        !has_root && (0..DEGREE).fold(x, |power, _| self.square(power)) == x
    }

    /// `value²` modulo `self`.
    fn square(self, value: u64) -> u64 {
        let mut product = 0;
        for bit in (0..DEGREE).rev() {
            product <<= 1;
            if product >> DEGREE & 1 == 1 {
                product ^= self.0;
            }
            if value >> bit & 1 == 1 {
                product ^= value;
            }
        }
        product
    }
}

impl Serialize for Polynomial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Polynomial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Polynomial).map_err(serde::de::Error::custom)
    }
}
