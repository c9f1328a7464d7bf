//! Backups of whole VMs.

use xenkeep_api::*;
use xensim::fault::{Fault, FaultKind};

use crate::rig::{Machine, Rig, code_of, point_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_is_backed_up_and_nothing_is_left_on_the_pool() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    let (id, report) = rig.run(rig.backup_spec("web1")).await;
    let point = point_of(&report).unwrap_or_else(|| panic!("{report:#?} {:#?}", rig.desk.log(id)));
    assert_eq!(report.state, JobState::Success, "{report:#?}");
    assert_eq!((point.source_name.as_str(), point.disks.len(), point.size_bytes), ("web1", 2, 10 << 20));
    assert_eq!(point.source_uuid, rig.uuid("web1").await);
    assert_eq!(point.disks[0].vdi_uuid, before.vm(&point.source_uuid).unwrap().disks()[0]);
    assert_eq!(report.progress.done_bytes, 10 << 20);
    assert!(report.progress.moved_bytes > 5 << 20 && report.progress.new_bytes > 4 << 20);
    assert_eq!(rig.points().await, [point.id]);
    let after = rig.state().await;
    after.assert_same_as(&before, "after the backup");
    assert_eq!((after.sessions(), rig.desk.journal(id).len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_stores_only_what_has_changed() {
    let rig = Rig::new().await;
    let first = rig.backup("web1").await;
    rig.scribble(&first.source_uuid, 0, 7).await;
    let second = rig.backup(&first.source_uuid).await;
    assert!(second.new_bytes > 0 && second.new_bytes < first.new_bytes / 3, "{second:#?}");
    assert_eq!(rig.points().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_mean_nothing_or_too_much_are_refused() {
    let rig = Rig::with(|dir| {
        let config = crate::rig::config(dir);
        config.with_vm(xensim::config::VmConfig::new("twin")).with_vm(xensim::config::VmConfig::new("twin"))
    })
    .await;
    let (_, report) = rig.run(rig.backup_spec("web2")).await;
    assert_eq!(code_of(&report), "vm.not_found");
    let (_, report) = rig.run(rig.backup_spec("twin")).await;
    assert_eq!(code_of(&report), "vm.name_ambiguous");
    let message = report.problem.unwrap().message;
    let state = rig.state().await;
    let uuids = state.vms().into_iter().filter(|uuid| state.vm(uuid).unwrap().name() == "twin");
    for uuid in uuids {
        assert!(message.contains(&uuid), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_in_a_backup_leaves_no_point_and_a_clean_pool() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    for (fault, codes) in [
        (
            Fault::new(FaultKind::CutExport).at_byte(3 << 20),
            &["data.truncated", "data.stream_broken", "pool.connection_lost", "pool.io_error"][..],
        ),
        (Fault::new(FaultKind::TailExport).at_byte(3 << 20), &["data.sender_failed", "pool.error", "pool.io_error"]),
        (Fault::new(FaultKind::CorruptExport).at_byte(3 << 20), &["data.damaged"]),
        (Fault::new(FaultKind::FailExportTask), &["pool.error", "pool.io_error"]),
        (Fault::new(FaultKind::RefuseExport), &["pool.error"]),
        (Fault::new(FaultKind::SrFullSnapshot), &["sr.full"]),
    ] {
        let kind = fault.kind;
        rig.sim.faults().arm(fault);
        let (id, report) = rig.run(rig.backup_spec("web1")).await;
        assert_eq!(rig.sim.faults().struck(kind), 1, "{kind:?} never struck");
        assert_eq!(report.state, JobState::Failed, "{kind:?}");
        assert!(codes.contains(&code_of(&report)), "{kind:?}: {:?}", report.problem);
        assert_eq!(rig.points().await, Vec::<String>::new(), "{kind:?}");
        assert_eq!(rig.desk.journal(id), [], "{kind:?}");
        rig.state().await.assert_same_as(&before, &format!("after {kind:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_lets_go_late_is_waited_for() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    rig.sim.faults().arm(Fault::new(FaultKind::VdiInUse).times(3));
    rig.backup("web1").await;
    assert_eq!(rig.sim.faults().struck(FaultKind::VdiInUse), 3);
    rig.state().await.assert_same_as(&before, "after VDI_IN_USE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_refused_in_words() {
    let rig = Rig::new().await;
    let admin = rig.admin().await;
    let (vm, _) = admin.vm_by_uuid(&rig.uuid("web1").await).await.unwrap();
    admin.set_is_a_template(&vm, true).await.unwrap();
    let (_, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(code_of(&report), "vm.is_template", "{report:?}");
    admin.logout().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_busy_with_something_else_is_waited_for() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    let admin = rig.admin().await;
    let (vm, record) = admin.vm_by_uuid(&rig.uuid("web1").await).await.unwrap();
    assert_eq!(record.power_state, xapi::record::PowerState::Halted);
    // Somebody exports the VM, and nobody reads yet.
    rig.sim.faults().arm(Fault::new(FaultKind::StallExport).at_byte(1 << 20));
    let exporting = admin.export(xapi::Export::new(vm)).await.unwrap();
    let job = rig.job(rig.backup_spec("web1"));
    let id = job.id;
    rig.desk.queue(job);
    let machine = Machine::start(&rig.desk);
    while !rig.desk.log(id).iter().any(|line| line.text.contains("is busy")) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let task = exporting.task().clone();
    drop(exporting);
    rig.sim.faults().clear();
    let report = rig.desk.report(id).await;
    machine.stop().await;
    assert_eq!(report.state, JobState::Success, "{report:#?}");
    admin.task_destroy(&task).await;
    admin.logout().await;
    rig.state().await.assert_same_as(&before, "after the VM was busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_lost_in_mid_stream_does_no_harm() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    rig.sim.faults().arm(Fault::new(FaultKind::SessionLost).at_byte(2 << 20));
    rig.backup("web1").await;
    rig.state().await.assert_same_as(&before, "after the session was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_at_any_step_is_quick_and_leaves_the_pool_clean() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    let mut cancelled = 0;
    for call in 1..20 {
        rig.desk.cancel_at_journal(call);
        let (id, report) = rig.run(rig.backup_spec("web1")).await;
        if rig.desk.journal_calls() < call {
            break;
        }
        // The last calls come after the point is there: then it is too late to cancel.
        if report.state == JobState::Cancelled {
            cancelled += 1;
            assert_eq!(rig.points().await, Vec::<String>::new(), "at call {call}");
        } else {
            assert_eq!(report.state, JobState::Success, "at call {call}: {report:#?}");
            break;
        }
        assert_eq!(rig.desk.journal(id), []);
        rig.state().await.assert_same_as(&before, &format!("after a cancel at call {call}"));
    }
    assert!(cancelled >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_in_mid_stream_is_quick_and_leaves_the_pool_clean() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    let mut slow = Fault::new(FaultKind::SlowLink).always();
    slow.bytes_per_second = 1 << 20;
    rig.sim.faults().arm(slow);
    let job = rig.job(rig.backup_spec("web1"));
    let id = job.id;
    rig.desk.queue(job);
    let machine = Machine::start(&rig.desk);
    rig.desk.until(id, |progress| progress.done_bytes > 1 << 20).await;
    rig.desk.cancel(id);
    let report = rig.desk.report(id).await;
    machine.stop().await;
    assert_eq!(report.state, JobState::Cancelled, "{report:#?}");
    assert!(report.progress.done_bytes < 10 << 20);
    rig.state().await.assert_same_as(&before, "after the cancel");
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_of_a_lost_journal_are_reaped_but_not_those_of_others() {
    let rig = Rig::new().await;
    let admin = rig.admin().await;
    let uuid = rig.uuid("web1").await;
    let (vm, _) = admin.vm_by_uuid(&uuid).await.unwrap();
    let mut made = Vec::new();
    for client in [rig.client.id, ClientId::random()] {
        let task = admin.vm_snapshot(&vm, "left over", &[]).await.unwrap();
        let result = admin.task(task).wait(&Default::default(), |_| {}).await.unwrap();
        let snapshot: xapi::VmRef = result.reference().unwrap();
        for (key, value) in [("xenkeep:job", JobId::random().to_string()), ("xenkeep:client", client.to_string())] {
            admin.set_other_config(&snapshot, key, &value).await.unwrap();
        }
        made.push(admin.vm(&snapshot).await.unwrap().uuid);
    }
    rig.backup("web1").await;
    let left = rig.state().await.snapshots();
    assert!(!left.contains(&made[0]) && left.contains(&made[1]), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_the_snapshot_though_the_guest_goes_on_writing() {
    let rig = Rig::with(|dir| {
        let mut config = crate::rig::config(dir);
        config.vms[0].running = true;
        config.keep_deleted = true;
        config
    })
    .await;
    let admin = rig.admin().await;
    let (vm, _) = admin.vm_by_uuid(&rig.uuid("web1").await).await.unwrap();
    let writer = xensim::guest::WriterSpec { on: true, bytes_per_second: 32 << 20, seed: 4, from_byte: 0 };
    let guest = xensim::model::Ref::from(vm.as_str());
    rig.sim.guests().set(&guest, &writer);
    let point = rig.backup("web1").await;
    assert!(rig.sim.guests().written(&guest).writes > 0);
    let copy = rig.restore(rig.beside(&point, "copy")).await;
    let restored = rig.contents(&copy.uuid).await;
    for (disk, sum) in point.disks.iter().zip(restored) {
        let snapshot = rig.sim.storage().buried().into_iter().find(|snapshot| snapshot.snapshot_of == disk.vdi_uuid);
        assert_eq!(rig.sha256(&snapshot.expect("the snapshot was kept").uuid).await, sum);
    }
}

/// The SR hangs on the member alone, so the master sends every transfer there.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_alone_sees_the_disks_is_found_in_the_clear_and_over_tls() {
    for transport in [Transport::Http, Transport::Https] {
        let mut rig = Rig::with(|dir| {
            let mut config = crate::rig::config(dir);
            config.hosts.push(xensim::config::HostConfig::new("host-2"));
            config.srs[0].hosts = Some(vec![1]);
            config
        })
        .await;
        if transport == Transport::Https {
            rig.client.transport = transport;
            rig.client.address = rig.sim.host_https(0).to_string();
        }
        let point = rig.backup("web1").await;
        let copy = rig.restore(rig.beside(&point, "copy")).await;
        assert_eq!(rig.contents(&copy.uuid).await, rig.contents(&point.source_uuid).await);
        rig.restore(rig.restore_spec(&point, Placement::overwrite())).await;
        assert_eq!(rig.contents(&copy.uuid).await, rig.contents(&point.source_uuid).await);
        assert_eq!(rig.state().await.ours(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_comes_in_a_step_ends_the_job_or_comes_too_late() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    for step in ["open", "resolve", "preflight", "reap", "snapshot", "read", "commit", "cleanup"] {
        rig.desk.cancel_at_step(step);
        let points = rig.points().await.len();
        let (id, report) = rig.run(rig.backup_spec("web1")).await;
        // A step that is over within one renewal is not seen, and the last ones can't be undone.
        let written = usize::from(report.state == JobState::Success);
        assert!(written == 1 || report.state == JobState::Cancelled, "{step}: {report:#?}");
        assert_eq!(rig.points().await.len(), points + written, "{step}");
        assert_eq!(rig.desk.journal(id), [], "{step}");
        rig.state().await.assert_same_as(&before, &format!("after a cancel in {step}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_waits_until_there_is_room_on_its_host_and_sr_and_can_be_cancelled_there() {
    let rig = Rig::new().await;
    let full = || Problem::new("queue.sr_busy", "2 jobs work with disks on its SR, no more than 2 may at once");
    rig.desk.no_room(full());
    let (id, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(report.state, JobState::Success, "{report:#?}");
    let log = rig.desk.log(id);
    let (waits, snapshot) =
        (log.iter().position(|line| line.step == "wait"), log.iter().position(|line| line.step == "snapshot"));
    assert!(waits.is_some() && (snapshot.is_none() || waits < snapshot), "{log:#?}");
    assert!(!rig.desk.places(id).srs.is_empty());

    (0..1000).for_each(|_| rig.desk.no_room(full()));
    rig.desk.cancel_at_step("wait");
    let before = rig.state().await;
    let (_, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(report.state, JobState::Cancelled, "{report:#?}");
    rig.state().await.assert_same_as(&before, "nothing was made");
}
