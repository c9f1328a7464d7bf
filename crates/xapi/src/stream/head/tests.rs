#![allow(clippy::unwrap_used)]

use super::*;

fn head(query: &[(&str, &str)]) -> Head {
    let query = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Head { method: "PUT", path: "/import", query, content_length: None }
}

#[test]
fn writes_a_short_head_without_framing() {
    let session = Session::new("OpaqueRef:aa".into());
    let bytes = head(&[("sr_id", "OpaqueRef:bb"), ("odd", "a b&c=d%,é")]).write("pool:443", &session).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    assert!(
        text.starts_with("PUT /import?sr_id=OpaqueRef:bb&odd=a%20b%26c%3Dd%25%2C%C3%A9 HTTP/1.0\r\nHost: pool:443\r\n")
    );
    assert!(text.contains("\r\nCookie: session_id=OpaqueRef:aa\r\n") && text.ends_with("\r\n\r\n"));
    assert!(!text.to_lowercase().contains("content-length") && !text.to_lowercase().contains("transfer-encoding"));
}

#[test]
fn refuses_a_head_that_the_pool_would_refuse() {
    let session = Session::new("OpaqueRef:0a1B2c3d-0000-1111-2222-333344445555".into());
    let disks: Vec<_> = (0..12).map(|n| (format!("vdi:{n:036}"), format!("{n:036}"))).collect();
    let query: Vec<_> = disks.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert!(head(&query[..8]).write("pool:443", &session).unwrap().len() < 1024);
    let error = head(&query).write("pool:443", &session).unwrap_err();
    assert!(matches!(error, Error::HeadTooLong { bytes, .. } if bytes >= 1024), "{error}");
}

#[test]
fn nothing_can_be_smuggled_into_a_head() {
    let session = Session::new("x\r\nEvil: 1".into());
    let text = String::from_utf8(head(&[("a", "b\r\nEvil: 1")]).write("h", &session).unwrap()).unwrap();
    assert!(!text.contains("\nEvil"));
}

#[test]
fn makes_words_of_pages() {
    let page = "<html><body><h1>HTTP 500\ninternal</h1>An <b>error</b>\u{7}</body></html>";
    assert_eq!(words(page), "HTTP 500 internal An error");
    assert_eq!(words(&"x".repeat(1000)).chars().count(), 301);
}
