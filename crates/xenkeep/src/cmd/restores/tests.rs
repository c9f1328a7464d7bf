use super::*;
use crate::cmd::samples;

#[test]
fn what_will_be_removed_is_named_by_uuid_and_name() {
    insta::assert_snapshot!("overwrite", consequences("lab", Some(&samples::vm()), &samples::point()));
    insta::assert_snapshot!("nothing_removed", consequences("lab", None, &samples::point()));
}

#[test]
fn a_restored_vm_is_summed_up() {
    insta::assert_snapshot!("summary", summary(&samples::restored_job()).unwrap_or_default());
}
