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
    assert_eq!((point.vm_name.as_str(), point.disks.len(), point.size_bytes), ("web1", 2, 10 << 20));
    assert_eq!(point.vm_uuid, rig.uuid("web1").await);
    assert_eq!(point.disks[0].vdi_uuid, before.vm(&point.vm_uuid).unwrap().disks()[0]);
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
    rig.scribble(&first.vm_uuid, 0, 7).await;
    let second = rig.backup(&first.vm_uuid).await;
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
        (Fault::new(FaultKind::CutExport).at_byte(3 << 20), &["data.truncated", "data.stream_broken", "pool.connection_lost", "pool.io_error"][..]),
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
