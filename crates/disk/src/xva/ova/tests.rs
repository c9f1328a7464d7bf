#![allow(clippy::unwrap_used)]

use super::*;

fn record(fields: &[(&str, &str)]) -> Struct {
    fields.iter().map(|(name, text)| (*name, Value::from(*text))).collect()
}

/// A VM with two disks, a CD, a network card; and what hangs on them.
fn sample() -> Ova {
    let mut ova = Ova::new(record(&[("product_version", "8.2.1"), ("export_vsn", "2")]));
    let mut vm =
        record(&[("name_label", "web"), ("power_state", "Halted"), ("uuid", "u-vm"), ("suspend_VDI", "Ref:9")]);
    vm.set("is_a_template", true);
    vm.set("VBDs", ["Ref:2", "Ref:3", "Ref:4"].map(Value::from).to_vec());
    vm.map_mut("other_config").set("mac_seed", "seed");
    vm.set("field_of_the_future", vec![Value::Nil, Value::Double(1.5)]);
    ova.push("VM", "Ref:1", vm);
    for (id, vdi, kind, device) in
        [("Ref:2", "Ref:10", "Disk", "0"), ("Ref:3", "Ref:7", "CD", "3"), ("Ref:4", "Ref:8", "Disk", "1")]
    {
        let mut vbd = record(&[("VM", "Ref:1"), ("VDI", vdi), ("type", kind), ("userdevice", device), ("mode", "RW")]);
        vbd.set("bootable", device == "0");
        ova.push("VBD", id, vbd);
    }
    ova.push("VIF", "Ref:5", record(&[("VM", "Ref:1"), ("MAC", "00:16:3e:00:00:01"), ("network", "Ref:6")]));
    ova.push("network", "Ref:6", record(&[("name_label", "LAN")]));
    for (id, sr, size) in
        [("Ref:7", "Ref:12", "1"), ("Ref:8", "Ref:11", "2097152"), ("Ref:9", "Ref:11", "3"), ("Ref:10", "Ref:11", "4")]
    {
        ova.push("VDI", id, record(&[("SR", sr), ("virtual_size", size), ("uuid", &format!("u-{id}"))]));
    }
    ova.push("SR", "Ref:11", record(&[("content_type", "user")]));
    ova.push("SR", "Ref:12", record(&[("content_type", "iso")]));
    ova
}

#[test]
fn nothing_is_lost_when_it_is_written_back() {
    let ova = sample();
    assert_eq!(Ova::parse(ova.to_xml().as_bytes()).unwrap(), ova);
    let strange = "<value><struct>\
        <member><name>future</name><value>f</value></member>\
        <member><name>version</name><value><struct/></value></member>\
        <member><name>objects</name><value><array><data><value><struct>\
        <member><name>class</name><value>VM</value></member><member><name>id</name><value>Ref:0</value></member>\
        <member><name>more</name><value>m</value></member>\
        <member><name>snapshot</name><value><struct/></value></member>\
        </struct></value></data></array></value></member></struct></value>";
    let ova = Ova::parse(strange.as_bytes()).unwrap();
    let xml = ova.to_xml();
    assert!(xml.contains("<name>future</name><value>f</value>") && xml.contains("<name>more</name><value>m</value>"));
    assert_eq!(Ova::parse(xml.as_bytes()).unwrap(), ova);
}

#[test]
fn disks_are_those_whose_contents_are_archived() {
    let mut ova = sample();
    let disks = ova.disks().unwrap();
    // As text, `Ref:10` comes before `Ref:8`. The CD and the image of memory of a halted VM are not there.
    assert_eq!(disks.iter().map(|disk| disk.id.as_str()).collect::<Vec<_>>(), ["Ref:10", "Ref:8"]);
    let expected = OvaDisk {
        id: "Ref:10".into(),
        virtual_size: 4,
        vdi_uuid: "u-Ref:10".into(),
        name_label: String::new(),
        name_description: String::new(),
        sr: "Ref:11".into(),
        vbd: Some("Ref:2".into()),
        userdevice: "0".into(),
        bootable: true,
        read_only: false,
    };
    assert_eq!(disks[0], expected);
    ova.object_mut("Ref:1").unwrap().snapshot.set("power_state", "Suspended");
    let disks = ova.disks().unwrap();
    assert_eq!(disks.iter().map(|disk| disk.id.as_str()).collect::<Vec<_>>(), ["Ref:10", "Ref:8", "Ref:9"]);
    assert_eq!((disks[2].vbd.as_deref(), disks[2].userdevice.as_str()), (None, ""));
}

