use super::{error, r, s};
use crate::{
    model::{Class, Map, Ref, Value},
    ops::vbd,
    testing::Bench,
};

const NO: Value = Value::Bool(false);

fn vbd_record(vm: &Ref, vdi: &Ref, position: &str, mode: &str) -> Value {
    Value::map([
        ("VM", r(vm)),
        ("VDI", r(vdi)),
        ("userdevice", s(position)),
        ("bootable", NO),
        ("mode", s(mode)),
        ("type", s("Disk")),
        ("empty", NO),
        ("other_config", Value::Map(Map::new())),
        ("qos_algorithm_type", s("")),
        ("qos_algorithm_params", Value::Map(Map::new())),
    ])
}

#[tokio::test]
async fn disks_are_plugged_where_they_fit() {
    let bench = Bench::new().await;
    let vdi = bench.one(&bench.refs(&bench.vm, "VBDs")[0], "VDI");
    assert_eq!(
        bench.refused("VBD.create", [vbd_record(&bench.vm, &vdi, "0", "RW")]).await,
        error("DEVICE_ALREADY_EXISTS", ["0"])
    );
    assert_eq!(
        bench.refused("VBD.create", [vbd_record(&bench.vm, &vdi, "zz", "RW")]).await,
        error("INVALID_DEVICE", ["zz"])
    );
    assert_eq!(
        bench.refused("VBD.create", [vbd_record(&bench.vm, &Ref::from("OpaqueRef:x"), "3", "RW")]).await,
        error("HANDLE_INVALID", ["VDI", "OpaqueRef:x"])
    );
    let copy = bench.made("VDI.clone", [r(&vdi)]).await;
    let device = bench.made("VBD.create", [vbd_record(&bench.vm, &copy, "autodetect", "RW")]).await;
    assert_eq!(bench.text(&device, "userdevice"), "2");
    let free = bench.done("VM.get_allowed_VBD_devices", [r(&bench.vm)]).await;
    assert_eq!(free.as_set().unwrap()[0], s("3"));
    assert_eq!(
        bench.refused("VBD.plug", [r(&device)]).await,
        error("VM_BAD_POWER_STATE", [bench.vm.as_str(), "running", "halted"])
    );
    bench.world.power_on(&bench.vm);
    assert_eq!(bench.refused("VBD.plug", [r(&device)]).await, error("DEVICE_ALREADY_ATTACHED", [device.as_str()]));
    assert_eq!(bench.refused("VDI.destroy", [r(&copy)]).await, error("VDI_IN_USE", [copy.as_str(), "destroy"]));
    assert_eq!(bench.refused("VBD.destroy", [r(&device)]).await.0, "OPERATION_NOT_ALLOWED");
    bench.done("VBD.unplug", [r(&device)]).await;
    assert_eq!(bench.refused("VBD.unplug", [r(&device)]).await, error("DEVICE_ALREADY_DETACHED", [device.as_str()]));
    bench.done("VBD.destroy", [r(&device)]).await;
    bench.done("VDI.destroy", [r(&copy)]).await;
}

#[tokio::test]
async fn transfers_plug_into_the_control_domain() {
    let bench = Bench::new().await;
    let vdi = bench.one(&bench.refs(&bench.vm, "VBDs")[0], "VDI");
    let device = vbd::attach_to_dom0(&bench.world, 1, &vdi, "RO").unwrap();
    let dom0 = bench.named(Class::Vm, "Control domain on host: xensim-2");
    assert_eq!(bench.refs(&dom0, "VBDs"), std::slice::from_ref(&device));
    assert_eq!(bench.refused("VDI.destroy", [r(&vdi)]).await.0, "VDI_IN_USE");
    assert_eq!(bench.refused("VM.start", [r(&bench.vm), NO, NO]).await, error("VDI_IN_USE", [vdi.as_str(), "attach"]));
    vbd::detach_from_dom0(&bench.world, &device);
    bench.world.power_on(&bench.vm);
    assert_eq!(vbd::attach_to_dom0(&bench.world, 0, &vdi, "RO").unwrap_err().code, "VDI_IN_USE");
    assert!(bench.refs(&dom0, "VBDs").is_empty());
}

#[tokio::test]
async fn discs_go_in_and_out() {
    let bench = Bench::new().await;
    let mut record = vbd_record(&bench.vm, &Ref::null(), "3", "RO").as_map().unwrap().clone();
    record.insert("type".to_owned(), s("CD"));
    record.insert("empty".to_owned(), Value::Bool(true));
    let drive = bench.made("VBD.create", [record.into()]).await;
    let iso = bench.named(Class::Vdi, "debian-12.iso");
    assert_eq!(bench.refused("VBD.eject", [r(&drive)]).await, error("VBD_IS_EMPTY", [drive.as_str()]));
    bench.done("VBD.insert", [r(&drive), r(&iso)]).await;
    assert_eq!(bench.refused("VBD.insert", [r(&drive), r(&iso)]).await, error("VBD_NOT_EMPTY", [drive.as_str()]));
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("snap")]).await;
    let copied = bench.refs(&snapshot, "VBDs").into_iter().any(|vbd| bench.one(&vbd, "VDI") == iso);
    assert!(copied, "the snapshot has the same disc");
    bench.done("VBD.eject", [r(&drive)]).await;
    let disk = bench.refs(&bench.vm, "VBDs").remove(0);
    assert_eq!(bench.refused("VBD.eject", [r(&disk)]).await, error("VBD_NOT_REMOVABLE_MEDIA", [disk.as_str()]));
}

