use super::{error, r, s};
use crate::{
    model::{Class, Map, Value},
    rpc,
    testing::Bench,
};

#[tokio::test]
async fn signing_in_and_out() {
    let bench = Bench::new().await;
    let login = |host: usize, password: &str| {
        let (world, password) = (bench.world.clone(), password.to_owned());
        async move { rpc::call(&world, host, "session.login_with_password", vec![s("root"), s(&password)]).await }
    };
    let refused = login(0, "wrong").await.unwrap_err();
    assert_eq!((refused.code.as_str(), refused.params[0].as_str()), ("SESSION_AUTHENTICATION_FAILED", "root"));
    let slave = login(1, "wrong").await.unwrap_err();
    assert_eq!((slave.code, slave.params), error("HOST_IS_SLAVE", ["192.0.2.1"]));

    let session = login(0, "xensim").await.unwrap();
    let listed = rpc::call(&bench.world, 0, "VM.get_all", vec![session.clone()]).await.unwrap();
    assert!(!listed.as_set().unwrap().is_empty());
    let slave = rpc::call(&bench.world, 1, "VM.get_all", vec![session.clone()]).await.unwrap_err();
    assert_eq!(slave.code, "HOST_IS_SLAVE");
    rpc::call(&bench.world, 0, "session.logout", vec![session.clone()]).await.unwrap();
    let over = rpc::call(&bench.world, 0, "VM.get_all", vec![session.clone()]).await.unwrap_err();
    assert_eq!((over.code, over.params), error("SESSION_INVALID", [session.as_str().unwrap()]));
}

#[tokio::test]
async fn a_member_lets_in_without_the_pool() {
    let bench = Bench::new().await;
    let params = vec![s("root"), s("xensim")];
    let session = rpc::call(&bench.world, 1, "session.slave_local_login_with_password", params).await.unwrap();
    let refused = rpc::call(&bench.world, 1, "VM.get_all", vec![session.clone()]).await.unwrap_err();
    assert_eq!(refused.code, "HOST_IS_SLAVE");
    rpc::call(&bench.world, 1, "session.local_logout", vec![session]).await.unwrap();
}

#[tokio::test]
async fn calls_are_checked_before_they_run() {
    let bench = Bench::new().await;
    let vm = r(&bench.vm);
    for (method, args, expected) in [
        ("VM.get_name_label", vec![s("OpaqueRef:x")], error("HANDLE_INVALID", ["VM", "OpaqueRef:x"])),
        ("VM.get_by_uuid", vec![s("nope")], error("UUID_INVALID", ["VM", "nope"])),
        ("VM.no_such_call", vec![], error("MESSAGE_METHOD_UNKNOWN", ["VM.no_such_call"])),
        ("VM.snapshot", vec![vm.clone()], error("MESSAGE_PARAMETER_COUNT_MISMATCH", ["VM.snapshot", "2", "1"])),
        (
            "VM.start",
            vec![vm.clone(), Value::Bool(false), Value::Bool(false), Value::Nil],
            error("MESSAGE_PARAMETER_COUNT_MISMATCH", ["VM.start", "3", "4"]),
        ),
        ("VM.start", vec![vm.clone(), s("x"), Value::Bool(false)], error("FIELD_TYPE_ERROR", ["start_paused"])),
        ("VM.snapshot_with_quiesce", vec![vm.clone(), s("n")], error("MESSAGE_REMOVED", [])),
        ("VMPP.get_all", vec![], error("MESSAGE_REMOVED", [])),
        ("VM.get_all_records_where", vec![s("field")], error("INVALID_VALUE", ["expr", "field"])),
        (
            "pool.ha_prevent_restarts_for",
            vec![Value::Int(1)],
            error("NOT_IMPLEMENTED", ["pool.ha_prevent_restarts_for"]),
        ),
    ] {
        assert_eq!(bench.refused(method, args).await, expected, "{method}");
    }
    assert_eq!(bench.refused("Async.VM.get_all", []).await.0, "NO_ASYNC");
    assert_eq!(bench.refused("Async.VM_start", []).await.0, "MESSAGE_METHOD_UNKNOWN");
}

