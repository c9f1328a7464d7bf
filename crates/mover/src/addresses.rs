//! The addresses of this machine, as the kernel lists them: a server compares them with those of the pools' hosts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// No machine that moves data has more.
const MAX: usize = 64;

/// Addresses of the network interfaces, without those that every machine has (loopback, link-local). Empty where the
/// kernel does not say.
pub(crate) fn own() -> Vec<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = ipv4(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::V4);
    let v6 = ipv6(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::V6);
    let mut own: Vec<IpAddr> = v4.chain(v6).collect();
    own.sort_unstable();
    own.dedup();
    own.truncate(MAX);
    own
}

/// A local address is a leaf `|-- ADDRESS` with a line `/32 host LOCAL` below.
fn ipv4(trie: &str) -> Vec<Ipv4Addr> {
    let mut leaf = None;
    let mut found = Vec::new();
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL" {
            found.extend(leaf.filter(|ip| !ip.is_loopback() && !ip.is_link_local()));
        }
    }
    found
}

/// A line an address: 32 hex digits, index, length of the prefix, scope (00: global), flags, name.
fn ipv6(lines: &str) -> Vec<Ipv6Addr> {
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (address, scope) = (words.next()?, words.nth(2)?);
        (scope == "00" && address.len() == 32).then_some(())?;
        u128::from_str_radix(address, 16).ok().map(Ipv6Addr::from_bits)
    };
    lines.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_lists() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     +-- 10.77.0.0/24 2 0 2\n\
             \x20       |-- 10.77.0.0\n           /24 link UNICAST\n        |-- 10.77.0.3\n           /32 host LOCAL\n\
             \x20       |-- 10.77.0.255\n           /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie), [Ipv4Addr::new(10, 77, 0, 3)]);
        let lines = "00000000000000000000000000000001 01 80 10 80       lo\n\
             fe80000000000000021122fffe334455 02 40 20 80     eth0\n\
             20010db8000000000000000000000007 02 40 00 80     eth0\n";
        assert_eq!(ipv6(lines), ["2001:db8::7".parse::<Ipv6Addr>().unwrap()]);
        for garbage in ["", "|-- x\n/32 host LOCAL", "/32 host LOCAL", "zz 1 2 00", "\u{0}"] {
            assert!(ipv4(garbage).is_empty() && ipv6(garbage).is_empty(), "{garbage:?}");
        }
    }
}
