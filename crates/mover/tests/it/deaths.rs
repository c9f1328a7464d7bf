//! The mover dies, at every call and at every byte; whoever comes next brings the pool into order.

use xenkeep_api::*;

use crate::{
    desk::Strike,
    rig::{Machine, Rig},
    tap::{Cut, Moment, Tap},
};

/// A rig whose mover reaches the pool through a tap.
async fn tapped() -> (Rig, Tap) {
    let mut rig = Rig::new().await;
    let tap = Tap::start(rig.sim.host_http(0)).await;
    rig.client.address = tap.address.to_string();
    (rig, tap)
}

/// Runs a job whose mover dies at that call, then recovers. False when the job ended before.
async fn die_at_call(rig: &Rig, tap: &Tap, spec: JobSpec, call: usize, moment: Moment) -> bool {
    tap.plan(call, moment, Cut::Freeze);
    let job = rig.job(spec);
    let id = job.id;
    rig.desk.queue(job);
    let machine = Machine::start(&rig.desk);
    let died = tokio::select! {
        () = tap.frozen() => true,
        report = rig.desk.report(id) => {
            assert!(report.state.is_good(), "{report:#?}");
            false
        }
    };
    machine.kill();
    tap.no_plan();
    if died {
        rig.recover(id).await;
    }
    died
}

async fn die_at(rig: &Rig, spec: JobSpec, strike: Strike) -> (bool, Vec<Point>) {
    rig.desk.strike(strike);
    let (id, report) = rig.run_or_die(spec).await;
    let died = rig.desk.no_strike();
    assert_eq!(died, report.is_none(), "{report:#?}");
    if died { (true, rig.recover(id).await.1) } else { (false, Vec::new()) }
}

fn strikes() -> impl Iterator<Item = Strike> {
    let bytes = [Strike::AtBytes(1), Strike::AtBytes(5 << 20), Strike::AtReport];
    bytes.into_iter().chain((1..20).flat_map(|call| [Strike::BeforeJournal(call), Strike::AfterJournal(call)]))
}

