use super::{error, r, s};
use crate::{
    model::{Class, Value},
    testing::Bench,
};

const NO: Value = Value::Bool(false);

#[tokio::test]
async fn a_machine_starts_and_stops() {
    let bench = Bench::new().await;
    let vm = r(&bench.vm);
    bench.done("VM.start", [vm.clone(), NO, NO]).await;
    assert_eq!(bench.text(&bench.vm, "power_state"), "Running");
    for vbd in bench.refs(&bench.vm, "VBDs") {
        assert_eq!(bench.done("VBD.get_currently_attached", [r(&vbd)]).await, Value::Bool(true));
        assert!(bench.text(&vbd, "device").starts_with("xvd"));
    }
    let host = bench.one(&bench.vm, "resident_on");
    assert!(bench.refs(&host, "resident_VMs").contains(&bench.vm));
    assert_eq!(bench.refs(&bench.vm, "consoles").len(), 1);
    assert_eq!(
        bench.refused("VM.start", [vm.clone(), NO, NO]).await,
        error("VM_BAD_POWER_STATE", [bench.vm.as_str(), "halted", "running"])
    );
    let mut changes = bench.world.db.changes();
    while bench.one(&bench.vm, "guest_metrics").is_null() {
        changes.changed().await.unwrap();
    }
    let metrics = bench.one(&bench.vm, "guest_metrics");
    let networks = bench.done("VM_guest_metrics.get_networks", [r(&metrics)]).await;
    assert!(networks.as_map().unwrap().contains_key("0/ip"), "{networks:?}");
    bench.done("VM.clean_shutdown", [vm.clone()]).await;
    assert_eq!(bench.text(&bench.vm, "power_state"), "Halted");
    assert!(bench.one(&bench.vm, "guest_metrics").is_null());
    assert!(bench.one(&bench.vm, "resident_on").is_null());
    assert_eq!(bench.count(Class::Console), 0);
}

#[tokio::test]
async fn checks_come_in_xapis_order() {
    let bench = Bench::new().await;
    let vm = r(&bench.vm);
    bench.done("VM.add_to_blocked_operations", [vm.clone(), s("clean_shutdown"), s("because")]).await;
    assert_eq!(
        bench.refused("VM.clean_shutdown", [vm.clone()]).await,
        error("OPERATION_BLOCKED", [bench.vm.as_str(), "because"])
    );
    bench.done("VM.add_to_blocked_operations", [vm.clone(), s("start"), s("no")]).await;
    let allows = || bench.world.db.read(|t| t.texts(&bench.vm, "allowed_operations").contains(&"start".to_owned()));
    assert!(!allows());
    bench.done("VM.remove_from_blocked_operations", [vm.clone(), s("start")]).await;
    assert!(allows());
    bench.done("VM.remove_from_blocked_operations", [vm.clone(), s("clean_shutdown")]).await;
    assert_eq!(bench.refused("VM.clean_shutdown", [vm.clone()]).await.0, "VM_BAD_POWER_STATE");
    assert_eq!(
        bench.refused("VM.checkpoint", [vm.clone(), s("c")]).await,
        error("VM_BAD_POWER_STATE", [bench.vm.as_str(), "paused, running, suspended", "halted"])
    );
    let template = bench.named(Class::Vm, "Debian Bookworm 12");
    assert_eq!(
        bench.refused("VM.start", [r(&template), NO, NO]).await,
        error("VM_IS_TEMPLATE", [template.as_str(), "start"])
    );
    assert_eq!(
        bench.refused("VM.destroy", [r(&template)]).await,
        error("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", [template.as_str()])
    );
    let dom0 = bench.named(Class::Vm, "Control domain on host: xensim-1");
    assert_eq!(bench.refused("VM.snapshot", [r(&dom0), s("x")]).await.0, "OPERATION_NOT_ALLOWED");
    let snapshot = bench.made("VM.snapshot", [vm.clone(), s("snap")]).await;
    assert_eq!(
        bench.refused("VM.start", [r(&snapshot), NO, NO]).await,
        error("VM_IS_SNAPSHOT", [snapshot.as_str(), "start"])
    );
    assert_eq!(
        bench.refused("VM.assert_operation_valid", [r(&template), s("snapshot")]).await,
        error("VM_IS_TEMPLATE", [template.as_str(), "snapshot"])
    );
}