#[test]
fn a_restore_can_change_what_it_must() {
    let mut ova = sample();
    let vm = ova.vm().unwrap().id.clone();
    let vifs: Vec<_> = ova.vifs(&vm).map(|vif| vif.id.clone()).collect();
    let network = ova.follow(ova.object(&vifs[0]).unwrap(), "network").unwrap();
    assert_eq!(network.text("name_label"), "LAN");
    let record = &mut ova.object_mut(&vm).unwrap().snapshot;
    record.set("name_label", "web-2");
    record.set("is_a_template", false);
    record.map_mut("other_config").set("xenkeep:job", "j");
    ova.object_mut(&vifs[0]).unwrap().snapshot.set("MAC", "");
    ova.of_class_mut("network").for_each(|network| network.snapshot.set("name_label", "DMZ"));
    let ova = Ova::parse(ova.to_xml().as_bytes()).unwrap();
    let record = &ova.vm().unwrap().snapshot;
    assert_eq!((record.text("name_label"), record.flag("is_a_template")), (Some("web-2"), Some(false)));
    assert_eq!(record.map("other_config").unwrap().text("mac_seed"), Some("seed"));
    assert_eq!(record.map("other_config").unwrap().text("xenkeep:job"), Some("j"));
    assert_eq!(record.array("field_of_the_future").len(), 2);
    assert_eq!(ova.vifs(&vm).next().unwrap().text("MAC"), "");
    assert_eq!(ova.of_class("network").next().unwrap().text("name_label"), "DMZ");
}

#[test]
fn objects_leave_without_a_trace() {
    let mut ova = sample();
    ova.remove(&["Ref:4", "Ref:8", "Ref:6"]);
    assert_eq!(ova.vm().unwrap().snapshot.array("VBDs"), ["Ref:2".into(), "Ref:3".into()]);
    assert_eq!(ova.vifs("Ref:1").next().unwrap().text("network"), NULL_REF);
    assert_eq!(ova.vbds("Ref:1").count(), 2);
    assert_eq!(ova.disks().unwrap().len(), 1);
}

#[test]
fn the_one_vm_is_found_among_snapshots() {
    let mut ova = sample();
    let mut snapshot = record(&[("name_label", "snapshot")]);
    snapshot.set("is_a_snapshot", true);
    ova.push("VM", "Ref:20", snapshot);
    assert_eq!(ova.vm().unwrap().id, "Ref:1");
    ova.push("VM", "Ref:21", Struct::new());
    assert!(matches!(ova.vm(), Err(Error::Unsupported(_))));
    assert!(matches!(Ova::default().vm(), Err(Error::Damaged(_))));
}

#[test]
fn what_is_not_a_description_is_refused() {
    let disk = |id: &str, size: &str| {
        let mut ova = sample();
        ova.push("VDI", id, record(&[("virtual_size", size)]));
        ova.push("VBD", "Ref:99", record(&[("VDI", id), ("type", "Disk")]));
        ova.disks()
    };
    assert!(disk("Ref:30", "9223372036854775807").is_ok());
    for (id, size) in [
        ("Ref:30", "-1"),
        ("Ref:30", "9223372036854775808"),
        ("Ref:30", "many"),
        ("", "1"),
        ("../x", "1"),
        ("Ref 1", "1"),
        (&"R".repeat(65), "1"),
    ] {
        assert!(matches!(disk(id, size), Err(Error::Damaged(_))), "{id} {size}");
    }
    let mut twice = sample();
    twice.push("VM", "Ref:2", Struct::new());
    assert!(matches!(Ova::parse(twice.to_xml().as_bytes()), Err(Error::Damaged(_))));
    for xml in ["<value/>", "<value><struct/></value>", "<appliance", ""] {
        assert!(Ova::parse(xml.as_bytes()).is_err(), "{xml}");
    }
    let old = Ova::parse(b"\n<appliance version=\"0.1\"></appliance>");
    assert!(matches!(old, Err(Error::Unsupported(_))));
}
