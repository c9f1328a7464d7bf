#![allow(clippy::unwrap_used)]

use super::*;

fn failed(reply: &str) -> (String, Vec<String>) {
    decode(reply.as_bytes()).unwrap_err().unwrap()
}

#[test]
fn asks_in_the_form_of_2_0() {
    let request: Value = serde_json::from_slice(&encode("VM.start", &crate::params!["s", true, 1.5]).unwrap()).unwrap();
    assert_eq!(request, json!({ "jsonrpc": "2.0", "method": "VM.start", "params": ["s", true, 1.5], "id": 1 }));
}

#[test]
fn keeps_requests_below_what_xapi_takes() {
    let large = "x".repeat(REQUEST_BYTES_MAX);
    assert!(matches!(encode("a.b", &crate::params![large]), Err(Error::RequestTooLarge { .. })));
}

#[test]
fn reads_results_of_both_forms() {
    assert_eq!(decode(br#"{"jsonrpc":"2.0","result":"","id":1}"#), Ok(json!("")));
    assert_eq!(decode(br#"{"result":[1],"error":null,"id":1}"#), Ok(json!([1])));
    assert_eq!(decode(br#"{"result":null,"error":null,"id":1}"#), Ok(Value::Null));
    assert_eq!(decode(br#"{"result":{"Status":"Success","Value":"v"},"error":null,"id":1}"#), Ok(json!("v")));
    assert_eq!(decode(br#"{"result":{"Status":"x"},"id":1}"#), Ok(json!({"Status": "x"})), "a record, no envelope");
}

#[test]
fn reads_errors_of_every_form() {
    let wanted = ("VDI_IN_USE".to_owned(), vec!["OpaqueRef:1".to_owned(), "destroy".to_owned()]);
    for reply in [
        r#"{"jsonrpc":"2.0","error":{"code":1,"message":"VDI_IN_USE","data":["OpaqueRef:1","destroy"]},"id":1}"#,
        r#"{"result":null,"error":["VDI_IN_USE","OpaqueRef:1","destroy"],"id":1}"#,
        r#"{"jsonrpc":"2.0","error":["VDI_IN_USE","OpaqueRef:1","destroy"],"id":0}"#,
        r#"{"result":{"Status":"Failure","ErrorDescription":["VDI_IN_USE","OpaqueRef:1","destroy"]},"id":1}"#,
    ] {
        assert_eq!(failed(reply), wanted, "{reply}");
    }
    assert_eq!(failed(r#"{"error":{"code":1,"message":"X","data":null},"id":1}"#), ("X".into(), vec![]));
    assert_eq!(failed(r#"{"error":{"code":1,"message":"X"},"id":1}"#), ("X".into(), vec![]));
    assert_eq!(failed(r#"{"error":["X",5,{"a":1}],"id":1}"#), ("X".into(), vec!["5".into(), r#"{"a":1}"#.into()]));
}

#[test]
fn refuses_what_is_no_reply() {
    for reply in ["", "<html>", "[]", "{}", r#"{"error":[]}"#, r#"{"error":{}}"#, r#"{"error":7}"#, r#"{"id":1}"#] {
        assert!(matches!(decode(reply.as_bytes()), Err(Err(_))), "{reply}");
    }
}

#[test]
fn knows_what_may_be_repeated() {
    for method in
        ["VM.get_record", "VM.get_all_records", "event.from", "VM.assert_operation_valid", "system.listMethods"]
    {
        assert!(is_read_only(method) && is_repeatable(method), "{method}");
    }
    for method in ["VM.start", "Async.VM.get_record", "session.login_with_password", "task.create", "event.next", "x"] {
        assert!(!is_read_only(method) && !is_repeatable(method), "{method}");
    }
    for method in ["VM.set_name_label", "VDI.remove_from_other_config", "task.cancel"] {
        assert!(!is_read_only(method) && is_repeatable(method), "{method}");
    }
    assert!(!is_repeatable("VDI.add_to_other_config"), "the second one finds the key there");
}

proptest::proptest! {
    #[test]
    fn nothing_that_comes_makes_it_panic(bytes: Vec<u8>, text in r#"[\[\]{}":,a-z0-9]{0,40}"#) {
        let _ = decode(&bytes);
        let _ = decode(text.as_bytes());
        let _ = decode(format!(r#"{{"error":{text}}}"#).as_bytes());
        let _ = decode(format!(r#"{{"result":{text}}}"#).as_bytes());
    }
}
