use xenkeep_api::{ClientId, DatastoreId};

use super::*;

fn entry(kind: JobKind, client: Option<ClientId>, vm_key: Option<&str>) -> QueueEntry {
    QueueEntry {
        id: JobId::random(),
        kind,
        client,
        datastore: None,
        target: None,
        vm_key: vm_key.map(str::to_owned),
        not_before: Timestamp::UNIX_EPOCH,
    }
}

fn backup(client: ClientId, vm: &str) -> QueueEntry {
    entry(JobKind::Backup, Some(client), Some(vm))
}

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

fn next(waiting: &[QueueEntry], running: &[QueueEntry]) -> Option<usize> {
    let chosen = choose(now(), &Limits::default(), waiting, running)?;
    waiting.iter().position(|job| job.id == chosen)
}

#[test]
fn first_come_first_served() {
    let pool = ClientId::random();
    let waiting = [backup(pool, "name:a"), backup(pool, "name:b")];
    assert_eq!(next(&waiting, &[]), Some(0));
    assert_eq!(next(&waiting[1..], &waiting[..1]), Some(0));
    assert_eq!(next(&[], &[]), None);
}

#[test]
fn never_two_jobs_on_one_vm() {
    let pool = ClientId::random();
    let (uuid, other) = ("uuid:1b0e1a6c-9f0b-4c6c-8c53-2c1a63f1a000", "uuid:1b0e1a6c-9f0b-4c6c-8c53-2c1a63f1a001");
    for (running, waiting, runs) in [
        ("name:a", "name:a", false),
        ("name:a", "name:b", true),
        (uuid, uuid, false),
        (uuid, other, true),
        // Nobody knows whether they are the same.
        ("name:a", uuid, false),
        (uuid, "name:a", false),
        ("new:a", "name:a", false),
        ("new:a", "new:a", false),
        ("new:a", uuid, true),
        (uuid, "new:a", true),
    ] {
        let chosen = next(&[backup(pool, waiting)], &[backup(pool, running)]);
        assert_eq!(chosen.is_some(), runs, "{waiting} while {running} runs");
        // Another pool has other VMs.
        assert_eq!(next(&[backup(pool, waiting)], &[backup(ClientId::random(), running)]), Some(0));
    }
}

#[test]
fn a_blocked_job_does_not_hold_others_back() {
    let pool = ClientId::random();
    let waiting = [backup(pool, "name:a"), backup(pool, "name:b")];
    assert_eq!(next(&waiting, &[backup(pool, "name:a")]), Some(1));
}

#[test]
fn so_many_a_client_and_so_many_in_all() {
    let (pool, other) = (ClientId::random(), ClientId::random());
    let mut running: Vec<_> = (0..3).map(|n| backup(pool, &format!("name:{n}"))).collect();
    assert_eq!(next(&[backup(pool, "name:x"), backup(other, "name:x")], &running), Some(1));
    running.extend((0..3).map(|n| backup(other, &format!("name:{n}"))));
    assert_eq!(next(&[backup(ClientId::random(), "name:x"), entry(JobKind::Export, None, None)], &running), None);
    running.pop();
    assert_eq!(next(&[entry(JobKind::Export, None, None)], &running), Some(0));
}

#[test]
fn short_jobs_wait_for_nothing() {
    let pool = ClientId::random();
    let mut running: Vec<_> = (0..9).map(|n| backup(pool, &format!("name:{n}"))).collect();
    running.push(entry(JobKind::Recover, Some(pool), None));
    for kind in [JobKind::CheckClient, JobKind::BrowseClient, JobKind::CreateDatastore, JobKind::ForgetPoints] {
        assert_eq!(next(&[backup(pool, "name:x"), entry(kind, Some(pool), None)], &running), Some(1));
    }
}

