use super::*;

fn mover(name: &str, connected: bool, address: &str) -> (StoredMover, bool) {
    let addresses = vec![address.parse().unwrap()];
    let stored = StoredMover {
        name: name.to_owned(),
        remote: true,
        version: None,
        addresses,
        capacity: 4,
        last_seen: None,
        created_at: Timestamp::UNIX_EPOCH,
    };
    (stored, connected)
}

fn client(number: u128, mover: Option<&str>, address: &str, hosts: &[&str]) -> ClientReach {
    ClientReach {
        id: ClientId(uuid::Uuid::from_u128(number)),
        name: format!("pool{number}"),
        address: address.to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        mover: mover.map(str::to_owned),
    }
}

fn store(number: u128, movers: &[&str]) -> DatastoreReach {
    DatastoreReach {
        id: DatastoreId(uuid::Uuid::from_u128(number)),
        name: format!("store{number}"),
        movers: movers.iter().map(|mover| (*mover).to_owned()).collect(),
    }
}

fn needs(client: u128, datastore: u128, target: u128) -> Needs {
    let store = |number| (number != 0).then(|| DatastoreId(uuid::Uuid::from_u128(number)));
    let client = (client != 0).then(|| ClientId(uuid::Uuid::from_u128(client)));
    Needs { client, datastore: store(datastore), target: store(target) }
}

fn roster() -> Roster {
    Roster::new(
        [mover("a", true, "10.0.0.1"), mover("b", true, "10.0.0.2"), mover("c", false, "10.0.0.3")],
        vec![client(1, None, "pool.example", &[]), client(2, Some("b"), "10.9.0.1:443", &["10.9.0.2"])],
        vec![store(1, &[]), store(2, &["a", "b"]), store(3, &["c"])],
    )
}

#[test]
fn client_and_datastores_say_who_may() {
    let roster = roster();
    let able =
        |needs| ["a", "b", "c"].into_iter().filter(|name| roster.eligible(name, needs).is_ok()).collect::<String>();
    for (client, datastore, target, expected) in [
        (0, 0, 0, "abc"),
        (1, 1, 0, "abc"),
        (1, 2, 0, "ab"),
        (1, 3, 0, "c"),
        (2, 1, 0, "b"),
        (2, 2, 0, "b"),
        (2, 3, 0, ""),
        (0, 2, 3, ""),
        (0, 1, 3, "c"),
    ] {
        assert_eq!(able(needs(client, datastore, target)), expected, "{client} {datastore} {target}");
    }
}

#[test]
fn a_job_that_nobody_can_take_says_why() {
    let roster = roster();
    assert_eq!(roster.nobody(needs(1, 2, 0)), None);
    let silent = roster.nobody(needs(1, 3, 0)).unwrap();
    assert_eq!(silent.code, "queue.no_mover");
    assert!(silent.message.contains("c (never heard of)"), "{silent}");
    let none = roster.nobody(needs(2, 3, 0)).unwrap();
    assert!(none.message.contains("client pool2 is for mover b") && none.message.contains("store3"), "{none}");
    assert!(Roster::default().nobody(needs(1, 1, 0)).unwrap().message.contains("there is none"));
}

#[test]
fn a_mover_on_a_host_of_any_pool_gets_nothing() {
    let on = |address: &str, hosts: &[&str]| {
        let roster = Roster::new([mover("a", true, "10.0.0.1")], vec![client(1, None, address, hosts)], Vec::new());
        roster.refusal("a")
    };
    for (address, hosts) in [
        ("10.0.0.1", vec![]),
        ("10.0.0.1:8443", vec![]),
        ("pool.example", vec!["10.0.0.7", "10.0.0.1"]),
        ("pool.example", vec!["10.0.0.1:443"]),
    ] {
        let problem = on(address, &hosts).unwrap();
        assert_eq!(problem.code, "mover.on_pool_host");
        assert!(problem.message.contains("10.0.0.1") && problem.message.contains("pool1"), "{problem}");
    }
    for (address, hosts) in [("10.0.0.2", vec![]), ("fe80::1", vec!["", "x", "127.0.0.1:1"]), ("", vec![])] {
        assert_eq!(on(address, &hosts), None, "{address}");
    }
}

#[test]
fn the_one_with_less_to_do_takes_it() {
    let roster = roster();
    let waiting = ["a".to_owned(), "b".to_owned()];
    let running = |busy: &'static str| move |name: &str| if name == busy { 2 } else { 1 };
    assert!(roster.leaves("a", needs(1, 1, 0), &waiting, &running("a")));
    assert!(!roster.leaves("b", needs(1, 1, 0), &waiting, &running("a")));
    // Both alike: whoever comes first. And nobody leaves a job to one that may not do it, or does not wait.
    assert!(!roster.leaves("a", needs(1, 1, 0), &waiting, &running("x")));
    assert!(!roster.leaves("b", needs(2, 1, 0), &waiting, &running("b")));
    assert!(!roster.leaves("a", needs(1, 1, 0), &["a".to_owned()], &running("a")));
}
