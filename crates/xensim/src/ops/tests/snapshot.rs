use super::{error, r, s};
use crate::{
    fault::{Fault, FaultKind},
    model::{Class, Ref, Value},
    testing::{Bench, DISK_BYTES},
};

const NO: Value = Value::Bool(false);

fn disks(bench: &Bench, vm: &Ref) -> Vec<Ref> {
    let mut vbds = bench.refs(vm, "VBDs");
    vbds.sort_by_key(|vbd| bench.text(vbd, "userdevice"));
    vbds.iter().map(|vbd| bench.one(vbd, "VDI")).collect()
}

fn byte(bench: &Bench, vdi: &Ref) -> u8 {
    let mut buf = [0; 1];
    bench.world.storage.reader(&bench.text(vdi, "uuid")).unwrap().read(0, &mut buf).unwrap();
    buf[0]
}

fn write(bench: &Bench, vdi: &Ref, byte: u8) {
    bench.world.storage.write(&bench.text(vdi, "uuid"), 0, &[byte]).unwrap();
}

#[tokio::test]
async fn a_snapshot_holds_still() {
    let bench = Bench::new().await;
    bench.world.power_on(&bench.vm);
    let live = disks(&bench, &bench.vm);
    write(&bench, &live[0], 1);
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("snap")]).await;
    write(&bench, &live[0], 2);
    let frozen = disks(&bench, &snapshot);
    assert_eq!((byte(&bench, &frozen[0]), byte(&bench, &live[0])), (1, 2));

    let t = |field: &str| bench.world.db.read(|t| t.get(&snapshot, field).cloned().unwrap());
    assert_eq!(t("is_a_snapshot"), Value::Bool(true));
    assert_eq!(t("is_a_template"), Value::Bool(true));
    assert_eq!(t("snapshot_of"), r(&bench.vm));
    assert_eq!(t("power_state"), s("Halted"));
    assert_eq!(t("name_label"), s("snap"));
    assert_eq!(
        t("snapshot_info"),
        Value::map([("power-state-at-snapshot", "Running"), ("disk-snapshot-type", "crash_consistent")])
    );
    assert_eq!(bench.refs(&bench.vm, "snapshots"), std::slice::from_ref(&snapshot));
    assert_eq!(bench.one(&bench.vm, "parent"), snapshot);
    for (frozen, live) in frozen.iter().zip(&live) {
        assert_eq!(bench.one(frozen, "snapshot_of"), *live);
        assert_eq!(bench.text(frozen, "name_label"), bench.text(live, "name_label"));
    }
    let mac = |vm: &Ref| bench.text(&bench.refs(vm, "VIFs")[0], "MAC");
    assert_eq!(mac(&snapshot), mac(&bench.vm));
    let vbd = bench.refs(&snapshot, "VBDs").remove(0);
    assert_eq!(bench.world.db.read(|t| t.entry(&vbd, "other_config", "owner")).as_deref(), Some(""));
    assert_eq!(bench.text(&vbd, "device"), "");
    let Value::Set(mut allowed) = t("allowed_operations") else { panic!("no set") };
    allowed.sort_by_key(|operation| operation.as_str().map(str::to_owned));
    assert_eq!(Value::Set(allowed), Value::texts(["clone", "copy", "destroy", "export", "metadata_export", "revert"]));
}

#[tokio::test]
async fn disks_can_be_left_out() {
    let bench = Bench::new().await;
    let live = disks(&bench, &bench.vm);
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("snap"), Value::texts([&live[1]])]).await;
    assert_eq!(disks(&bench, &snapshot).len(), 1);
    assert_eq!(bench.refs(&live[1], "snapshots").len(), 0);
}

