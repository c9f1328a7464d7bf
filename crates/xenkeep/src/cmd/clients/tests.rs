use super::*;
use crate::cmd::samples;

#[test]
fn an_added_client_shows_the_certificate_that_was_pinned() {
    insta::assert_snapshot!(added(&samples::client(), false));
    let given = added(&samples::client(), true);
    assert!(given.contains("AB:AB") && !given.contains("openssl"), "{given}");
}

#[test]
fn http_has_no_certificate() {
    let client = Client { transport: Transport::Http, certificate_sha256: None, ..samples::client() };
    assert_eq!(added(&client, false), "added client lab: pool xen1 (XCP-ng 8.3.0, 2 hosts)\n");
}

#[test]
fn clients_are_listed_and_shown() {
    insta::assert_snapshot!("listing", listing(&[samples::client(), Client { pool: None, ..samples::client() }]));
    insta::assert_snapshot!("shown", shown(&samples::client()));
    insta::assert_snapshot!(listing(&[]), @"no clients yet: add a pool with `xenkeep client add`");
}
