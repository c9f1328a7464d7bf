//! Calls and what can happen to them.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use xapi::{Error, NewVif, VdiRef, VmRef, params};

use crate::fake::{Fake, Reply};

#[tokio::test]
async fn errors_of_both_forms_arrive_typed() {
    for form in [
        r#"{"jsonrpc":"2.0","error":{"code":1,"message":"VDI_IN_USE","data":["OpaqueRef:v","destroy"]},"id":1}"#,
        r#"{"result":null,"error":["VDI_IN_USE","OpaqueRef:v","destroy"],"id":1}"#,
    ] {
        let host = Fake::plain(move |request| match request.call.as_str() {
            "VDI.destroy" => Reply::Json(form.to_owned(), vec![]),
            _ => Reply::Usual,
        })
        .await;
        let error = host.login().await.vdi_destroy(&VdiRef::from("OpaqueRef:v")).await.unwrap_err();
        assert!(error.is_vdi_in_use() && error.is_transient());
        assert_eq!(error.api_params(), ["OpaqueRef:v", "destroy"]);
    }
}

#[tokio::test]
async fn http_errors_of_calls_are_told() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "VM.start" => Reply::Raw(b"HTTP/1.1 500 Internal Error\r\nContent-Length: 2\r\n\r\nno".to_vec()),
        _ => Reply::Usual,
    })
    .await;
    let error = host.login().await.run("VM.start", params![]).await.unwrap_err();
    assert!(matches!(error, Error::Http { status: 500, .. }), "{error:?}");
}

#[tokio::test]
async fn what_only_reads_is_repeated_after_a_broken_connection_and_nothing_else() {
    let tries = AtomicUsize::new(0);
    let host = Fake::plain(move |request| match request.call.as_str() {
        "VM.get_uuid" if tries.fetch_add(1, Ordering::SeqCst) == 0 => Reply::HangUp,
        "VM.get_uuid" => Reply::Value(json!("u")),
        "VM.destroy" => Reply::HangUp,
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    assert_eq!(pool.call::<String>("VM.get_uuid", params![]).await.unwrap(), "u");
    let error = pool.vm_destroy(&VmRef::from("OpaqueRef:v")).await.unwrap_err();
    assert!(error.is_connection(), "{error:?}");
    assert_eq!(host.calls().iter().filter(|call| *call == "VM.destroy").count(), 1);
}

#[tokio::test]
async fn a_kept_connection_that_died_is_no_error() {
    // the host hangs up after each answer, though it said keep-alive
    let host = Fake::plain(|request| {
        let session = json!({ "jsonrpc": "2.0", "result": "OpaqueRef:s", "id": 1 }).to_string();
        let length = session.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: keep-alive\r\n\r\n{session}");
        assert!(!request.call.is_empty());
        Reply::Raw(answer.into_bytes())
    })
    .await;
    let pool = host.login().await;
    for _ in 0..20 {
        pool.call::<String>("VM.get_uuid", params![]).await.unwrap();
    }
}

#[tokio::test]
async fn a_crowded_pool_is_given_time() {
    let tries = AtomicUsize::new(0);
    let host = Fake::plain(move |request| match request.call.as_str() {
        "Async.VM.start" if tries.fetch_add(1, Ordering::SeqCst) < 1 => Reply::failure("TOO_MANY_PENDING_TASKS", []),
        "Async.VM.start" => Reply::Value(json!("OpaqueRef:task")),
        _ => Reply::Usual,
    })
    .await;
    let task = host.login().await.vm_start(&VmRef::from("OpaqueRef:v")).await.unwrap();
    assert_eq!(task.as_str(), "OpaqueRef:task");
}

#[tokio::test]
async fn a_silent_pool_is_left_in_the_end() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "VM.destroy" => Reply::Silence,
        _ => Reply::Usual,
    })
    .await;
    let error = host.login_impatiently().await.vm_destroy(&VmRef::from("OpaqueRef:v")).await.unwrap_err();
    assert!(matches!(error, Error::Silent { .. }), "{error:?}");
}

