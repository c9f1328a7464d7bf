//! Memory, quiesced guests, and what a guest sees and says through xenstore.

use std::time::Duration;

use super::{error, r, s};
use crate::{
    config::Vss,
    guest::{Guests, HOOK_KEY, WriterSpec},
    model::{Class, Ref, Value},
    testing::Bench,
};

const NO: Value = Value::Bool(false);

async fn until(what: impl Fn() -> bool) {
    tokio::time::timeout(Duration::from_secs(10), async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn memory_survives_and_a_damaged_image_resumes_nothing() {
    let bench = Bench::new().await;
    bench.world.power_on(&bench.vm);
    let memory = bench.world.memory_sha256(&bench.vm).unwrap();
    let checkpoint = bench.made("VM.checkpoint", [r(&bench.vm), s("c")]).await;
    assert_eq!(bench.world.memory_sha256(&bench.vm), Some(memory.clone()), "it goes on with what it had");
    let image = bench.one(&checkpoint, "suspend_VDI");
    assert!(bench.world.db.read(|t| t.bool(&image, "is_a_snapshot")));
    assert!(bench.one(&bench.vm, "suspend_VDI").is_null());
    let twin = bench.made("VM.copy", [r(&checkpoint), s("twin"), r(&Ref::null())]).await;
    bench.done("VM.set_is_a_template", [r(&twin), NO]).await;
    bench.done("VM.resume", [r(&twin), NO, NO]).await;
    assert_eq!(bench.world.memory_sha256(&twin), Some(memory));
    // A byte that is wrong anywhere.
    bench.done("VM.suspend", [r(&twin)]).await;
    let uuid = bench.text(&bench.one(&twin, "suspend_VDI"), "uuid");
    bench.world.storage.write(&uuid, (16 << 10) + 5, b"?!").unwrap();
    assert_eq!(bench.refused("VM.resume", [r(&twin), NO, NO]).await.0, "INTERNAL_ERROR");
    assert_eq!(bench.text(&twin, "power_state"), "Suspended");
}

#[tokio::test]
async fn a_licence_may_leave_checkpoints_and_quiesced_snapshots_out() {
    let bench = Bench::with(|config| {
        config.restrictions = vec!["restrict_checkpoint".to_owned(), "restrict_vss".to_owned()];
        config.has_quiesced_snapshots = true;
    })
    .await;
    let restrictions = bench.world.db.read(|t| t.map(bench.world.pool(), "restrictions"));
    let is = |name: &str| restrictions[name].as_str() == Some("true");
    assert!(is("restrict_checkpoint") && is("restrict_vss") && !is("restrict_cbt"));
    bench.done("VM.add_to_other_config", [r(&bench.vm), s("xensim-vss"), s("works")]).await;
    bench.world.power_on(&bench.vm);
    for (method, feature) in [("VM.checkpoint", "Checkpoint"), ("VM.snapshot_with_quiesce", "VSS")] {
        let refused = bench.refused(method, [r(&bench.vm), s("n")]).await;
        assert_eq!(refused, error("LICENCE_RESTRICTION", [feature]));
    }
    assert_eq!(bench.text(&bench.vm, "power_state"), "Running");
    assert!(bench.refs(&bench.vm, "snapshots").is_empty());
}

#[tokio::test]
async fn quiesced_snapshots_fail_as_guests_do() {
    let bench = Bench::with(|config| config.has_quiesced_snapshots = true).await;
    let quiesce = "VM.snapshot_with_quiesce";
    let args = || [r(&bench.vm), s("n")];
    assert_eq!(bench.refused(quiesce, args()).await.0, "VM_BAD_POWER_STATE");
    bench.world.power_on(&bench.vm);
    for (vss, code) in [
        (Vss::Missing, "VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED"),
        (Vss::Fails, "VM_SNAPSHOT_WITH_QUIESCE_FAILED"),
        (Vss::TimesOut, "VM_SNAPSHOT_WITH_QUIESCE_TIMEOUT"),
        (Vss::Silent, "VM_SNAPSHOT_WITH_QUIESCE_PLUGIN_DEOS_NOT_RESPOND"),
    ] {
        if vss != Vss::Missing {
            bench.done("VM.remove_from_other_config", [r(&bench.vm), s("xensim-vss")]).await;
            bench.done("VM.add_to_other_config", [r(&bench.vm), s("xensim-vss"), s(vss.word())]).await;
        }
        assert_eq!(bench.refused(quiesce, args()).await, error(code, [bench.vm.as_str()]), "{vss:?}");
    }
    bench.done("VM.remove_from_other_config", [r(&bench.vm), s("xensim-vss")]).await;
    bench.done("VM.add_to_other_config", [r(&bench.vm), s("xensim-vss"), s("works")]).await;
    let snapshot = bench.made(quiesce, args()).await;
    let kind = bench.world.db.read(|t| t.entry(&snapshot, "snapshot_info", "disk-snapshot-type"));
    assert_eq!(kind.as_deref(), Some("quiesced"));
    assert!(!bench.text(&snapshot, "transportable_snapshot_id").is_empty() && !bench.world.is_frozen(&bench.vm));
}

#[tokio::test]
async fn a_guest_hears_what_is_set_as_a_whole_and_nothing_else() {
    let bench = Bench::new().await;
    bench.done("VM.add_to_other_config", [r(&bench.vm), s(HOOK_KEY), s("answers")]).await;
    bench.world.power_on(&bench.vm);
    let says = || bench.world.guest_says(&bench.vm).unwrap_or_default();
    assert_eq!(says(), "1 ready");
    let request = |text: &str| Value::map([("vm-data/xenkeep/request", text), ("elsewhere", "lost")]);
    // An entry alone changes the record, and the guest never sees it.
    let key = s("vm-data/xenkeep/request");
    bench.done("VM.add_to_xenstore_data", [r(&bench.vm), key, s("freeze ab12 60")]).await;
    bench.done("VM.set_xenstore_data", [r(&bench.vm), request("freeze cd34 60")]).await;
    until(|| says() == "1 frozen cd34").await;
    let data = bench.world.db.read(|t| t.map(&bench.vm, "xenstore_data"));
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["vm-data", "vm-data/xenkeep", "vm-data/xenkeep/request"]);
    // Nothing is written meanwhile.
    let guests = Guests::new(&bench.world);
    let spec = r#"{"on": true, "bytes_per_second": 40000000}"#;
    guests.set(&bench.vm, &serde_json::from_str::<WriterSpec>(spec).unwrap());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(guests.written(&bench.vm).writes, 0);
    bench.done("VM.set_xenstore_data", [r(&bench.vm), request("thaw cd34")]).await;
    until(|| says() == "1 thawed cd34").await;
    until(|| guests.written(&bench.vm).writes > 0).await;
    guests.stop_all();
    // It thaws by itself, too, and a guest that is switched off is not frozen.
    bench.done("VM.set_xenstore_data", [r(&bench.vm), request("freeze ef56 1")]).await;
    until(|| says() == "1 expired ef56").await;
    bench.done("VM.set_xenstore_data", [r(&bench.vm), request("freeze gh78 60")]).await;
    until(|| says() == "1 frozen gh78").await;
    bench.done("VM.hard_shutdown", [r(&bench.vm)]).await;
    assert!(!bench.world.is_frozen(&bench.vm));
    // Started with the request still there, it takes it for somebody else's.
    bench.world.power_on(&bench.vm);
    assert_eq!((says().as_str(), bench.world.is_frozen(&bench.vm)), ("1 ready", false));
}

#[tokio::test]
async fn a_tpm_goes_with_snapshots_and_clones() {
    let bench = Bench::new().await;
    let vtpm = bench.made("VTPM.create", [r(&bench.vm), NO]).await;
    bench.done("VTPM.set_contents", [r(&vtpm), s("secret")]).await;
    let snapshot = bench.made("VM.snapshot", [r(&bench.vm), s("n")]).await;
    bench.done("VTPM.set_contents", [r(&vtpm), s("newer")]).await;
    let contents = |vm: &Ref| bench.world.vtpm_contents_of(vm);
    assert_eq!((contents(&snapshot).as_deref(), contents(&bench.vm).as_deref()), (Some("secret"), Some("newer")));
    assert_eq!(bench.refused("VTPM.create", [r(&bench.vm), NO]).await, error("VTPM_MAX_AMOUNT_REACHED", ["1"]));
    assert_eq!(bench.count(Class::Vtpm), 2);
}
