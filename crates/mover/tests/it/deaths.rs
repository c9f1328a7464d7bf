//! The mover dies, at every call and at every byte; whoever comes next brings the pool into order.

use xenkeep_api::*;

use crate::{
    desk::Strike,
    rig::{Machine, Rig},
    tap::{At, Cut, Moment, Tap},
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
    let died = kill_at(rig, tap, spec, At::Call(call), moment).await;
    if let Some(id) = died {
        rig.recover(id).await;
    }
    died.is_some()
}

/// Runs a job whose mover dies at that call. None when the job ended before.
async fn kill_at(rig: &Rig, tap: &Tap, spec: JobSpec, at: At, moment: Moment) -> Option<JobId> {
    tap.plan(at, moment, Cut::Freeze);
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
    died.then_some(id)
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
        assert_eq!(rig.contents(&vm.uuid).await, rig.contents(&kept.source_uuid).await);
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
    assert_eq!(rig.contents(&vm).await, rig.contents(&point.source_uuid).await, "{when}");
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
    let new = rig.contents(&point.source_uuid).await;
    for (seed, strike) in strikes().enumerate() {
        rig.scribble(&point.source_uuid, 0, seed as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.source_uuid).await);
        let (died, _) = die_at(&rig, rig.restore_spec(&point, Placement::overwrite()), strike).await;
        exactly_one(&rig, &before, &point.source_uuid, &old, &new, &format!("after death {strike:?}")).await;
        if !died {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_restore_over_the_original_at_any_call() {
    let (rig, tap) = tapped().await;
    let point = rig.backup("web1").await;
    let new = rig.contents(&point.source_uuid).await;
    let mut deaths = 0;
    for (turn, call) in calls().enumerate() {
        rig.scribble(&point.source_uuid, 0, turn as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.source_uuid).await);
        let moment = if turn % 2 == 0 { Moment::After } else { Moment::Before };
        let spec = rig.restore_spec(&point, Placement::overwrite());
        let died = die_at_call(&rig, &tap, spec, call, moment).await;
        exactly_one(&rig, &before, &point.source_uuid, &old, &new, &format!("after death {moment:?} call {call}"))
            .await;
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
    let new = rig.contents(&point.source_uuid).await;
    for (turn, call) in (2..400).step_by(5).enumerate() {
        rig.scribble(&point.source_uuid, 0, turn as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.source_uuid).await);
        let moment = if turn % 2 == 0 { Moment::After } else { Moment::Before };
        tap.plan(At::Call(call), moment, Cut::Break);
        let (id, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
        let calls = tap.no_plan();
        if !rig.desk.journal(id).is_empty() {
            rig.recover(id).await;
        }
        let when = format!(
            "after a break {moment:?} {}, {:?}",
            calls.get(call - 1).map_or("nothing", String::as_str),
            report.problem
        );
        exactly_one(&rig, &before, &point.source_uuid, &old, &new, &when).await;
        if calls.len() < call {
            break;
        }
    }
}

/// The pool itself fails in the middle of the swap: the old record is gone, the new one not there.
#[tokio::test(flavor = "multi_thread")]
async fn of_mover_and_pool_in_the_middle_of_a_swap_brings_the_old_vm_back() {
    let (rig, tap) = tapped().await;
    let admin = rig.admin().await;
    let point = rig.backup("web1").await;
    rig.scribble(&point.source_uuid, 0, 3).await;
    let (old, _) = admin.vm_by_uuid(&point.source_uuid).await.unwrap();
    // A snapshot has the same seed for MACs; it must not stand in the way.
    let task = admin.vm_snapshot(&old, "before the upgrade", &[]).await.unwrap();
    admin.task(task).wait(&Default::default(), |_| {}).await.unwrap();
    let (before, content) = (rig.state().await, rig.contents(&point.source_uuid).await);
    rig.desk.strike(Strike::AfterJournal(5));
    let (id, report) = rig.run_or_die(rig.restore_spec(&point, Placement::overwrite())).await;
    assert!(rig.desk.no_strike(), "{report:#?}");
    assert_eq!(rig.desk.journal(id)[0].what["made"], "swap");
    admin.vm_destroy(&old).await.unwrap();
    let (undone, _) = rig.recover(id).await;
    assert!(undone.iter().any(|line| line.contains("brought back")), "{undone:?}");
    let after = rig.state().await;
    after.assert_same_as(&before, "after the recovery");
    let (vm, was) = (after.vm(&point.source_uuid).unwrap(), before.vm(&point.source_uuid).unwrap());
    assert_eq!((vm.macs(), vm.disks()), (was.macs(), was.disks()));
    assert_eq!(rig.contents(&point.source_uuid).await, content);
    drop(tap);
}

/// The VM that took the place is not what it should be.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_faulty_new_vm_in_place_brings_the_old_one_back() {
    let (rig, tap) = tapped().await;
    let admin = rig.admin().await;
    let point = rig.backup("web1").await;
    rig.scribble(&point.source_uuid, 0, 3).await;
    let (before, content) = (rig.state().await, rig.contents(&point.source_uuid).await);
    let spec = rig.restore_spec(&point, Placement::overwrite());
    // The first thing that is asked for after the swap.
    let id = kill_at(&rig, &tap, spec, At::Method("task.get_all_records"), Moment::Before).await.expect("it dies");
    let (_, new) = admin.vm_by_uuid(&point.source_uuid).await.unwrap();
    admin.vif_destroy(&new.vifs[0]).await.unwrap();
    rig.recover(id).await;
    let after = rig.state().await;
    after.assert_same_as(&before, "after the recovery");
    assert_eq!(after.vm(&point.source_uuid).unwrap().macs(), before.vm(&point.source_uuid).unwrap().macs());
    assert_eq!(rig.contents(&point.source_uuid).await, content);
}

/// Transfers are no calls: die before they begin, and when the pool has taken them.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_restore_over_the_original_at_any_transfer() {
    let (rig, tap) = tapped().await;
    let point = rig.backup("web1").await;
    let new = rig.contents(&point.source_uuid).await;
    let paths = ["PUT /import", "PUT /import_metadata", "GET /export_metadata"];
    for (turn, (path, moment)) in
        paths.into_iter().flat_map(|path| [(path, Moment::Before), (path, Moment::After)]).enumerate()
    {
        rig.scribble(&point.source_uuid, 0, turn as u64 + 1).await;
        let (before, old) = (rig.state().await, rig.contents(&point.source_uuid).await);
        let spec = rig.restore_spec(&point, Placement::overwrite());
        let id = kill_at(&rig, &tap, spec, At::Method(path), moment).await.expect("it dies");
        rig.recover(id).await;
        exactly_one(&rig, &before, &point.source_uuid, &old, &new, &format!("after death {moment:?} {path}")).await;
    }
}