#[test]
fn a_recovery_comes_first_and_is_alone() {
    let (pool, other) = (ClientId::random(), ClientId::random());
    let recovery = entry(JobKind::Recover, Some(pool), Some("name:a"));
    // First, though it came last.
    assert_eq!(next(&[backup(pool, "name:x"), recovery.clone()], &[]), Some(1));
    // It waits for the others of its pool, and nobody overtakes it meanwhile.
    let running = [backup(pool, "name:b")];
    assert_eq!(next(&[backup(pool, "name:x"), recovery.clone()], &running), None);
    assert_eq!(next(&[backup(other, "name:x"), recovery.clone()], &running), Some(0));
    // Nobody runs beside it, and no second one.
    let recovering = [recovery.clone()];
    assert_eq!(next(&[backup(pool, "name:x"), entry(JobKind::Recover, Some(pool), None)], &recovering), None);
    assert_eq!(next(&[backup(other, "name:x")], &recovering), Some(0));
    // A limit is none for it.
    let full: Vec<_> = (0..9).map(|n| backup(other, &format!("name:{n}"))).collect();
    assert_eq!(next(&[recovery], &full), Some(0));
}

#[test]
fn a_recovery_that_waits_for_its_time_keeps_only_its_vm() {
    let pool = ClientId::random();
    let later = Timestamp::from_second(2000).unwrap();
    let recovery = QueueEntry { not_before: later, ..entry(JobKind::Recover, Some(pool), Some("name:a")) };
    assert_eq!(next(std::slice::from_ref(&recovery), &[]), None);
    assert_eq!(next(&[recovery.clone(), backup(pool, "name:a"), backup(pool, "name:b")], &[]), Some(2));
}

#[test]
fn the_key_of_a_vm_survives_being_stored() {
    let spec = |vm: &str| JobSpec::Backup {
        client: ClientId::random(),
        vm: vm.to_owned(),
        datastore: DatastoreId::random(),
        transport: None,
        backup_type: Default::default(),
        options: Default::default(),
    };
    for vm in ["web", "a:b", "uuid:x", "new:x", ""] {
        let key = VmKey::of(&spec(vm), None).unwrap();
        assert_eq!(key, VmKey::Name(vm.to_owned()));
        assert_eq!(VmKey::parse(&key.text()), key);
    }
    let key = VmKey::of(&spec("1B0E1A6C-9F0B-4C6C-8C53-2C1A63F1A000"), None).unwrap();
    assert_eq!(key.text(), "uuid:1b0e1a6c-9f0b-4c6c-8c53-2c1a63f1a000");
}

#[test]
fn upkeep_takes_its_turn_and_leaves_room() {
    let pool = ClientId::random();
    let of = |kind, datastore: DatastoreId| QueueEntry { datastore: Some(datastore), ..entry(kind, None, None) };
    let (a, b, c) = (DatastoreId::random(), DatastoreId::random(), DatastoreId::random());
    let (prune, verify) = (JobKind::PruneDatastore, JobKind::VerifyDatastore);
    // In order of arrival with the others.
    assert_eq!(next(&[of(prune, a), backup(pool, "name:x")], &[]), Some(0));
    // Not two of a kind on one datastore; one of each is fine.
    assert_eq!(next(&[of(prune, a), backup(pool, "name:x")], &[of(prune, a)]), Some(1));
    assert_eq!(next(&[of(prune, a)], &[of(verify, a)]), Some(0));
    // Two at once; and they count among all.
    assert_eq!(next(&[of(prune, c)], &[of(prune, a), of(verify, b)]), None);
    let full: Vec<_> = (0..5).map(|n| backup(ClientId::random(), &format!("name:{n}"))).collect();
    assert_eq!(next(&[backup(pool, "name:x")], &[full, vec![of(verify, a)]].concat()), None);
}

#[test]
fn two_copies_into_one_datastore_take_turns() {
    let copy = |from: DatastoreId, to: DatastoreId| QueueEntry {
        datastore: Some(from),
        target: Some(to),
        ..entry(JobKind::CopyPoints, None, None)
    };
    let (a, b, c) = (DatastoreId::random(), DatastoreId::random(), DatastoreId::random());
    assert_eq!(next(&[copy(a, c), copy(b, a)], &[copy(b, c)]), Some(1));
}
