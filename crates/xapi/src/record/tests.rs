#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

#[test]
fn unknown_fields_are_skipped_and_missing_ones_default() {
    let vm: Vm = serde_json::from_value(json!({
        "uuid": "u", "name_label": "web", "power_state": "Running", "VBDs": ["OpaqueRef:1"], "VCPUs_max": "4",
        "memory_static_max": 4_294_967_296_i64, "something_new": {"a": []}, "metrics": "OpaqueRef:NULL", "tags": null,
        "snapshot_time": "20260821T02:00:23Z", "other_config": {"mac_seed": "s"},
    }))
    .unwrap();
    assert_eq!((vm.power_state, vm.vcpus_max, vm.vbds.len()), (PowerState::Running, 4, 1));
    assert!(vm.metrics.is_null() && vm.guest_metrics.is_null() && vm.snapshot_of.is_null() && vm.tags.is_empty());
    assert_eq!(vm.snapshot_time.to_string(), "2026-08-21T02:00:23Z");
}

#[test]
fn a_wrong_kind_is_an_error_that_names_the_field() {
    let error = serde_json::from_value::<Vdi>(json!({ "virtual_size": "much" })).unwrap_err();
    assert_eq!(error.to_string(), "VDI.virtual_size: \"much\" is no integer");
    assert!(serde_json::from_value::<Vdi>(json!([])).is_err());
}

#[test]
fn unknown_states_are_kept() {
    let task: Task = serde_json::from_value(json!({ "status": "dozing", "progress": 1 })).unwrap();
    assert_eq!(task.status, TaskStatus::Other("dozing".into()));
    assert!(!task.is_under_way());
    let vbd: Vbd = serde_json::from_value(json!({ "type": "CD" })).unwrap();
    assert_eq!(vbd.kind, VbdType::Cd);
}

#[test]
fn tells_backup_sources_from_the_rest() {
    let of = |record| serde_json::from_value::<Vm>(record).unwrap();
    assert!(of(json!({})).is_backup_source());
    assert!(of(json!({ "is_a_template": true })).is_backup_source(), "a template of the administrator");
    for record in [
        json!({ "is_a_template": true, "is_default_template": true }),
        json!({ "is_a_template": true, "other_config": { "default_template": "true" } }),
        json!({ "is_a_template": true, "is_a_snapshot": true }),
        json!({ "is_control_domain": true }),
    ] {
        assert!(!of(record.clone()).is_backup_source(), "{record}");
    }
}

#[test]
fn free_space_is_known_or_not() {
    let of =
        |size: i64, used: i64| Sr { physical_size: size, physical_utilisation: used, ..Sr::default() }.free_bytes();
    assert_eq!(of(100, 30), Some(70));
    assert_eq!(of(100, 130), Some(0));
    assert_eq!(of(100, -1), Some(100));
    assert_eq!((of(0, 0), of(-1, -1)), (None, None));
}

#[test]
fn addresses_of_a_guest_in_order_and_once() {
    let networks = [
        ("1/ip", "10.1.0.2"),
        ("0/ip", "10.0.0.2"),
        ("0/ipv4/0", "10.0.0.2"),
        ("0/ipv6/0", "fe80::1"),
        ("0/ipv6/1", "2001:db8::1"),
        ("2/ip", "169.254.1.1"),
        ("3/ip", "no address"),
    ];
    let metrics = VmGuestMetrics {
        networks: networks.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..VmGuestMetrics::default()
    };
    let texts: Vec<_> = metrics.addresses().iter().map(ToString::to_string).collect();
    assert_eq!(texts, ["10.0.0.2", "2001:db8::1", "10.1.0.2"]);
}

#[test]
fn product_for_people() {
    let software_version = [("product_brand", "XCP-ng"), ("product_version", "8.3.0")];
    let software_version = software_version.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    assert_eq!(Host { software_version, ..Host::default() }.product(), "XCP-ng 8.3.0");
    assert_eq!(Host::default().product(), "XenServer");
}
