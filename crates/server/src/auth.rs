//! API tokens: `xk_` and 256 random bits. The server keeps their hashes; the first one also lies in the data directory
//! as file `token`, from where the command line on the same machine takes it.
//!
//! A token is too long to be guessed, so a plain SHA-256 is enough of a hash, and no salt is needed. Hashes are compared
//! in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use rand::TryRngCore;
use rand::rngs::OsRng;
use xenkeep_api::Secret;
use xenkeep_catalog::Catalog;

use crate::Error;
use crate::data_dir::{self, DataDir};

/// Name of the token that is made at the first start.
const ADMIN: &str = "admin";
/// What each token begins with, so that scanners for leaked secrets can know it.
const PREFIX: &str = "xk_";
/// What the token of a mover begins with.
pub(crate) const MOVER_PREFIX: &str = "xkm_";
/// No token is longer.
pub(crate) const MAX_LEN: usize = 128;

/// The tokens that open the API.
#[derive(Debug)]
pub(crate) struct Tokens {
    hashes: Vec<[u8; 32]>,
}

impl Tokens {
    /// Makes the administrator's token at the first start, and anew when its file is gone or doesn't fit.
    pub(crate) async fn load(dir: &DataDir, catalog: &Catalog, mover: &str, now: Timestamp) -> Result<Self, Error> {
        // Each of several servers on one database has a token of its own.
        let name = if catalog.is_shared() { format!("{ADMIN}@{mover}") } else { ADMIN.to_owned() };
        let path = dir.join("token");
        let in_file = data_dir::read(&path)?.map(|text| hash(text.trim()));
        let known = catalog.tokens().await?;
        let admin = known.iter().find(|(known, _)| *known == name).map(|(_, sha256)| sha256.clone());
        if admin.is_none() || admin != in_file.map(hex::encode) {
            // The hash first: with a file that fits no hash the next start would find the same mismatch and repair it.
            let token = random_token(PREFIX)?;
            catalog.set_token(&name, &hex::encode(hash(token.expose())), now).await?;
            data_dir::write_private(&path, format!("{}\n", token.expose()).as_bytes())?;
            tracing::info!(path = %path.display(), "made a new API token");
        }
        let hashes = catalog.tokens().await?.into_iter().filter_map(|(_, sha256)| {
            let mut hash = [0; 32];
            hex::decode_to_slice(sha256, &mut hash).ok().map(|()| hash)
        });
        Ok(Self { hashes: hashes.collect() })
    }

    /// Whether `token` opens the API. Takes as long for a nearly right token as for a wrong one.
    pub(crate) fn admits(&self, token: &str) -> bool {
        if token.len() > MAX_LEN {
            return false;
        }
        let hash = hash(token);
        self.hashes.iter().fold(false, |admitted, known| admitted | verify_slices_are_equal(&hash, known).is_ok())
    }
}

fn hash(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

/// SHA-256 of a token as lower-case hex: what is kept of it.
pub(crate) fn hashed(token: &str) -> String {
    hex::encode(hash(token))
}

pub(crate) fn random_token(prefix: &str) -> Result<Secret, Error> {
    let mut bits = [0; 32];
    OsRng.try_fill_bytes(&mut bits).map_err(|error| Error::Random(error.to_string()))?;
    Ok(Secret::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bits))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (a, b) = (random_token(PREFIX).unwrap(), random_token(PREFIX).unwrap());
        assert_ne!(a, b);
        assert!(a.expose().starts_with("xk_") && a.expose().len() == 3 + 43, "{}", a.expose());
    }

    #[test]
    fn admits_only_what_it_knows() {
        let tokens = Tokens { hashes: vec![hash("xk_a"), hash("xk_b")] };
        assert!(tokens.admits("xk_a") && tokens.admits("xk_b"));
        for wrong in ["", "xk_", "xk_c", "xk_a ", &"x".repeat(1 << 20)] {
            assert!(!tokens.admits(wrong));
        }
        assert!(!Tokens { hashes: Vec::new() }.admits(""));
    }
}
