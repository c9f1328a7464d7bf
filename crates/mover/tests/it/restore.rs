//! Restores of whole VMs, beside and over the original.

use xenkeep_api::*;
use xensim::{
    config::{SrConfig, SrKind},
    fault::{Fault, FaultKind},
};

use crate::rig::{Machine, Rig, code_of, config, vm_of};

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_new_vm_is_made_with_the_bytes_that_were_read() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let read = rig.contents(&point.source_uuid).await;
    rig.scribble(&point.source_uuid, 0, 5).await;
    let before = rig.state().await;
    let vm = rig.restore(rig.beside(&point, "web1-copy")).await;
    assert_eq!((vm.name.as_str(), vm.power_state), ("web1-copy", PowerState::Halted));
    assert_ne!(vm.uuid, point.source_uuid);
    assert_eq!(rig.contents(&vm.uuid).await, read);
    let after = rig.state().await;
    assert_eq!(after.ours(), Vec::<String>::new());
    let (old, new) = (after.vm(&point.source_uuid).unwrap(), after.vm(&vm.uuid).unwrap());
    assert!(new.macs().len() == 1 && new.macs() != old.macs());
    assert_eq!(new.0["is_template"], false);
    assert_eq!((after.vms().len(), after.vdis().len()), (before.vms().len() + 1, before.vdis().len() + 2));
    assert_eq!((after.networks(), after.sessions()), (before.networks(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_name_that_is_taken_or_missing_is_refused() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    for (name, code) in [("web1", "vm.name_taken"), (" ", "vm.name_missing")] {
        let (_, report) = rig.run(rig.beside(&point, name)).await;
        assert_eq!(code_of(&report), code);
    }
    rig.state().await.assert_same_as(&before, "after refusals");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_started_vm_reports_its_address() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let spec = started(rig.beside(&point, "online"));
    let vm = rig.restore(spec).await;
    assert_eq!(vm.power_state, PowerState::Running);
    assert_eq!(vm.addresses.len(), 1, "{vm:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_does_not_start_is_restored_all_the_same() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    rig.sim.faults().arm(Fault::new(FaultKind::FailStart));
    let spec = started(rig.beside(&point, "offline"));
    let (_, report) = rig.run(spec).await;
    assert_eq!((report.state, report.warnings[0].code.as_str()), (JobState::Warning, "restore.not_started"));
    assert_eq!(vm_of(&report).unwrap().power_state, PowerState::Halted);
}

fn on_sr(mut spec: JobSpec, name: &str) -> JobSpec {
    if let JobSpec::Restore { places, .. } = &mut spec {
        places.sr = Some(name.to_owned());
    }
    spec
}

fn started(mut spec: JobSpec) -> JobSpec {
    if let JobSpec::Restore { start, .. } = &mut spec {
        *start = true;
    }
    spec
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sr_is_named_checked_and_explained() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    let (_, report) = rig.run(on_sr(rig.beside(&point, "copy"), "Tiny")).await;
    assert_eq!(code_of(&report), "sr.too_small");
    let problem = report.problem.unwrap();
    assert!(problem.message.contains("Tiny") && problem.message.contains("2.0 MiB free"), "{problem}");
    assert!(problem.hint.unwrap().contains("Second storage"));
    let (_, report) = rig.run(on_sr(rig.beside(&point, "copy"), "Nowhere")).await;
    assert_eq!(code_of(&report), "sr.not_found");
    let (_, report) = rig.run(on_sr(rig.beside(&point, "copy"), "ISO library")).await;
    assert_eq!(code_of(&report), "sr.not_found");
    rig.state().await.assert_same_as(&before, "after refusals");
    let vm = rig.restore(on_sr(rig.beside(&point, "copy"), "Second storage")).await;
    assert_eq!(rig.contents(&vm.uuid).await, rig.contents(&point.source_uuid).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_default_sr_is_told_to_choose() {
    let rig = Rig::with(|dir| {
        let mut config = config(dir);
        config.srs.iter_mut().for_each(|sr| sr.default = false);
        config.vms.iter_mut().flat_map(|vm| &mut vm.disks).for_each(|disk| disk.sr = Some("Second storage".into()));
        config
    })
    .await;
    let point = rig.backup("web1").await;
    let (_, report) = rig.run(rig.beside(&point, "copy")).await;
    assert_eq!(code_of(&report), "sr.no_default");
    assert!(report.problem.unwrap().hint.unwrap().contains("Second storage"));
    rig.restore(on_sr(rig.beside(&point, "copy"), "Second storage")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thick_storage_needs_room_for_the_holes_too() {
    let rig = Rig::with(|dir| {
        let mut config = config(dir);
        config.srs.push(SrConfig::new("Thick", SrKind::Lvm, 8 << 20));
        config
    })
    .await;
    let point = rig.backup("web1").await;
    let (_, report) = rig.run(on_sr(rig.beside(&point, "copy"), "Thick")).await;
    assert_eq!(code_of(&report), "sr.too_small", "{report:?}");
}

/// What can go wrong with an import, and what a person is told then.
fn import_faults() -> Vec<(Fault, &'static [&'static str])> {
    vec![
        (Fault::new(FaultKind::CutImport).at_byte(2 << 20), &["pool.import_cut", "pool.connection_lost", "pool.error"]),
        (Fault::new(FaultKind::SrFull).at_byte(2 << 20), &["sr.full"]),
        (Fault::new(FaultKind::FailImportTask), &["pool.error", "pool.io_error"]),
        (Fault::new(FaultKind::RefuseImport), &["pool.error"]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_import_leaves_nothing() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    for (fault, codes) in import_faults() {
        let kind = fault.kind;
        rig.sim.faults().arm(fault);
        let (id, report) = rig.run(rig.beside(&point, "copy")).await;
        assert_eq!(rig.sim.faults().struck(kind), 1, "{kind:?} never struck");
        assert!(codes.contains(&code_of(&report)), "{kind:?}: {:?}", report.problem);
        if kind == FaultKind::SrFull {
            // The pool has undone it by then: that there is room now must not be said as if it were the reason.
            assert!(report.problem.unwrap().message.contains("ran full"));
        }
        assert_eq!(rig.desk.journal(id), [], "{kind:?}");
        rig.state().await.assert_same_as(&before, &format!("after {kind:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_original_the_old_vm_is_replaced_by_the_restored_one() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let read = rig.contents(&point.source_uuid).await;
    rig.scribble(&point.source_uuid, 1, 5).await;
    let before = rig.state().await;
    let (id, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
    let vm = vm_of(&report).unwrap_or_else(|| panic!("{report:#?} {:#?}", rig.desk.log(id)));
    assert_eq!((vm.uuid.as_str(), vm.name.as_str()), (point.source_uuid.as_str(), "web1"));
    assert_eq!(report.state, JobState::Success, "{:?}", report.warnings);
    assert_eq!(rig.contents(&vm.uuid).await, read);
    let after = rig.state().await;
    assert_eq!(after.ours(), Vec::<String>::new());
    assert_eq!((after.vms(), after.vdis().len()), (before.vms(), before.vdis().len()));
    let (old, new) = (before.vm(&vm.uuid).unwrap(), after.vm(&vm.uuid).unwrap());
    assert_eq!(new.macs(), old.macs());
    assert_eq!(new.0["other_config"]["mac_seed"], old.0["other_config"]["mac_seed"]);
    assert!(old.disks().iter().all(|disk| !after.vdis().contains(disk)));
    assert_eq!(rig.desk.journal(id), []);
    // and once more, over what was restored
    rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(rig.contents(&vm.uuid).await, read);
    assert_eq!(rig.state().await.vdis().len(), before.vdis().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_an_original_that_is_gone_it_comes_back_as_it_was() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let read = rig.contents(&point.source_uuid).await;
    let before = rig.state().await;
    let admin = rig.admin().await;
    let (vm, _) = admin.vm_by_uuid(&point.source_uuid).await.unwrap();
    admin.vm_destroy(&vm).await.unwrap();
    for disk in before.vm(&point.source_uuid).unwrap().disks() {
        let (vdi, _) = admin.vdi_by_uuid(&disk).await.unwrap();
        admin.vdi_destroy(&vdi).await.unwrap();
    }
    let vm = rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(vm.uuid, point.source_uuid);
    assert_eq!(rig.contents(&vm.uuid).await, read);
    let after = rig.state().await;
    assert_eq!(after.ours(), Vec::<String>::new());
    assert_eq!(after.vm(&vm.uuid).unwrap().macs(), before.vm(&vm.uuid).unwrap().macs());
    // its uuids of cards and places are its own again, so that a second restore finds them
    rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(rig.contents(&vm.uuid).await, read);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_vm_is_not_replaced() {
    let rig = Rig::with(|dir| {
        let mut config = config(dir);
        config.vms[0].running = true;
        config
    })
    .await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    let (_, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(code_of(&report), "vm.not_halted");
    rig.state().await.assert_same_as(&before, "after the refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_the_user_and_disks_that_came_later_are_not_touched() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let admin = rig.admin().await;
    let (vm, _) = admin.vm_by_uuid(&point.source_uuid).await.unwrap();
    let task = admin.vm_snapshot(&vm, "before the upgrade", &[]).await.unwrap();
    admin.task(task).wait(&Default::default(), |_| {}).await.unwrap();
    let (sr, _) = admin.default_sr().await.unwrap().unwrap();
    let new = serde_json::json!({
        "SR": sr, "name_label": "photos", "virtual_size": 2 << 20, "type": "user", "sharable": false, "read_only": false,
        "other_config": {},
    });
    let vdi: xapi::VdiRef = admin.call("VDI.create", xapi::params![new]).await.unwrap();
    let place = xapi::NewVbd {
        vm,
        vdi: vdi.clone(),
        userdevice: "5".into(),
        bootable: false,
        read_only: false,
        other_config: Default::default(),
    };
    admin.vbd_create(&place).await.unwrap();
    let before = rig.state().await;
    let (_, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(report.state, JobState::Warning, "{report:#?}");
    let codes: Vec<&str> = report.warnings.iter().map(|warning| warning.code.as_str()).collect();
    assert_eq!(codes, ["restore.disk_kept", "restore.snapshots_detached"]);
    let after = rig.state().await;
    assert_eq!(after.snapshots(), before.snapshots());
    assert!(after.vdis().contains(&admin.vdi(&vdi).await.unwrap().uuid));
    assert_eq!(after.vm(&point.source_uuid).unwrap().disks().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_restore_over_the_original_leaves_the_original() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    rig.scribble(&point.source_uuid, 0, 9).await;
    let (before, content) = (rig.state().await, rig.contents(&point.source_uuid).await);
    for (fault, codes) in import_faults() {
        let kind = fault.kind;
        rig.sim.faults().arm(fault);
        let (id, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
        assert!(codes.contains(&code_of(&report)), "{kind:?}: {:?}", report.problem);
        assert_eq!(rig.desk.journal(id), [], "{kind:?}");
        rig.state().await.assert_same_as(&before, &format!("after {kind:?}"));
        assert_eq!(rig.contents(&point.source_uuid).await, content, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_step_leaves_exactly_one_of_both() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let read = rig.contents(&point.source_uuid).await;
    let mut cancelled = 0;
    for call in 1..20 {
        rig.scribble(&point.source_uuid, 0, call).await;
        let (before, old) = (rig.state().await, rig.contents(&point.source_uuid).await);
        rig.desk.cancel_at_journal(usize::try_from(call).unwrap());
        let (id, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
        let after = rig.state().await;
        assert_eq!(after.ours(), Vec::<String>::new(), "at call {call}");
        assert_eq!((after.vms(), after.vdis().len()), (before.vms(), before.vdis().len()), "at call {call}");
        assert_eq!(rig.desk.journal(id), []);
        let content = rig.contents(&point.source_uuid).await;
        match report.state {
            JobState::Cancelled => assert_eq!(content, old, "at call {call}"),
            JobState::Success => assert_eq!(content, read, "at call {call}"),
            _ => panic!("at call {call}: {report:#?}"),
        }
        if report.state == JobState::Success {
            break;
        }
        cancelled += 1;
    }
    assert!(cancelled >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_mid_import_leaves_nothing() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    let mut slow = Fault::new(FaultKind::SlowLink).always();
    slow.bytes_per_second = 1 << 20;
    rig.sim.faults().arm(slow);
    let job = rig.job(rig.beside(&point, "copy"));
    let id = job.id;
    rig.desk.queue(job);
    let machine = Machine::start(&rig.desk);
    rig.desk.until(id, |progress| progress.moved_bytes > 2 << 20).await;
    rig.desk.cancel(id);
    let report = rig.desk.report(id).await;
    machine.stop().await;
    assert_eq!(report.state, JobState::Cancelled, "{report:#?}");
    rig.state().await.assert_same_as(&before, "after the cancel");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_without_disks_is_restored_over_and_beside() {
    let rig = Rig::with(|dir| config(dir).with_vm(xensim::config::VmConfig::new("bare"))).await;
    let point = rig.backup("bare").await;
    let before = rig.state().await;
    assert_eq!((point.disks.len(), before.vm(&point.source_uuid).unwrap().disks().len()), (0, 0));
    for round in 0..2 {
        let vm = rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
        assert_eq!((vm.uuid.as_str(), vm.name.as_str()), (point.source_uuid.as_str(), "bare"));
        rig.state().await.assert_same_as(&before, &format!("after round {round}"));
    }
    let admin = rig.admin().await;
    let (_, record) = admin.vm_by_uuid(&point.source_uuid).await.unwrap();
    assert!(record.version > 0, "nothing was restored");
    admin.logout().await;
    assert_ne!(rig.restore(rig.beside(&point, "bare2")).await.uuid, point.source_uuid);
}
