//! Fingerprints of certificates as people compare them.

/// `AB:CD:…`, as `openssl x509 -fingerprint` and XenServer's console show it.
pub(crate) fn colons(sha256_hex: &str) -> String {
    let upper = sha256_hex.to_ascii_uppercase();
    let pairs: Vec<&str> = upper.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_parted_by_colons() {
        assert_eq!(colons("00ff1a"), "00:FF:1A");
        assert_eq!(colons(""), "");
    }
}