#[tokio::test]
async fn fields_are_read_and_written() {
    let bench = Bench::new().await;
    let vm = r(&bench.vm);
    bench.done("VM.set_name_label", [vm.clone(), s("renamed")]).await;
    assert_eq!(bench.done("VM.get_name_label", [vm.clone()]).await, s("renamed"));
    assert_eq!(bench.done("VM_get_by_name_label", [s("renamed")]).await, Value::Set(vec![vm.clone()]));
    bench.done("VM.add_to_other_config", [vm.clone(), s("k"), s("v")]).await;
    let uuid = bench.text(&bench.vm, "uuid");
    assert_eq!(
        bench.refused("VM.add_to_other_config", [vm.clone(), s("k"), s("w")]).await,
        error("MAP_DUPLICATE_KEY", ["VM", "other_config", &uuid, "k"])
    );
    bench.done("VM.remove_from_other_config", [vm.clone(), s("k")]).await;
    bench.done("VM.remove_from_other_config", [vm.clone(), s("k")]).await;
    bench.done("VM.add_tags", [vm.clone(), s("t")]).await;
    bench.done("VM.add_tags", [vm.clone(), s("t")]).await;
    assert_eq!(bench.done("VM.get_tags", [vm.clone()]).await, Value::texts(["t"]));
    bench.done("VM.remove_tags", [vm.clone(), s("t")]).await;
    assert_eq!(bench.refused("VM.set_uuid", [vm.clone(), s("x")]).await.0, "MESSAGE_METHOD_UNKNOWN");
    let record = bench.done("VM.get_record", [vm.clone()]).await;
    assert_eq!(record.as_map().unwrap().len(), 92);
    let found = bench.done("VM.get_all_records_where", [s("field \"name__label\" = \"renamed\"")]).await;
    assert_eq!(found.as_map().unwrap().keys().collect::<Vec<_>>(), [bench.vm.as_str()]);
}

#[tokio::test]
async fn every_class_can_be_listed() {
    let bench = Bench::new().await;
    let methods = rpc::call(&bench.world, 0, "system.listMethods", vec![]).await.unwrap();
    let listings =
        methods.as_set().unwrap().iter().filter_map(Value::as_str).filter(|name| name.ends_with(".get_all_records"));
    let mut classes = 0;
    for name in listings {
        match bench.call(name, []).await {
            Ok(Value::Map(_)) => classes += 1,
            Ok(other) => panic!("{name}: {other:?}"),
            Err(error) => assert_eq!(error.code, "MESSAGE_REMOVED", "{name}"),
        }
    }
    assert!(classes > 55, "{classes}");
}

#[tokio::test]
async fn sessions_are_forgotten() {
    let bench = Bench::new().await;
    bench.world.clock.advance(std::time::Duration::from_secs(25 * 3600));
    assert_eq!(bench.refused("VM.get_all", []).await.0, "SESSION_INVALID");
    bench.world.sweep();
    assert_eq!(bench.count(Class::Session), 0);
    for _ in 0..510 {
        bench.world.login("root", "xensim", "many").await.unwrap();
    }
    assert_eq!(bench.count(Class::Session), 500);
}

#[tokio::test]
async fn constructors_take_records() {
    let bench = Bench::new().await;
    let missing = bench.refused("network.create", [Value::Map(Map::new())]).await;
    assert_eq!(missing.0, "INTERNAL_ERROR");
    assert!(missing.1[0].contains("other_config"), "{missing:?}");
    let record = Value::map([("name_label", s("net")), ("other_config", Value::Map(Map::new())), ("unknown", s("x"))]);
    let network = bench.made("network.create", [record]).await;
    assert_eq!(bench.text(&network, "bridge"), "xapi1");
    bench.done("network.destroy", [r(&network)]).await;
}
