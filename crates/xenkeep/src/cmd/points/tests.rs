use xenkeep_api::{PointProtection, VerifyDepth};

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
fn what_is_out_of_the_ordinary_is_said() {
    let protection = PointProtection { reason: "before the upgrade".into(), since: samples::at(0) };
    let damage = PointDamage {
        found_at: samples::at(100),
        depth: VerifyDepth::Full,
        disks: vec!["0".into(), "3".into()],
        files: vec!["ova.xml".into()],
        whole: false,
    };
    let point = Point { protection: Some(protection), damage: Some(damage), ..samples::point() };
    let names = names(&[samples::datastore()]);
    insta::assert_snapshot!("listing_with_notes", listing(std::slice::from_ref(&point), &names));
    insta::assert_snapshot!("shown_with_notes", shown(&point, &names));
    insta::assert_snapshot!(protected(&point), @"point 3f2a91c0 is protected: before the upgrade");
    insta::assert_snapshot!(protected(&samples::point()), @"point 3f2a91c0 is not protected any more");
}

#[test]
fn a_datastore_that_is_gone_is_shown_by_its_id() {
    let listing = listing(&[samples::point()], &Names::new());
    assert!(listing.contains(&samples::datastore().id.to_string()), "{listing}");
}
