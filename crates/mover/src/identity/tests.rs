#![allow(clippy::unwrap_used)]

use serde_json::json;
use xenkeep_api::{ClientId, JobId, PointKind};

use super::*;
use crate::point::{FORMAT, Named, PoolFile, Records};

/// The description of a snapshot's export: what must not survive in a restored VM.
fn exported(job: JobId) -> Ova {
    let mut ova = Ova::new(Struct::new());
    let other_config: Struct =
        [("mac_seed", "seed".to_owned()), ("folder", "/web".to_owned())].into_iter().chain(tags(job)).collect();
    let mut vm: Struct = [
        ("uuid", "snapshot-uuid"),
        ("name_label", "xenkeep job"),
        ("ha_restart_priority", "restart"),
        ("snapshot_metadata", "(())"),
        ("order", "0"),
    ]
    .into_iter()
    .collect();
    vm.set("is_a_template", true);
    vm.set("other_config", other_config);
    ova.push("VM", "Ref:0", vm);
    let vbd: Struct =
        [("uuid", "snapshot-vbd"), ("userdevice", "0"), ("VM", "Ref:0"), ("type", "Disk"), ("VDI", "Ref:3")]
            .into_iter()
            .collect();
    ova.push("VBD", "Ref:1", vbd);
    let vif: Struct =
        [("uuid", "snapshot-vif"), ("device", "0"), ("VM", "Ref:0"), ("MAC", "aa:aa")].into_iter().collect();
    ova.push("VIF", "Ref:2", vif);
    let mut vdi: Struct = [("uuid", "snapshot-vdi")].into_iter().collect();
    vdi.set("other_config", tags(job).collect::<Struct>());
    ova.push("VDI", "Ref:3", vdi);
    ova
}

fn tags(job: JobId) -> impl Iterator<Item = (&'static str, String)> {
    tag::tags(job, ClientId::random(), "backup").into_iter()
}

fn point(job: JobId) -> PointFile {
    PointFile {
        format: FORMAT,
        written_by: "test".into(),
        kind: PointKind::Vm,
        job,
        client: Named { id: ClientId::random(), name: "lab".into() },
        pool: PoolFile { uuid: "pool".into(), name: "pool".into(), product: "XCP-ng".into() },
        vm: Some(Named { id: "vm-uuid".into(), name: "web1".into() }),
        source: None,
        summary: None,
        taken_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        consistency: "crash".into(),
        quiesced_by: None,
        consistency_asked: None,
        backup_type: None,
        left_out: Vec::new(),
        transport: "xva".into(),
        size_bytes: 0,
        moved_bytes: 0,
        new_bytes: 0,
        stored_bytes: 0,
        disks: Vec::new(),
        memory: None,
        records: Records {
            vm: json!({
                "uuid": "vm-uuid", "name_label": "web1", "name_description": "shop", "is_a_template": false,
                "ha_restart_priority": "restart", "order": "3", "start_delay": 7,
                "other_config": {"mac_seed": "seed"},
            }),
            vbds: vec![json!({"uuid": "vm-vbd", "userdevice": "0"})],
            vifs: vec![json!({"uuid": "vm-vif", "device": "0", "MAC": "aa:bb"})],
            ..Records::default()
        },
    }
}

fn vm(ova: &Ova) -> &Struct {
    &ova.vm().unwrap().snapshot
}

#[test]
fn the_original_is_itself_again() {
    let job = JobId::random();
    let mut ova = exported(job);
    Identity::of(&point(job)).put_on(&mut ova);
    let vm = vm(&ova);
    let texts = ["uuid", "name_label", "name_description", "ha_restart_priority", "snapshot_metadata"]
        .map(|field| vm.text(field).unwrap());
    assert_eq!(texts, ["vm-uuid", "web1", "shop", "restart", ""]);
    assert_eq!((vm.int("order"), vm.int("start_delay"), vm.flag("is_a_template")), (Some(3), Some(7), Some(false)));
    assert_eq!(ova.of_class("VBD").next().unwrap().text("uuid"), "vm-vbd");
    let vif = ova.of_class("VIF").next().unwrap();
    assert_eq!((vif.text("uuid"), vif.text("MAC")), ("vm-vif", "aa:bb"));
}

#[test]
fn no_mark_of_ours_survives_but_the_keys_of_others() {
    let job = JobId::random();
    let mut ova = exported(job);
    Identity::of(&point(job)).put_on(&mut ova);
    assert!(!ova.to_xml().contains("xenkeep:"), "{}", ova.to_xml());
    assert_eq!(vm(&ova).map("other_config").unwrap().text("folder"), Some("/web"));
}

#[test]
fn a_copy_beside_does_not_compete_for_restarts() {
    let job = JobId::random();
    let mut ova = exported(job);
    Identity::of(&point(job)).beside(&mut ova, "web1-copy");
    assert_eq!((vm(&ova).text("name_label"), vm(&ova).text("ha_restart_priority")), (Some("web1-copy"), Some("")));
}

#[test]
fn marks_are_put_on_the_vm_and_its_disks() {
    let job = JobId::random();
    let mut ova = exported(JobId::random());
    strip_tags(&mut ova);
    put_tags(&mut ova, &tag::tags(job, ClientId::random(), "restore"));
    for class in ["VM", "VDI"] {
        let marked = ova.of_class(class).next().unwrap().snapshot.map("other_config").unwrap();
        assert_eq!(marked.text(tag::JOB), Some(job.to_string().as_str()), "{class}");
    }
}

#[test]
fn a_point_can_be_restored_twice_although_no_two_tpms_have_one_uuid() {
    let job = JobId::random();
    let uuid = || {
        let mut ova = exported(job);
        let vtpm: Struct =
            [("vTPM'_uuid", "snapshot-vtpm"), ("vTPM'_VM", "Ref:0"), ("vTPM'_content", "secret")].into_iter().collect();
        ova.push("VTPM", "Ref:4", vtpm);
        Identity::of(&point(job)).beside(&mut ova, "web1-copy");
        let vtpm = ova.of_class("VTPM").next().unwrap();
        assert_eq!(vtpm.text("vTPM'_content"), "secret");
        vtpm.text("vTPM'_uuid").to_owned()
    };
    let (first, second) = (uuid(), uuid());
    assert!(first != "snapshot-vtpm" && first != second && first.parse::<Uuid>().is_ok(), "{first} {second}");
}
