use super::*;
use crate::cmd::samples;

#[test]
fn points_are_listed_and_shown() {
    let names = names(&[samples::datastore()]);
    insta::assert_snapshot!("listing", listing(&[samples::point()], &names));
    insta::assert_snapshot!("shown", shown(&samples::point(), &names));
    insta::assert_snapshot!(listing(&[], &names), @"no restore points");
}

#[test]
fn a_datastore_that_is_gone_is_shown_by_its_id() {
    let listing = listing(&[samples::point()], &Names::new());
    assert!(listing.contains(&samples::datastore().id.to_string()), "{listing}");
}
