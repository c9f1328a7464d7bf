//! The states in which disks are frozen, where the pool or the guest has a say in it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use xenkeep_api::*;
use xensim::{
    Config,
    config::{DiskConfig, VmConfig, Vss},
    fault::{Fault, FaultKind, When},
};

use crate::{
    desk::Strike,
    rig::{Rig, code_of, config, image, point_of},
};

const MIB: u64 = 1 << 20;

fn with(consistency: Consistency) -> BackupOptions {
    BackupOptions { consistency, freeze_limit_seconds: 5, ..BackupOptions::default() }
}

/// `db`, which runs, with a disk and a little memory, a TPM and UEFI variables.
fn db(dir: &Path) -> VmConfig {
    VmConfig {
        memory_bytes: 64 * MIB,
        uefi: true,
        vtpm: Some("the key of all disks".to_owned()),
        uefi_variables: "U0VDVVJFIEJPT1Q=".to_owned(),
        ..VmConfig::new("db").with_disk(DiskConfig::image(image(dir, "db-0.raw", 5, 4 * MIB))).running()
    }
}

fn quick(dir: &Path) -> Config {
    let mut config = config(dir);
    config.timing.guest_boot = Duration::ZERO;
    config.timing.quiesce = Duration::from_millis(50);
    config
}

async fn rig_with(vm: impl FnOnce(VmConfig) -> VmConfig) -> Rig {
    Rig::with(|dir| quick(dir).with_vm(vm(db(dir)))).await
}

async fn power_state(rig: &Rig, uuid: &str) -> String {
    rig.state().await.vm(uuid).unwrap().0["power_state"].as_str().unwrap().to_owned()
}

fn reference(rig: &Rig, uuid: &str) -> xensim::model::Ref {
    rig.sim.world().db.read(|t| t.by_uuid(xensim::model::Class::Vm, uuid)).unwrap()
}

/// What is in the memory of a VM that runs.
fn memory(rig: &Rig, uuid: &str) -> Option<String> {
    rig.sim.world().memory_sha256(&reference(rig, uuid))
}

async fn backed_up(rig: &Rig, options: BackupOptions) -> Point {
    let (id, report) = rig.run(rig.backup_with("db", options)).await;
    assert_eq!(report.state, JobState::Success, "{report:#?} {:#?}", rig.desk.log(id));
    assert_eq!(rig.desk.journal(id), Vec::new());
    point_of(&report).unwrap()
}

fn started(spec: JobSpec) -> JobSpec {
    match spec {
        JobSpec::Restore { client, datastore, point, placement, places, transport, .. } => {
            JobSpec::Restore { client, datastore, point, placement, places, start: true, transport }
        }
        other => other,
    }
}