#[tokio::test]
async fn interfaces_get_their_addresses() {
    let bench = Bench::new().await;
    let network = bench.named(Class::Network, "Internal network");
    let record = |device: &str, mac: &str| {
        Value::map([
            ("VM", r(&bench.vm)),
            ("network", r(&network)),
            ("device", s(device)),
            ("MAC", s(mac)),
            ("MTU", Value::Int(1500)),
            ("other_config", Value::Map(Map::new())),
            ("qos_algorithm_type", s("")),
            ("qos_algorithm_params", Value::Map(Map::new())),
        ])
    };
    assert_eq!(bench.refused("VIF.create", [record("0", "")]).await, error("DEVICE_ALREADY_EXISTS", ["0"]));
    for bad in ["xx", "01:00:00:00:00:00", "02:00:00:00:00"] {
        assert_eq!(bench.refused("VIF.create", [record("1", bad)]).await, error("MAC_INVALID", [bad]));
    }
    let seed = bench.world.db.read(|t| t.entry(&bench.vm, "other_config", "mac_seed")).unwrap();
    let made = bench.made("VIF.create", [record("3", "")]).await;
    assert_eq!(bench.text(&made, "MAC"), crate::ops::vif::mac_for(&seed, 3));
    let given = bench.made("VIF.create", [record("1", "02:AB:00:00:00:01")]).await;
    assert_eq!(bench.text(&given, "MAC"), "02:ab:00:00:00:01");
    assert_eq!(bench.done("VIF.get_MAC_autogenerated", [r(&given)]).await, NO);
    let other = bench.named(Class::Network, "Pool-wide network associated with eth0");
    bench.done("VIF.move", [r(&given), r(&other)]).await;
    assert!(bench.refs(&other, "VIFs").contains(&given));
    bench.done("VIF.destroy", [r(&given)]).await;
}

#[tokio::test]
async fn a_tpm_keeps_its_contents() {
    let bench = Bench::new().await;
    let vtpm = bench.made("VTPM.create", [r(&bench.vm), NO]).await;
    assert_eq!(bench.refused("VTPM.create", [r(&bench.vm), NO]).await, error("VTPM_MAX_AMOUNT_REACHED", ["1"]));
    bench.done("VTPM.set_contents", [r(&vtpm), s("secret")]).await;
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("snap")]).await;
    let copy = bench.refs(&snapshot, "VTPMs").remove(0);
    assert_eq!(bench.done("VTPM.get_contents", [r(&copy)]).await, s("secret"));
    bench.done("VTPM.destroy", [r(&vtpm)]).await;
}

#[tokio::test]
async fn an_sr_without_hosts_is_of_no_use() {
    let bench = Bench::new().await;
    let sr = bench.named(Class::Sr, "Second storage");
    for pbd in bench.refs(&sr, "PBDs") {
        bench.done("PBD.unplug", [r(&pbd)]).await;
    }
    assert_eq!(bench.refused("SR.scan", [r(&sr)]).await, error("SR_HAS_NO_PBDS", [sr.as_str()]));
    let vdi = bench.one(&bench.refs(&bench.vm, "VBDs")[0], "VDI");
    assert_eq!(bench.refused("VDI.copy", [r(&vdi), r(&sr)]).await.0, "SR_HAS_NO_PBDS");
}

#[tokio::test]
async fn an_sr_can_be_made_and_removed() {
    let bench = Bench::new().await;
    let host = bench.world.master().clone();
    let args = |kind: &str| {
        let nothing = Value::Map(Map::new());
        let config = Value::map([("device", "/dev/sdb")]);
        [r(&host), config, s("1073741824"), s("new"), s(""), s(kind), s("user"), NO, nothing]
    };
    assert_eq!(bench.refused("SR.create", args("floppy")).await, error("SR_UNKNOWN_DRIVER", ["floppy"]));
    let sr = bench.made("SR.create", args("ext")).await;
    assert_eq!(bench.refs(&sr, "PBDs").len(), 1);
    let vdi = bench.one(&bench.refs(&bench.vm, "VBDs")[0], "VDI");
    let copy = bench.made("VDI.copy", [r(&vdi), r(&sr)]).await;
    assert_eq!(bench.refused("SR.destroy", [r(&sr)]).await.0, "SR_BACKEND_FAILURE_39");
    bench.done("VDI.destroy", [r(&copy)]).await;
    assert_eq!(bench.refused("SR.forget", [r(&sr)]).await, error("SR_HAS_PBD", [sr.as_str()]));
    bench.done("PBD.unplug", [r(&bench.refs(&sr, "PBDs")[0])]).await;
    bench.done("SR.forget", [r(&sr)]).await;
    assert!(!bench.world.db.read(|t| t.has(Class::Sr, &sr)));
}
