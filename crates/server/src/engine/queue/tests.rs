use std::cell::Cell;

use xenkeep_api::{ClientId, ClientLimits, DatastoreId, JobId};

use super::*;

thread_local! {
    static ARRIVED: Cell<i64> = const { Cell::new(0) };
}

fn entry(kind: JobKind, client: Option<ClientId>, vm_key: Option<&str>) -> QueueEntry {
    QueueEntry {
        id: JobId::random(),
        number: ARRIVED.replace(ARRIVED.get() + 1),
        kind,
        subject: "same".to_owned(),
        priority: 0,
        client,
        datastore: None,
        target: None,
        drive: None,
        vm_key: vm_key.map(str::to_owned),
        not_before: Timestamp::UNIX_EPOCH,
        mover: Some("local".to_owned()),
        host: None,
        srs: Vec::new(),
        lane: String::new(),
    }
}

fn backup(client: ClientId, vm: &str) -> QueueEntry {
    entry(JobKind::Backup, Some(client), Some(vm))
}

fn now() -> Timestamp {
    Timestamp::from_second(1000).unwrap()
}

fn standing(waiting: &[QueueEntry], running: &[QueueEntry]) -> Standing {
    Standing {
        running: running.to_vec(),
        recoveries: waiting.iter().filter(|job| is_recovery(job)).cloned().collect(),
        alone: waiting.iter().filter(|job| wants_pool(job)).cloned().collect(),
        ..Standing::default()
    }
}

/// The one that runs next, judged one by one: what lanes save is asking, not what is answered.
fn next_of(standing: &Standing, waiting: &[QueueEntry]) -> Option<usize> {
    let limits = Limits { jobs: 6, ..Limits::default() };
    let turn = Turn { now: now(), limits: &limits };
    let mut order: Vec<usize> = (0..waiting.len()).collect();
    order.sort_by_key(|&index| {
        let job = &waiting[index];
        (turn.rank(job.kind), std::cmp::Reverse(job.priority), &job.subject, job.number)
    });
    order.into_iter().find(|&index| turn.judge(standing, "local", &waiting[index]) == Verdict::Run)
}

