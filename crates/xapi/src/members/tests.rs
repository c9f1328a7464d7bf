#![allow(clippy::unwrap_used)]

use super::*;

fn at(address: &str, secure: bool) -> Option<(String, bool)> {
    Some((address.to_owned(), secure))
}

#[test]
fn redirects_keep_the_chosen_transport() {
    let go =
        |location: &str, chosen: bool| place(location, chosen).ok().map(|(address, tls)| (address.to_string(), tls));
    assert_eq!(go("https://10.0.0.2/export?ref=x", true), at("10.0.0.2:443", true));
    assert_eq!(go("https://10.0.0.2/export?ref=x", false), at("10.0.0.2:80", false), "hosts always say https");
    assert_eq!(go("http://10.0.0.2/export", false), at("10.0.0.2:80", false));
    assert_eq!(go("https://[fe80::2]/x", true), at("[fe80::2]:443", true));
    assert_eq!(go("https://10.0.0.2:8443/x", true), at("10.0.0.2:8443", true));
    assert_eq!(
        go("https://10.0.0.2:8443/x", false),
        at("10.0.0.2:8443", true),
        "a port of its own speaks what it says"
    );
    assert_eq!(go("http://10.0.0.2:8080/x", false), at("10.0.0.2:8080", false));
    assert_eq!(go("http://10.0.0.2/x", true), at("10.0.0.2:443", true), "never from TLS to clear text");
    assert_eq!(go("http://10.0.0.2:8080/x", true), None);
    for odd in ["/export", "ftp://a/x", "https:///x", "https://a b/x", "https://user@a/x", ""] {
        assert_eq!(go(odd, true), None, "{odd}");
    }
}
