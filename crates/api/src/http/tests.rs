#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{
    events::{self, Parser},
    *,
};

fn client(url: &str) -> ApiClient {
    ApiClient::new(url, Secret::new("t"), &Trust::Pinned("ab".repeat(32))).unwrap()
}

#[test]
fn names_are_encoded_in_paths_and_queries() {
    let client = client("http://localhost:1/behind/a/proxy/");
    let url = client.path(&["clients", "a/b c?ü", "vms"]);
    assert_eq!(url.as_str(), "http://localhost:1/behind/a/proxy/api/v1/clients/a%2Fb%20c%3F%C3%BC/vms");

    let mut url = client.path(&["points"]);
    let filter = PointFilter { client: Some("a&b".into()), vm: Some("web 1".into()), datastore: None };
    add_query(&mut url, &filter).unwrap();
    assert_eq!(url.query(), Some("client=a%26b&vm=web+1"));

    let mut url = client.path(&["jobs"]);
    let filter = JobFilter { state: Some(JobState::Running), kind: Some(JobKind::CheckClient), limit: Some(3) };
    add_query(&mut url, &filter).unwrap();
    let mut pairs: Vec<_> = url.query_pairs().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.sort();
    assert_eq!(pairs, ["kind=check-client", "limit=3", "state=running"]);
}

#[test]
fn bad_addresses_and_pins_are_refused() {
    for url in ["localhost:7443", "ftp://host", "", "https://"] {
        assert!(matches!(ApiClient::new(url, Secret::new("t"), &Trust::System).unwrap_err(), Error::Address { .. }));
    }
    for pin in ["", "ab", &"zz".repeat(32)] {
        let error = ApiClient::new("https://host", Secret::new("t"), &Trust::Pinned(pin.to_owned())).unwrap_err();
        assert!(matches!(error, Error::Pin { .. }));
    }
    let colons = vec!["AB"; 32].join(":");
    ApiClient::new("https://host", Secret::new("t"), &Trust::Pinned(colons)).unwrap();
}

#[test]
fn the_token_is_not_in_debug_output() {
    let client = ApiClient::new("http://host", Secret::new("xk_secret"), &Trust::System).unwrap();
    assert!(!format!("{client:?}").contains("xk_secret"));
}

fn events_of(text: &[u8], piece: usize) -> Vec<(String, String)> {
    let mut parser = Parser::default();
    let mut found = Vec::new();
    for bytes in text.chunks(piece) {
        parser.push(bytes).unwrap();
        while let Some(event) = parser.next() {
            found.push((event.name, event.data));
        }
    }
    found
}

#[test]
fn events_come_whole_however_the_bytes_are_cut() {
    let text = ": hello\n\nevent: job\ndata: {\"a\":\ndata:1}\n\r\nevent:x\r\ndata: y\r\n\r\nevent: empty\n\nid: 7\ndata: ü\n\ndata: cut";
    let whole = [("job", "{\"a\":\n1}"), ("x", "y"), ("", "ü")].map(|(n, d)| (n.to_owned(), d.to_owned()));
    for piece in 1..text.len() + 1 {
        assert_eq!(events_of(text.as_bytes(), piece), whole, "in pieces of {piece}");
    }
}

#[test]
fn a_bad_event_is_an_error_and_others_are_skipped() {
    let bytes = stream::iter([Ok(Bytes::from_static(b"event: other\ndata: 1\n\nevent: job\ndata: {}\n\n"))]);
    let found: Vec<_> = futures::executor::block_on(events::jobs(bytes).collect());
    assert_eq!(found.len(), 1);
    assert!(matches!(found[0], Err(Error::Answer { .. })));
}

#[test]
fn an_endless_event_is_refused() {
    let mut parser = Parser::default();
    let piece = vec![b'a'; 1 << 20];
    let error = (0..65).find_map(|_| {
        assert_eq!(parser.next(), None);
        parser.push(&piece).err()
    });
    assert!(matches!(error, Some(Error::TooLong { .. })));
}