#[tokio::test]
async fn a_failed_snapshot_leaves_nothing() {
    let bench = Bench::new().await;
    let before = (bench.count(Class::Vm), bench.count(Class::Vdi), bench.count(Class::Vbd));
    let mut fault = Fault::new(FaultKind::SrFullSnapshot);
    fault.skip = 1;
    bench.world.faults.arm(fault);
    let refused = bench.refused("VM.snapshot", [r(&bench.vm), s("snap")]).await;
    assert_eq!(refused, error("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]));
    assert_eq!((bench.count(Class::Vm), bench.count(Class::Vdi), bench.count(Class::Vbd)), before);
    assert!(bench.world.db.read(|t| t.map(&bench.vm, "current_operations")).is_empty());
}

#[tokio::test]
async fn clones_and_copies_are_their_own() {
    let bench = Bench::new().await;
    let live = disks(&bench, &bench.vm);
    write(&bench, &live[0], 7);
    let second = bench.named(Class::Sr, "Second storage");
    let clone = bench.made("VM.clone", [r(&bench.vm), s("clone")]).await;
    let copy = bench.made("VM.copy", [r(&bench.vm), s("copy"), r(&second)]).await;
    for twin in [&clone, &copy] {
        assert_eq!(byte(&bench, &disks(&bench, twin)[0]), 7);
        assert_ne!(
            bench.text(&bench.refs(twin, "VIFs")[0], "MAC"),
            bench.text(&bench.refs(&bench.vm, "VIFs")[0], "MAC")
        );
        assert_eq!(bench.done("VM.get_is_a_template", [r(twin)]).await, NO);
        assert!(bench.one(twin, "snapshot_of").is_null());
    }
    assert_eq!(bench.one(&disks(&bench, &copy)[0], "SR"), second);
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("snap")]).await;
    let from_snapshot = bench.made("VM.clone", [r(&snapshot), s("x")]).await;
    assert_eq!(bench.done("VM.get_is_a_template", [r(&from_snapshot)]).await, Value::Bool(true));
    assert_eq!(bench.done("VM.get_is_a_snapshot", [r(&from_snapshot)]).await, NO);
}

#[tokio::test]
async fn reverting_brings_the_disks_back() {
    let bench = Bench::new().await;
    let live = disks(&bench, &bench.vm);
    write(&bench, &live[0], 1);
    let mac = bench.text(&bench.refs(&bench.vm, "VIFs")[0], "MAC");
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("snap")]).await;
    write(&bench, &live[0], 2);
    bench.world.power_on(&bench.vm);
    bench.done("VM.revert", [r(&snapshot)]).await;
    let now = disks(&bench, &bench.vm);
    assert_eq!(now.len(), 2);
    assert_eq!(byte(&bench, &now[0]), 1);
    assert!(!bench.world.db.read(|t| t.has(Class::Vdi, &live[0])), "the old disk is gone");
    assert_eq!(bench.one(&disks(&bench, &snapshot)[0], "snapshot_of"), now[0]);
    assert_eq!(bench.text(&bench.vm, "power_state"), "Halted");
    assert_eq!(bench.text(&bench.refs(&bench.vm, "VIFs")[0], "MAC"), mac);
    assert_eq!(bench.refused("VM.revert", [r(&bench.vm)]).await.0, "OPERATION_NOT_ALLOWED");
}

#[tokio::test]
async fn a_checkpoint_holds_memory() {
    let bench = Bench::new().await;
    bench.world.power_on(&bench.vm);
    let checkpoint = bench.made("VM.checkpoint", [r(&bench.vm), s("c")]).await;
    assert_eq!(bench.text(&checkpoint, "power_state"), "Suspended");
    assert_eq!(bench.text(&bench.one(&checkpoint, "suspend_VDI"), "type"), "suspend");
    assert_eq!(bench.text(&bench.vm, "power_state"), "Running");
    bench.done("VM.revert", [r(&checkpoint)]).await;
    assert_eq!(bench.text(&bench.vm, "power_state"), "Suspended");
    assert!(!bench.one(&bench.vm, "suspend_VDI").is_null());
}

