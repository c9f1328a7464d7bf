//! Where a pool is.

use std::fmt;
use std::net::Ipv6Addr;

use crate::{Error, Fingerprint, Result};

/// Where a pool is, and how its certificate is judged.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `host`, `host:port`, `[v6]:port` or a bare IPv6 address. The port defaults to 80 or 443.
    pub address: String,
    /// TLS or not.
    pub tls: Tls,
}

/// TLS or not, and which certificate is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// In the clear: anyone on the way reads the password and the disks.
    Plain,
    /// The host at [`Endpoint::address`] must show this certificate.
    Pinned(Fingerprint),
    /// Whatever certificate the host shows first is the right one from then on; [`crate::Pool::certificate`] tells it.
    FirstContact,
}

impl Tls {
    /// TLS is spoken.
    #[must_use]
    pub fn is_on(self) -> bool {
        self != Self::Plain
    }

    /// The port that XAPI listens on.
    #[must_use]
    pub fn default_port(self) -> u16 {
        if self.is_on() { 443 } else { 80 }
    }
}

/// A host and a port, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl Address {
    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`, or a bare IPv6 address.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn parse(text: &str, default_port: u16) -> Result<Self> {
        let text = text.trim();
        let bad = |reason| Error::BadAddress { address: text.to_owned(), reason };
        let port_of = |port: &str| match port.parse::<u16>() {
            Ok(0) | Err(_) => Err(bad("the port is a number from 1 to 65535")),
            Ok(port) => Ok(port),
        };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad("a bracket is not closed"))?;
            host.parse::<Ipv6Addr>().map_err(|_| bad("only an IPv6 address stands in brackets"))?;
            match rest.strip_prefix(':') {
                Some(port) => (host, port_of(port)?),
                None if rest.is_empty() => (host, default_port),
                None => return Err(bad("only a port can follow the brackets")),
            }
        } else if text.parse::<Ipv6Addr>().is_ok() {
            (text, default_port)
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, port_of(port)?),
                None => (text, default_port),
            }
        };
        if host.is_empty() {
            return Err(bad("the host is missing"));
        }
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if !host.chars().all(fine) {
            return Err(bad("a host is a name or an IP address"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, host, port) in [
            ("pool", "pool", 443),
            (" 10.0.0.1 ", "10.0.0.1", 443),
            ("pool:8443", "pool", 8443),
            ("fe80::1", "fe80::1", 443),
            ("[fe80::1]", "fe80::1", 443),
            ("[::1]:1", "::1", 1),
        ] {
            assert_eq!(Address::parse(text, 443).unwrap(), Address { host: host.into(), port }, "{text}");
        }
        assert_eq!(Address::parse("[::1]:1", 443).unwrap().to_string(), "[::1]:1");
        assert_eq!(Address::parse("a:2", 443).unwrap().to_string(), "a:2");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in
            ["", ":80", "a:b", "a:0", "a:65536", "[::1", "[::1]80", "[a]:1", "https://a", "a/b", "a b", "a\r\nb", "ä"]
        {
            assert!(matches!(Address::parse(text, 443), Err(Error::BadAddress { .. })), "{text}");
        }
    }
}