#[tokio::test]
async fn operations_exclude_each_other() {
    let bench = Bench::new().await;
    let task = crate::model::Ref::from("OpaqueRef:task");
    let export = crate::ops::vm::begin(&bench.world, &bench.vm, "export", &task).unwrap();
    assert_eq!(
        bench.refused("VM.start", [r(&bench.vm), NO, NO]).await,
        error("OTHER_OPERATION_IN_PROGRESS", ["VM", bench.vm.as_str(), "export", "OpaqueRef:task"])
    );
    bench.made("VM.clone", [r(&bench.vm), s("clone")]).await;
    let allowed = bench.world.db.read(|t| t.texts(&bench.vm, "allowed_operations"));
    assert!(allowed.contains(&"clone".to_owned()) && !allowed.contains(&"start".to_owned()), "{allowed:?}");
    export.end();
    let allowed = bench.world.db.read(|t| t.texts(&bench.vm, "allowed_operations"));
    assert!(allowed.contains(&"start".to_owned()), "{allowed:?}");
    bench.done("VM.start", [r(&bench.vm), NO, NO]).await;
}

#[tokio::test]
async fn a_machine_comes_from_a_template() {
    let bench = Bench::new().await;
    let template = bench.named(Class::Vm, "Debian Bookworm 12");
    let vm = bench.made("VM.clone", [r(&template), s("new")]).await;
    assert_eq!(bench.done("VM.get_is_default_template", [r(&vm)]).await, NO);
    bench.done("VM.provision", [r(&vm)]).await;
    let vbd = bench.refs(&vm, "VBDs").remove(0);
    let vdi = bench.one(&vbd, "VDI");
    assert_eq!(bench.done("VDI.get_virtual_size", [r(&vdi)]).await, Value::Int(10 << 30));
    assert_ne!(
        bench.world.db.read(|t| t.entry(&vm, "other_config", "mac_seed")),
        bench.world.db.read(|t| t.entry(&template, "other_config", "mac_seed"))
    );
    let limits = [4_i64 << 20, 16 << 20, 4 << 20, 8 << 20].map(Value::Int);
    bench.done("VM.set_memory_limits", std::iter::once(r(&vm)).chain(limits)).await;
    assert_eq!(bench.done("VM.get_memory_static_max", [r(&vm)]).await, Value::Int(16 << 20));
    let limits = [4_i64 << 20, 2 << 20, 4 << 20, 8 << 20].map(Value::Int);
    let refused = bench.refused("VM.set_memory_limits", std::iter::once(r(&vm)).chain(limits)).await;
    assert_eq!(refused.0, "MEMORY_CONSTRAINT_VIOLATION");
    bench.done("VM.start", [r(&vm), NO, NO]).await;
    bench.done("VM.hard_shutdown", [r(&vm)]).await;
    bench.done("VM.destroy", [r(&vm)]).await;
    assert!(bench.world.db.read(|t| t.has(Class::Vdi, &vdi)), "disks stay");
    assert!(!bench.world.db.read(|t| t.has(Class::Vbd, &vbd)));
    bench.done("VDI.destroy", [r(&vdi)]).await;
}

#[tokio::test]
async fn a_suspended_machine_has_an_image() {
    let bench = Bench::new().await;
    let vm = r(&bench.vm);
    bench.world.power_on(&bench.vm);
    bench.done("VM.suspend", [vm.clone()]).await;
    let image = bench.one(&bench.vm, "suspend_VDI");
    assert_eq!(bench.text(&image, "type"), "suspend");
    let copy = bench.refused("VM.clone", [vm.clone(), s("x")]).await;
    assert_eq!(copy, error("VM_BAD_POWER_STATE", [bench.vm.as_str(), "halted", "suspended"]));
    bench.done("VM.resume", [vm.clone(), NO, NO]).await;
    assert!(!bench.world.db.read(|t| t.has(Class::Vdi, &image)));
    assert_eq!(bench.text(&bench.vm, "power_state"), "Running");
    bench.done("VM.pause", [vm.clone()]).await;
    bench.done("VM.unpause", [vm.clone()]).await;
    bench.done("VM.hard_reboot", [vm.clone()]).await;
    bench.done("VM.shutdown", [vm]).await;
    assert_eq!(bench.text(&bench.vm, "power_state"), "Halted");
}