fn without_memory(spec: JobSpec) -> JobSpec {
    match spec {
        JobSpec::Restore { client, datastore, point, placement, places, start, transport } => {
            let places = RestorePlaces { without_memory: true, ..places };
            JobSpec::Restore { client, datastore, point, placement, places, start, transport }
        }
        other => other,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_comes_back_and_the_vm_goes_on_where_it_was() {
    let rig = rig_with(|vm| vm).await;
    let (vm, before) = (rig.uuid("db").await, rig.state().await);
    let remembered = memory(&rig, &vm).unwrap();
    let point = backed_up(&rig, with(Consistency::Memory)).await;
    rig.state().await.assert_same_as(&before, "after the backup");
    let consistency = point.consistency.unwrap();
    assert_eq!((consistency.reached, consistency.memory_bytes), (Consistency::Memory, Some(64 * MIB)));
    assert_eq!(point.disks.len(), 1, "memory is no disk of the VM");
    assert_eq!((power_state(&rig, &vm).await.as_str(), memory(&rig, &vm)), ("Running", Some(remembered.clone())));

    // Beside: suspended, with the memory; resumed, it has it.
    let (_, report) = rig.run(rig.beside(&point, "sleeping")).await;
    assert_eq!(report.warnings.iter().filter(|warning| warning.code == "restore.memory").count(), 1, "{report:#?}");
    let sleeping = rig.uuid("sleeping").await;
    assert_eq!(power_state(&rig, &sleeping).await, "Suspended");
    assert_eq!(rig.contents(&sleeping).await, rig.contents(&vm).await);
    let (id, report) = rig.run(started(rig.beside(&point, "awake"))).await;
    assert!(report.state.is_good(), "{report:#?} {:#?}", rig.desk.log(id));
    let awake = rig.uuid("awake").await;
    assert_eq!((power_state(&rig, &awake).await.as_str(), memory(&rig, &awake)), ("Running", Some(remembered.clone())));
    let fresh = rig.restore(without_memory(started(rig.beside(&point, "fresh")))).await;
    assert_eq!(power_state(&rig, &fresh.uuid).await, "Running");
    assert_ne!(memory(&rig, &fresh.uuid), Some(remembered.clone()));

    // Over the original, which has gone on meanwhile.
    let admin = rig.admin().await;
    let (reference, _) = admin.vm_by_uuid(&vm).await.unwrap();
    let task = admin.vm_hard_shutdown(&reference).await.unwrap();
    admin.task(task).wait(&Default::default(), |_| {}).await.unwrap();
    rig.scribble(&vm, 0, 99).await;
    let (id, report) = rig.run(started(rig.restore_spec(&point, Placement::overwrite()))).await;
    assert_eq!(report.state, JobState::Success, "{report:#?} {:#?}", rig.desk.log(id));
    assert_eq!((power_state(&rig, &vm).await.as_str(), memory(&rig, &vm)), ("Running", Some(remembered)));
    assert_eq!(rig.contents(&vm).await, rig.contents(&awake).await);
    let state = rig.state().await;
    assert_eq!(state.ours(), Vec::<String>::new());
    let images: Vec<_> = state.list("vdis").iter().filter(|vdi| vdi["name"] == "Suspend image").collect();
    assert_eq!(images.len(), 1, "only the one that sleeps has an image: {images:#?}");
    admin.logout().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_cannot_be_had_is_refused_and_a_vm_that_ran_runs() {
    let rig = rig_with(|vm| vm).await;
    let (vm, before) = (rig.uuid("db").await, rig.state().await);
    let remembered = memory(&rig, &vm);
    for (kind, code) in [(FaultKind::FailSuspend, "vm.not_suspended"), (FaultKind::FailResume, "vm.not_resumed")] {
        rig.sim.faults().arm(Fault::new(kind));
        let (id, report) = rig.run(rig.backup_with("db", with(Consistency::Memory))).await;
        assert_eq!(code_of(&report), code, "{:#?}", rig.desk.log(id));
        assert_eq!(power_state(&rig, &vm).await, "Running", "after {code}");
        assert_eq!((memory(&rig, &vm), rig.desk.journal(id).len()), (remembered.clone(), 0), "after {code}");
        rig.state().await.assert_same_as(&before, code);
    }
    let leave_out = vec!["device:7".parse().unwrap(), "device:0".parse().unwrap()];
    let several = rig_with(|vm| vm.with_disk(DiskConfig::empty(MIB))).await;
    let (_, report) =
        several.run(several.backup_with("db", BackupOptions { leave_out, ..with(Consistency::Memory) })).await;
    assert_eq!(code_of(&report), "vm.cannot_checkpoint");
    let licensed = Rig::with(|dir| {
        let config = quick(dir).with_vm(db(dir));
        Config { restrictions: vec!["restrict_checkpoint".to_owned()], ..config }
    })
    .await;
    let (_, report) = licensed.run(licensed.backup_with("db", with(Consistency::Memory))).await;
    assert_eq!(code_of(&report), "pool.licence");
    // One that is off has none, and stays off.
    let (_, report) = rig.run(rig.backup_with("web1", with(Consistency::Memory))).await;
    let consistency = point_of(&report).unwrap().consistency.unwrap();
    assert_eq!((consistency.reached, consistency.memory_bytes), (Consistency::Offline, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_survives_our_death_at_each_entry_of_the_journal() {
    let rig = rig_with(|vm| vm).await;
    let (vm, before) = (rig.uuid("db").await, rig.state().await);
    let remembered = memory(&rig, &vm);
    let mut deaths = 0;
    for entry in 1..16 {
        rig.desk.strike(Strike::AfterJournal(entry));
        let (id, report) = rig.run_or_die(rig.backup_with("db", with(Consistency::Memory))).await;
        if !rig.desk.no_strike() {
            assert!(report.is_some_and(|report| report.state.is_good()), "{:#?}", rig.desk.log(id));
            break;
        }
        deaths += 1;
        rig.recover(id).await;
        assert_eq!(power_state(&rig, &vm).await, "Running", "after death {entry}");
        assert_eq!(memory(&rig, &vm), remembered, "after death {entry}");
        rig.state().await.assert_same_as(&before, &format!("after death {entry}"));
    }
    assert!(deaths > 4, "{deaths}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pool_quiesces_where_it_can() {
    let rig = Rig::with(|dir| {
        let vm =
            |name: &str, vss| VmConfig { vss, ..VmConfig::new(name).with_disk(DiskConfig::empty(2 * MIB)).running() };
        let config = quick(dir)
            .with_vm(vm("works", Vss::Works))
            .with_vm(vm("fails", Vss::Fails))
            .with_vm(vm("late", Vss::TimesOut))
            .with_vm(vm("silent", Vss::Silent))
            .with_vm(vm("without", Vss::Missing));
        Config { has_quiesced_snapshots: true, ..config }
    })
    .await;
    let (id, report) = rig.run(rig.backup_with("works", with(Consistency::Quiesced))).await;
    assert_eq!(report.state, JobState::Success, "{report:#?} {:#?}", rig.desk.log(id));
    let consistency = point_of(&report).unwrap().consistency.unwrap();
    assert_eq!((consistency.reached, consistency.by), (Consistency::Quiesced, Some(QuiescedBy::Pool)));
    for vm in ["fails", "late", "silent", "without"] {
        let (_, report) = rig.run(rig.backup_with(vm, with(Consistency::Quiesced))).await;
        assert_eq!(code_of(&report), "vm.not_quiesced", "{vm}");
        let (_, report) = rig.run(rig.backup_with(vm, with(Consistency::QuiescedPreferred))).await;
        assert_eq!((report.state, report.warnings[0].code.as_str()), (JobState::Warning, "vm.not_quiesced"), "{vm}");
        assert_eq!(point_of(&report).unwrap().consistency.unwrap().reached, Consistency::Crash, "{vm}");
    }
    assert_eq!(rig.state().await.ours(), Vec::<String>::new());
}

/// What the guest finds in xenstore.
async fn xenstore(rig: &Rig, uuid: &str) -> BTreeMap<String, String> {
    let admin = rig.admin().await;
    let (_, vm) = admin.vm_by_uuid(uuid).await.unwrap();
    admin.logout().await;
    vm.xenstore_data
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_in_the_guest_freezes_where_the_pool_cannot() {
    let rig = rig_with(|vm| vm.with_disk(DiskConfig::empty(MIB)).with_hook("answers")).await;
    let vm = rig.uuid("db").await;
    let admin = rig.admin().await;
    let (reference, _) = admin.vm_by_uuid(&vm).await.unwrap();
    let others = BTreeMap::from([("vm-data/mine".to_owned(), "kept".to_owned())]);
    admin.set_xenstore_data(&reference, &others).await.unwrap();
    let point = backed_up(&rig, with(Consistency::Quiesced)).await;
    let consistency = point.consistency.unwrap();
    assert_eq!((consistency.reached, consistency.by), (Consistency::Quiesced, Some(QuiescedBy::Guest)));
    let data = xenstore(&rig, &vm).await;
    assert_eq!(data.get("vm-data/mine").map(String::as_str), Some("kept"));
    assert!(!data.keys().any(|key| key.contains("xenkeep")), "{data:?}");
    let said = admin.guest_metrics(&reference).await.unwrap().unwrap().other["xenkeep"].clone();
    assert!(said.starts_with("1 thawed "), "{said}");
    // It can leave disks out, too; and one that hears no thaw thaws by itself.
    let leave_out = vec!["device:1".parse().unwrap()];
    let point = backed_up(&rig, BackupOptions { leave_out, ..with(Consistency::Quiesced) }).await;
    assert_eq!((point.consistency.unwrap().reached, point.left_out.len()), (Consistency::Quiesced, 1));
    admin.set_other_config(&reference, "xensim-guest-hook", "deaf").await.unwrap();
    let options = BackupOptions { freeze_limit_seconds: 2, ..with(Consistency::Quiesced) };
    assert_eq!(backed_up(&rig, options).await.consistency.unwrap().reached, Consistency::Quiesced);
    // No request comes back with the VM.
    let copy = rig.restore(rig.beside(&point, "copy")).await;
    assert!(!xenstore(&rig, &copy.uuid).await.keys().any(|key| key.contains("xenkeep")));
    admin.logout().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_does_not_do_it_is_said_by_name() {
    let rig = rig_with(|vm| vm.with_hook("refuses")).await;
    let (vm, before) = (rig.uuid("db").await, rig.state().await);
    let admin = rig.admin().await;
    let (reference, _) = admin.vm_by_uuid(&vm).await.unwrap();
    for (behaviour, why) in
        [("refuses", "/var is busy"), ("hasty", "thawed before the snapshot"), ("silent", "did not freeze within 1 s")]
    {
        admin.set_other_config(&reference, "xensim-guest-hook", behaviour).await.unwrap();
        if behaviour == "hasty" {
            // The snapshot waits until the guest has thawed.
            rig.sim.faults().arm(Fault::stall_call("VM.snapshot", When::Before));
            let (sim_faults, control) = (rig.sim.faults().clone(), rig.sim.world().clone());
            let vm = self::reference(&rig, &vm);
            tokio::spawn(async move {
                let thawed = || control.guest_says(&vm).is_some_and(|said| said.starts_with("1 expired"));
                while sim_faults.stalled().is_empty() || !thawed() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                sim_faults.clear();
            });
        }
        let limit = if behaviour == "silent" { 1 } else { 5 };
        let options = BackupOptions { freeze_limit_seconds: limit, ..with(Consistency::QuiescedPreferred) };
        let (id, report) = rig.run(rig.backup_with("db", options)).await;
        assert_eq!(report.state, JobState::Warning, "{behaviour}: {report:#?} {:#?}", rig.desk.log(id));
        assert!(report.warnings[0].message.contains(why), "{behaviour}: {:?}", report.warnings[0]);
        assert_eq!(point_of(&report).unwrap().consistency.unwrap().reached, Consistency::Crash);
        rig.state().await.assert_same_as(&before, behaviour);
    }
    admin.set_other_config(&reference, "xensim-guest-hook", "refuses").await.unwrap();
    let (_, report) = rig.run(rig.backup_with("db", with(Consistency::Quiesced))).await;
    assert_eq!(code_of(&report), "vm.not_quiesced");
    rig.state().await.assert_same_as(&before, "after the refusal");
    admin.logout().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_is_thawed_after_our_death_and_after_a_cancel() {
    let rig = rig_with(|vm| vm.with_hook("answers")).await;
    let (vm, before) = (rig.uuid("db").await, rig.state().await);
    let mut deaths = 0;
    let options = || BackupOptions { freeze_limit_seconds: 600, ..with(Consistency::Quiesced) };
    for entry in 1..16 {
        rig.desk.strike(Strike::AfterJournal(entry));
        let (id, report) = rig.run_or_die(rig.backup_with("db", options())).await;
        if !rig.desk.no_strike() {
            assert!(report.is_some_and(|report| report.state.is_good()), "{:#?}", rig.desk.log(id));
            break;
        }
        deaths += 1;
        rig.recover(id).await;
        assert!(!rig.sim.world().is_frozen(&reference(&rig, &vm)), "after death {entry}");
        assert!(!xenstore(&rig, &vm).await.keys().any(|key| key.contains("xenkeep")), "after death {entry}");
        rig.state().await.assert_same_as(&before, &format!("after death {entry}"));
    }
    assert!(deaths > 5, "{deaths}");
    // A cancel while the pool makes the snapshot.
    rig.sim.faults().arm(Fault::stall_call("VM.snapshot", When::Before));
    let job = rig.job(rig.backup_with("db", options()));
    let id = job.id;
    rig.desk.queue(job);
    let machine = crate::rig::Machine::start(&rig.desk);
    while rig.sim.faults().stalled().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(rig.sim.world().is_frozen(&reference(&rig, &vm)));
    rig.desk.cancel(id);
    while rig.sim.world().is_frozen(&reference(&rig, &vm)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        rig.sim.faults().clear();
    }
    let report = rig.desk.report(id).await;
    machine.stop().await;
    assert_eq!((report.state, rig.desk.journal(id).len()), (JobState::Cancelled, 0));
    rig.state().await.assert_same_as(&before, "after the cancel");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tpm_and_the_uefi_variables_come_back() {
    let rig = rig_with(|vm| vm).await;
    let vm = rig.uuid("db").await;
    let secrets = |uuid: &str| {
        let vm = reference(&rig, uuid);
        let variables = rig.sim.world().db.read(|t| t.entry(&vm, "NVRAM", "EFI-variables"));
        (rig.sim.world().vtpm_contents_of(&vm), variables)
    };
    let expected = (Some("the key of all disks".to_owned()), Some("U0VDVVJFIEJPT1Q=".to_owned()));
    assert_eq!(secrets(&vm), expected);
    let point = backed_up(&rig, with(Consistency::Crash)).await;
    let copy = rig.restore(rig.beside(&point, "copy")).await;
    assert_eq!(secrets(&copy.uuid), expected, "beside");
    let admin = rig.admin().await;
    let (reference, _) = admin.vm_by_uuid(&vm).await.unwrap();
    let task = admin.vm_hard_shutdown(&reference).await.unwrap();
    admin.task(task).wait(&Default::default(), |_| {}).await.unwrap();
    rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(secrets(&vm), expected, "over the original");
    let (reference, _) = admin.vm_by_uuid(&vm).await.unwrap();
    admin.vm_destroy(&reference).await.unwrap();
    rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(secrets(&vm), expected, "in the place of one that is gone");
    admin.logout().await;
}