#[tokio::test]
async fn the_tree_of_snapshots_heals() {
    let bench = Bench::new().await;
    let first = bench.made("VM.snapshot", [r(&bench.vm), s("1")]).await;
    let second = bench.made("VM.snapshot", [r(&bench.vm), s("2")]).await;
    assert_eq!(bench.one(&second, "parent"), first);
    bench.done("VM.destroy", [r(&second)]).await;
    assert_eq!(bench.one(&bench.vm, "parent"), first);
    bench.done("VM.destroy", [r(&bench.vm)]).await;
    assert_eq!(bench.one(&first, "snapshot_of"), bench.vm, "it dangles");
    bench.done("VM.revert", [r(&first)]).await;
    let reborn = bench.one(&first, "snapshot_of");
    assert_eq!(bench.refs(&reborn, "VBDs").len(), 2);
}

#[tokio::test]
async fn disks_alone() {
    let bench = Bench::new().await;
    let sr = bench.default_sr();
    let record = |size: i64| {
        Value::map([
            ("SR", r(&sr)),
            ("name_label", s("d")),
            ("virtual_size", Value::Int(size)),
            ("type", s("user")),
            ("sharable", NO),
            ("read_only", NO),
            ("other_config", Value::Map(Default::default())),
        ])
    };
    let vdi = bench.made("VDI.create", [record(3_000_000)]).await;
    assert_eq!(bench.done("VDI.get_virtual_size", [r(&vdi)]).await, Value::Int(4 << 20), "rounded up to 2 MiB");
    assert_eq!(bench.refused("VDI.create", [record(0)]).await.0, "SR_BACKEND_FAILURE_79");
    let mut as_text = record(0).as_map().unwrap().clone();
    as_text.insert("virtual_size".to_owned(), s("6291456"));
    let textual = bench.made("VDI.create", [as_text.clone().into()]).await;
    assert_eq!(
        bench.done("VDI.get_virtual_size", [r(&textual)]).await,
        Value::Int(6 << 20),
        "integers may come as text"
    );
    bench.done("VDI.destroy", [r(&textual)]).await;
    as_text.insert("virtual_size".to_owned(), s("much"));
    assert_eq!(bench.refused("VDI.create", [as_text.into()]).await, error("FIELD_TYPE_ERROR", ["virtual_size"]));
    let iso = bench.named(Class::Sr, "ISO library");
    let mut on_iso = record(1 << 20).as_map().unwrap().clone();
    on_iso.insert("SR".to_owned(), r(&iso));
    assert_eq!(bench.refused("VDI.create", [on_iso.into()]).await, error("SR_OPERATION_NOT_SUPPORTED", [iso.as_str()]));

    write(&bench, &vdi, 9);
    let snapshot = bench.made("VDI.snapshot", [r(&vdi)]).await;
    let clone = bench.made("VDI.clone", [r(&snapshot), Value::Map(Default::default())]).await;
    let copy = bench.made("VDI.copy", [r(&snapshot), r(&bench.named(Class::Sr, "Second storage"))]).await;
    for twin in [&snapshot, &clone, &copy] {
        assert_eq!(byte(&bench, twin), 9);
    }
    bench.done("VDI.resize", [r(&clone), Value::Int(8 << 20)]).await;
    bench.done("VDI.copy", [r(&snapshot), r(&sr), r(&Ref::null()), r(&clone)]).await;
    assert_eq!(
        bench.refused("VDI.copy", [r(&clone), r(&sr), r(&Ref::null()), r(&copy)]).await,
        error("VDI_TOO_SMALL", [copy.as_str(), &(8 << 20).to_string()])
    );
    bench.world.faults.arm(Fault::new(FaultKind::VdiInUse));
    assert_eq!(bench.refused("VDI.destroy", [r(&snapshot)]).await, error("VDI_IN_USE", [snapshot.as_str(), "destroy"]));
    bench.done("VDI.destroy", [r(&snapshot)]).await;
    assert_eq!(bench.refused("VDI.destroy", [r(&snapshot)]).await.0, "HANDLE_INVALID");
    bench.done("SR.scan", [r(&sr)]).await;
    let virtual_bytes = bench.world.db.read(|t| t.int(&sr, "virtual_allocation"));
    assert_eq!(virtual_bytes, i64::try_from(2 * DISK_BYTES).unwrap() + (4 << 20) + (8 << 20));
}
