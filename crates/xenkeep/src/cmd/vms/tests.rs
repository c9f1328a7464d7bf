use super::*;
use crate::cmd::samples;

#[test]
fn vms_are_listed_with_the_sum_of_their_disks() {
    insta::assert_snapshot!("listing", listing(&[samples::vm()]));
    insta::assert_snapshot!("disks", disks(&[samples::vm()]));
}