fn next(waiting: &[QueueEntry], running: &[QueueEntry]) -> Option<usize> {
    next_of(&standing(waiting, running), waiting)
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
fn a_database_is_replaced_on_a_pool_without_other_jobs() {
    let (pool, other) = (ClientId::random(), ClientId::random());
    let restore = entry(JobKind::RestoreMetaData, Some(pool), Some("pool:"));
    let running = [backup(pool, "name:b")];
    // It waits for those that run, and nobody of its pool begins before it.
    let waiting = [restore.clone(), backup(pool, "name:x"), backup(other, "name:x")];
    assert_eq!(next(&waiting, &running), Some(2));
    assert_eq!(next(&waiting, &[]), Some(0));
    // Nobody runs beside it, and not a second one either; what only looks does.
    let replacing = [restore.clone()];
    let second = entry(JobKind::RestoreMetaData, Some(pool), Some("pool:"));
    assert_eq!(next(&[backup(pool, "name:x"), second], &replacing), None);
    assert_eq!(next(&[entry(JobKind::CheckClient, Some(pool), None)], &replacing), Some(0));
    let later = QueueEntry { not_before: Timestamp::from_second(2000).unwrap(), ..restore.clone() };
    assert_eq!(next(&[later, backup(pool, "name:x")], &[]), Some(1));
    // A recovery of its pool goes first, and a dry run is a job like others.
    assert_eq!(next(&[restore, entry(JobKind::Recover, Some(pool), None)], &[]), Some(1));
    assert_eq!(next(&[entry(JobKind::RestoreMetaData, Some(pool), None)], &running), Some(0));
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
fn priority_comes_before_the_name_and_the_name_before_arrival() {
    let named = |subject: &str, priority| QueueEntry {
        subject: subject.to_owned(),
        priority,
        ..backup(ClientId::random(), &format!("name:{subject}"))
    };
    let mut waiting = vec![named("b", 0), named("a", 0), named("a", 0), named("z", 5), named("0", -1)];
    let mut order = Vec::new();
    while let Some(index) = next(&waiting, &[]) {
        let job = waiting.remove(index);
        order.push((job.subject, job.priority, job.number));
    }
    let (subjects, numbers): (Vec<_>, Vec<_>) = order.into_iter().map(|(subject, _, number)| (subject, number)).unzip();
    assert_eq!(subjects, ["z", "a", "a", "b", "0"]);
    assert!(numbers[1] < numbers[2]);
}

#[test]
fn a_drive_lets_no_more_through_than_it_has_channels() {
    let through =
        |drive, n: usize| QueueEntry { drive: Some(drive), ..backup(ClientId::random(), &format!("name:{n}")) };
    let mut at = standing(&[], &[through(13, 1), through(13, 2), through(7, 3)]);
    at.channels = [(13, 2), (7, 2)].into();
    let limits = Limits { jobs: 100, ..Limits::default() };
    let turn = Turn { now: now(), limits: &limits };
    let Verdict::LaneWaits(problem) = turn.judge(&at, "local", &through(13, 4)) else { panic!() };
    assert_eq!((problem.code.as_str(), problem.about.as_deref()), ("queue.drive_full", Some("13")));
    assert_eq!(problem.message, "drive 13 has no free channel: 2 of 2 are taken");
    assert_eq!(turn.judge(&at, "local", &through(7, 4)), Verdict::Run);
    // One that has been narrowed meanwhile, or closed.
    at.channels = [(13, 1), (7, 0)].into();
    for drive in [13, 7] {
        assert!(matches!(turn.judge(&at, "local", &through(drive, 4)), Verdict::LaneWaits(_)));
    }
}

#[test]
fn a_client_may_have_a_limit_of_its_own() {
    let (pool, other) = (ClientId::random(), ClientId::random());
    let running: Vec<_> =
        (0..2).flat_map(|n| [backup(pool, &format!("name:{n}")), backup(other, &format!("name:{n}"))]).collect();
    let mut at = standing(&[], &running);
    at.limits.insert(pool, ClientLimits { jobs: Some(2), ..ClientLimits::default() });
    let waiting = [backup(pool, "name:x"), backup(other, "name:x")];
    assert_eq!(next_of(&at, &waiting), Some(1));
    let limits = Limits::default();
    let turn = Turn { now: now(), limits: &limits };
    assert_eq!(turn.reason(&at, &waiting[0]).code, "queue.pool_busy");
    assert_eq!(turn.reason(&at, &waiting[1]).code, "queue.turn");
}

#[test]
fn a_host_and_an_sr_have_room_for_so_many() {
    let pool = ClientId::random();
    let on = |host: &str, sr: &str, n: usize| QueueEntry {
        host: Some(host.to_owned()),
        srs: vec![sr.to_owned()],
        ..backup(pool, &format!("name:{n}"))
    };
    let mut at = standing(&[], &[on("a", "x", 1), on("a", "y", 2), on("b", "x", 3)]);
    let job = backup(pool, "name:new");
    let limits = Limits::default();
    let turn = Turn { now: now(), limits: &limits };
    let code = |at: &Standing, host: &str, sr: &str| {
        let places = Places { host: Some(host.to_owned()), srs: vec!["z".to_owned(), sr.to_owned()] };
        turn.place_busy(at, &job, &places).map(|problem| problem.code)
    };
    assert_eq!(code(&at, "a", "x"), None, "without limits there are none");
    at.limits.insert(pool, ClientLimits { jobs_per_host: Some(2), jobs_per_sr: Some(2), ..ClientLimits::default() });
    assert_eq!(code(&at, "a", "y").as_deref(), Some("queue.host_busy"));
    assert_eq!(code(&at, "b", "x").as_deref(), Some("queue.sr_busy"));
    assert_eq!(code(&at, "b", "y"), None);
    // Another pool's hosts are others, and one's own place is not in one's way.
    at.running[0].client = Some(ClientId::random());
    assert_eq!(code(&at, "a", "y"), None);
    let mine = at.running[2].clone();
    at.running.push(on("b", "q", 4));
    assert_eq!(turn.place_busy(&at, &mine, &Places { host: Some("b".to_owned()), srs: Vec::new() }), None);
}

#[test]
fn a_movers_long_jobs_are_bounded_by_mover() {
    let elsewhere =
        |n: usize| QueueEntry { mover: Some("far".to_owned()), ..backup(ClientId::random(), &format!("name:{n}")) };
    let running: Vec<_> = (0..50).map(elsewhere).collect();
    assert_eq!(next(&[backup(ClientId::random(), "name:x")], &running), Some(0));
}

#[test]
fn whoever_waits_is_told_why() {
    let pool = ClientId::random();
    let limits = Limits::default();
    let turn = Turn { now: now(), limits: &limits };
    let reason = |job: &QueueEntry, at: &Standing| turn.reason(at, job).code;
    let recovery = entry(JobKind::Recover, Some(pool), Some("name:a"));
    let running = [backup(pool, "name:a")];
    assert_eq!(reason(&backup(pool, "name:a"), &standing(&[], &running)), "queue.vm_busy");
    assert_eq!(reason(&recovery, &standing(&[], &running)), "queue.pool_in_use");
    assert_eq!(reason(&backup(pool, "name:b"), &standing(std::slice::from_ref(&recovery), &[])), "queue.recovery");
    let later = QueueEntry { not_before: Timestamp::from_second(2000).unwrap(), ..backup(pool, "name:a") };
    assert_eq!(reason(&later, &standing(&[], &running)), "queue.not_before");
    let prune = QueueEntry { datastore: Some(DatastoreId::random()), ..entry(JobKind::PruneDatastore, None, None) };
    assert_eq!(reason(&prune, &standing(&[], std::slice::from_ref(&prune))), "queue.datastore_busy");
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