#[tokio::test]
async fn blocked_calls_hold_up_nobody() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "event.from" => Reply::Silence,
        "VM.get_uuid" => Reply::Value(json!("u")),
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    let blocked = tokio::spawn({
        let pool = pool.clone();
        async move { pool.run("event.from", params![["vm"], "", 30.0]).await }
    });
    while !host.calls().contains(&"event.from".to_owned()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(pool.call::<String>("VM.get_uuid", params![]).await.unwrap(), "u");
    blocked.abort();
}

#[tokio::test]
async fn a_large_request_is_refused_here() {
    let host = Fake::plain(|_| Reply::Usual).await;
    let error = host.login().await.run("VM.set_name_label", params!["x".repeat(300 << 10)]).await.unwrap_err();
    assert!(matches!(error, Error::RequestTooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn names_may_be_borne_by_several_and_uuids_by_one() {
    const UUID: &str = "0a1b2c3d-0000-1111-2222-333344445555";
    let host = Fake::plain(|request| match request.call.as_str() {
        "VM.get_by_uuid" if request.params[1] == UUID => Reply::Value(json!("OpaqueRef:1")),
        "VM.get_by_uuid" => Reply::failure("UUID_INVALID", ["VM", "x"]),
        "VM.get_by_name_label" if request.params[1] == "web" => {
            Reply::Value(json!(["OpaqueRef:1", "OpaqueRef:2", "OpaqueRef:snap", "OpaqueRef:gone"]))
        }
        "VM.get_by_name_label" => Reply::Value(json!([])),
        "VM.get_record" => match request.params[1].as_str().unwrap() {
            "OpaqueRef:gone" => Reply::failure("HANDLE_INVALID", ["VM", "OpaqueRef:gone"]),
            "OpaqueRef:snap" => Reply::Value(json!({ "uuid": "s", "is_a_snapshot": true, "is_a_template": true })),
            other => Reply::Value(json!({ "uuid": other })),
        },
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    assert_eq!(pool.find_vms("web").await.unwrap().len(), 2);
    assert_eq!(pool.find_vms(UUID).await.unwrap().len(), 1);
    assert!(pool.find_vms("none").await.unwrap().is_empty());
    assert!(pool.find_vms("0a1b2c3d-0000-1111-2222-000000000000").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_snapshot_of_all_disks_has_no_third_parameter() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "Async.VM.snapshot" => Reply::Value(json!("OpaqueRef:task")),
        _ => Reply::Usual,
    })
    .await;
    let (pool, vm) = (host.login().await, VmRef::from("OpaqueRef:v"));
    pool.vm_snapshot(&vm, "s", &[]).await.unwrap();
    pool.vm_snapshot(&vm, "s", &[VdiRef::from("OpaqueRef:d")]).await.unwrap();
    let seen = host.seen();
    assert_eq!(seen[1].params[1..], [json!("OpaqueRef:v"), json!("s")]);
    assert_eq!(seen[2].params[1..], [json!("OpaqueRef:v"), json!("s"), json!(["OpaqueRef:d"])]);
}

#[tokio::test]
async fn maps_are_written_key_by_key() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "VM.add_to_other_config" | "VM.remove_from_other_config" => Reply::Value(json!("")),
        _ => Reply::Usual,
    })
    .await;
    host.login().await.set_other_config(&VmRef::from("OpaqueRef:v"), "xenkeep:job", "1").await.unwrap();
    assert_eq!(host.calls()[1..], ["VM.remove_from_other_config", "VM.add_to_other_config"]);
}

#[tokio::test]
async fn a_network_card_comes_again_with_its_address() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "VIF.get_record" => {
            Reply::Value(json!({ "MAC": "02:00:00:00:00:01", "device": "0", "network": "OpaqueRef:n", "MTU": "1500" }))
        }
        "VIF.create" => Reply::Value(json!("OpaqueRef:vif")),
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    let vif = pool.vif(&"OpaqueRef:old".into()).await.unwrap();
    pool.vif_create(&NewVif::like(&vif, "OpaqueRef:v".into())).await.unwrap();
    let record = host.seen().last().unwrap().params[1].clone();
    assert_eq!(
        (&record["MAC"], &record["VM"], &record["MTU"]),
        (&json!("02:00:00:00:00:01"), &json!("OpaqueRef:v"), &json!(1500))
    );
}