/// An import makes a network that it does not find; we never let it come to that.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_network_that_was_chosen_makes_no_network() {
    let rig = Rig::with(|dir| {
        let mut config = crate::rig::config(dir);
        config.networks.push(xensim::config::NetworkConfig::new("Laboratory", "xapi7"));
        config.vms[0].networks = vec!["Laboratory".into()];
        config
    })
    .await;
    let point = rig.backup("web1").await;
    let admin = rig.admin().await;
    let (_, web1) = admin.vm_by_uuid(&point.source_uuid).await.unwrap();
    admin.vif_destroy(&web1.vifs[0]).await.unwrap();
    let (network, _) = admin.find_networks("Laboratory").await.unwrap().remove(0);
    admin.run("network.destroy", xapi::params![network]).await.unwrap();
    let before = rig.state().await;
    let mut spec = rig.beside(&point, "copy");
    if let xenkeep_api::JobSpec::Restore { places, .. } = &mut spec {
        places.networks.insert("Laboratory".into(), "Internal network".into());
    }
    let (died, _) = die_at(&rig, spec.clone(), Strike::AfterJournal(3)).await;
    assert!(died);
    rig.state().await.assert_same_as(&before, "after the recovery");
    rig.restore(spec).await;
    assert_eq!(rig.state().await.networks(), before.networks());
}

/// Somebody starts the VM that nobody has confirmed yet.
#[tokio::test(flavor = "multi_thread")]
async fn leaves_a_vm_that_somebody_has_taken_into_use() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let content = rig.contents(&point.source_uuid).await;
    rig.desk.strike(Strike::AfterJournal(3));
    let (id, _) = rig.run_or_die(rig.beside(&point, "copy")).await;
    assert!(rig.desk.no_strike());
    let admin = rig.admin().await;
    let (vm, record) = admin.find_vms("copy").await.unwrap().remove(0);
    let task = admin.vm_start(&vm).await.unwrap();
    admin.task(task).wait(&Default::default(), |_| {}).await.unwrap();
    rig.recover(id).await;
    let after = rig.state().await;
    assert_eq!(after.ours(), Vec::<String>::new());
    assert_eq!(after.vm(&record.uuid).unwrap().0["power_state"], "Running");
    assert_eq!(rig.contents(&record.uuid).await, content);
}
