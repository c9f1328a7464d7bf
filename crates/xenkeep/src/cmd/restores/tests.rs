use xenkeep_api::{NetworkMatch, PlannedDisk, PlannedNetwork, PlannedSr, PoolDisk, PowerState, Problem, ReplacedVm};

use super::*;
use crate::cmd::samples;

fn plan() -> RestorePlan {
    let disk = |position: &str, name: &str| PoolDisk {
        position: position.to_owned(),
        vdi_uuid: format!("00000000-0000-0000-0000-00000000000{position}"),
        name: name.to_owned(),
        size_bytes: 10 << 30,
        sr: "Shared storage".to_owned(),
    };
    let point = samples::point();
    RestorePlan {
        point: point.id.clone(),
        client: "lab".to_owned(),
        vm_name: "web1".to_owned(),
        vm_uuid: Some(point.source_uuid.clone()),
        placement: Placement::overwrite(),
        replaced: Some(ReplacedVm {
            uuid: point.source_uuid,
            name: "web1 (old)".to_owned(),
            power_state: PowerState::Running,
            disks: vec![disk("0", "system")],
            kept_disks: vec![disk("5", "later")],
            destroyed_first: false,
        }),
        disks: vec![PlannedDisk {
            position: "0".to_owned(),
            name: "system".to_owned(),
            size_bytes: 10 << 30,
            data_bytes: 3 << 30,
            sr_uuid: Some("u".to_owned()),
            sr: Some("Shared storage".to_owned()),
        }],
        srs: vec![PlannedSr {
            uuid: "u".to_owned(),
            name: "Shared storage".to_owned(),
            free_bytes: Some(2 << 30),
            needed_bytes: 3 << 30,
            freed_bytes: 0,
        }],
        networks: vec![PlannedNetwork {
            device: "0".to_owned(),
            from: "LAN".to_owned(),
            from_uuid: "n".to_owned(),
            to_uuid: None,
            to: None,
            by: NetworkMatch::Missing,
            mac: Some("02:00:00:00:00:01".to_owned()),
        }],
        point_version: "XCP-ng 8.3".to_owned(),
        pool_version: "XCP-ng 8.3".to_owned(),
        start: false,
        warnings: Vec::new(),
        refusals: vec![Problem::new("sr.too_small", "SR Shared storage has 2.0 GiB free").hint("choose another")],
        ok: false,
    }
}

#[test]
fn what_will_be_removed_is_named_by_uuid_and_name() {
    insta::assert_snapshot!("overwrite", plan::consequences(&plan()));
    let first = ReplacedVm { destroyed_first: true, ..plan().replaced.unwrap() };
    insta::assert_snapshot!("destroy_first", plan::consequences(&RestorePlan { replaced: Some(first), ..plan() }));
    insta::assert_snapshot!("nothing_removed", plan::consequences(&RestorePlan { replaced: None, ..plan() }));
}

#[test]
fn a_plan_is_shown_with_its_numbers() {
    insta::assert_snapshot!("plan", plan::text(&plan()));
}

#[test]
fn names_are_made_of_the_vm_and_the_day() {
    let point = samples::point();
    assert_eq!(named("{name}-restored", &point), format!("{}-restored", point.source_name));
    assert!(named("{name}-{date}", &point).contains(&point.taken_at.strftime("%Y-%m-%d").to_string()));
    assert_eq!(named("plain", &point), "plain");
}

#[test]
fn a_pair_has_two_sides() {
    assert_eq!(pair("1=Big").unwrap(), ("1".to_owned(), "Big".to_owned()));
    for bad in ["", "1", "=Big", "1="] {
        assert!(pair(bad).is_err(), "{bad}");
    }
    let twice = [("0".to_owned(), "a".to_owned()), ("0".to_owned(), "b".to_owned())];
    assert!(once("--disk-sr", &twice).is_err());
}

#[test]
fn a_restored_vm_is_summed_up() {
    insta::assert_snapshot!("summary", summary(&samples::restored_job()).unwrap_or_default());
}