/// Calls at which to die: all where something is made, some of the rest.
fn calls() -> impl Iterator<Item = usize> {
    (1..400).step_by(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_backup_at_the_journal_and_in_mid_stream() {
    let rig = Rig::new().await;
    let before = rig.state().await;
    let kept = rig.backup("web1").await;
    let mut deaths = 0;
    for strike in strikes() {
        let (died, found) = die_at(&rig, rig.backup_spec("web1"), strike).await;
        deaths += usize::from(died);
        rig.state().await.assert_same_as(&before, &format!("after death {strike:?}"));
        let points = rig.points().await;
        assert!(points.contains(&kept.id));
        // A point that was finished unseen is found, and no other is listed.
        if strike == Strike::AtReport {
            assert_eq!(found.len(), 1);
        }
        for point in &found {
            assert!(points.contains(&point.id));
        }
        if !died {
            break;
        }
    }
    assert!(deaths > 8);
    for point in rig.points().await {
        let vm = rig.restore(rig.beside(&Point { id: point.clone(), ..kept.clone() }, &format!("from {point}"))).await;
        assert_eq!(rig.contents(&vm.uuid).await, rig.contents(&kept.vm_uuid).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_backup_at_any_call() {
    let (rig, tap) = tapped().await;
    let before = rig.state().await;
    let mut deaths = 0;
    for (turn, call) in calls().enumerate() {
        let moment = if turn % 2 == 0 { Moment::After } else { Moment::Before };
        if !die_at_call(&rig, &tap, rig.backup_spec("web1"), call, moment).await {
            break;
        }
        deaths += 1;
        rig.state().await.assert_same_as(&before, &format!("after death {moment:?} call {call}"));
    }
    assert!(deaths > 10);
}

/// Either nothing is there, or the whole VM; which is then removed again.
async fn nothing_or_all(rig: &Rig, before: &crate::rig::State, point: &Point, when: &str) {
    let after = rig.state().await;
    let Some(vm) = after.vm_named("copy").map(|vm| vm.uuid()) else {
        return after.assert_same_as(before, when);
    };
    assert_eq!(after.ours(), Vec::<String>::new(), "{when}");
    assert_eq!(rig.contents(&vm).await, rig.contents(&point.vm_uuid).await, "{when}");
    let admin = rig.admin().await;
    let (reference, _) = admin.vm_by_uuid(&vm).await.unwrap();
    admin.vm_destroy(&reference).await.unwrap();
    for disk in after.vm(&vm).unwrap().disks() {
        let (vdi, _) = admin.vdi_by_uuid(&disk).await.unwrap();
        admin.vdi_destroy(&vdi).await.unwrap();
    }
    rig.state().await.assert_same_as(before, when);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_restore_beside_at_the_journal_and_in_mid_stream() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    for strike in strikes() {
        let (died, _) = die_at(&rig, rig.beside(&point, "copy"), strike).await;
        nothing_or_all(&rig, &before, &point, &format!("after death {strike:?}")).await;
        if !died {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_restore_beside_at_any_call() {
    let (rig, tap) = tapped().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    let mut deaths = 0;
    for (turn, call) in calls().enumerate() {
        let moment = if turn % 2 == 0 { Moment::After } else { Moment::Before };
        if !die_at_call(&rig, &tap, rig.beside(&point, "copy"), call, moment).await {
            break;
        }
        deaths += 1;
        nothing_or_all(&rig, &before, &point, &format!("after death {moment:?} call {call}")).await;
    }
    assert!(deaths > 10);
}

/// Exactly one of both VMs is there, whole, and nothing else.
async fn exactly_one(rig: &Rig, before: &crate::rig::State, uuid: &str, old: &[String], new: &[String], when: &str) {
    let after = rig.state().await;
    assert_eq!(after.ours(), Vec::<String>::new(), "{when}");
    assert_eq!(after.vms(), before.vms(), "VMs {when}");
    assert_eq!(after.vdis().len(), before.vdis().len(), "VDIs {when}");
    let (vm, was) = (after.vm(uuid).unwrap(), before.vm(uuid).unwrap());
    assert_eq!((vm.name(), vm.macs()), (was.name(), was.macs()), "{when}");
    assert_eq!(vm.0["other_config"]["mac_seed"], was.0["other_config"]["mac_seed"], "{when}");
    let content = rig.contents(uuid).await;
    assert!(content == old || content == new, "{when}: neither of both");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_restore_over_the_original_at_the_journal_and_in_mid_stream() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let new = rig.contents(&point.vm_uuid).await;
    for (seed, strike) in strikes().enumerate() {
        rig.scribble(&point.vm_uuid, 0, seed as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.vm_uuid).await);
        let (died, _) = die_at(&rig, rig.restore_spec(&point, Placement::Overwrite), strike).await;
        exactly_one(&rig, &before, &point.vm_uuid, &old, &new, &format!("after death {strike:?}")).await;
        if !died {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_restore_over_the_original_at_any_call() {
    let (rig, tap) = tapped().await;
    let point = rig.backup("web1").await;
    let new = rig.contents(&point.vm_uuid).await;
    let mut deaths = 0;
    for (turn, call) in calls().enumerate() {
        rig.scribble(&point.vm_uuid, 0, turn as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.vm_uuid).await);
        let moment = if turn % 2 == 0 { Moment::After } else { Moment::Before };
        let spec = rig.restore_spec(&point, Placement::Overwrite);
        let died = die_at_call(&rig, &tap, spec, call, moment).await;
        exactly_one(&rig, &before, &point.vm_uuid, &old, &new, &format!("after death {moment:?} call {call}")).await;
        if !died {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 15);
}

/// A job whose wire breaks once, anywhere, ends: well, or with a clean pool at once or after a recovery.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_connection_at_any_call_costs_at_most_the_job() {
    let (rig, tap) = tapped().await;
    let point = rig.backup("web1").await;
    let new = rig.contents(&point.vm_uuid).await;
    for (turn, call) in (2..400).step_by(5).enumerate() {
        rig.scribble(&point.vm_uuid, 0, turn as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.vm_uuid).await);
        let moment = if turn % 2 == 0 { Moment::After } else { Moment::Before };
        tap.plan(call, moment, Cut::Break);
        let (id, report) = rig.run(rig.restore_spec(&point, Placement::Overwrite)).await;
        let calls = tap.no_plan();
        if !rig.desk.journal(id).is_empty() {
            rig.recover(id).await;
        }
        let when = format!("after a break {moment:?} {}, {:?}", calls.get(call - 1).map_or("nothing", String::as_str), report.problem);
        exactly_one(&rig, &before, &point.vm_uuid, &old, &new, &when).await;
        if calls.len() < call {
            break;
        }
    }
}
