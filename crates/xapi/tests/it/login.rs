//! Logging in, finding the master, keeping the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use xapi::{Endpoint, Error, Options, Pool, Tls, params};

use crate::fake::{Fake, Identity, Reply};

#[tokio::test]
async fn says_who_it_is_and_logs_out() {
    let host = Fake::plain(|_| Reply::Usual).await;
    let pool = host.login().await;
    pool.logout().await;
    let seen = host.seen();
    assert_eq!(seen[0].params, [json!("root"), json!("secret"), json!("1.0"), json!("xenkeep")]);
    assert_eq!(seen[1].call, "session.logout");
    assert_eq!(seen[1].params, [json!("OpaqueRef:session")]);
    assert_eq!(seen[0].headers["user-agent"], seen[1].headers["user-agent"]);
    assert_eq!(host.connections(), 1, "a connection is used again");
}

#[tokio::test]
async fn wrong_password_is_its_own_error() {
    let host =
        Fake::plain(|_| Reply::failure("SESSION_AUTHENTICATION_FAILED", ["root", "Authentication failure"])).await;
    let error = Pool::login(host.endpoint(), "root", &"wrong".to_string().into()).await.unwrap_err();
    assert!(matches!(&error, Error::WrongPassword { user } if user == "root"), "{error:?}");
    assert_eq!(host.calls().len(), 1, "never tried twice");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let endpoint = Endpoint { address: gone, tls: Tls::Plain };
    let error = Pool::login(endpoint, "root", &"x".to_string().into()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    let endpoint = Endpoint { address: "no such host".into(), tls: Tls::Plain };
    let error = Pool::login(endpoint, "root", &"x".to_string().into()).await.unwrap_err();
    assert!(matches!(error, Error::BadAddress { .. }), "{error:?}");
}

#[tokio::test]
async fn something_else_there_is_no_pool() {
    for (answer, wanted) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "http"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "protocol"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "protocol"),
        ("", "closed"),
    ] {
        let host = Fake::plain(|_| Reply::Raw(answer.into())).await;
        let error = Pool::login(host.endpoint(), "root", &"x".to_string().into()).await.unwrap_err();
        let fits = match wanted {
            "http" => matches!(error, Error::Http { status: 404, .. }),
            "protocol" => matches!(error, Error::Protocol { .. }),
            _ => matches!(error, Error::ClosedEarly { .. }),
        };
        assert!(fits, "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn a_release_without_originator_is_asked_with_two() {
    let host = Fake::plain(|request| match request.params.len() {
        2 => Reply::Usual,
        _ => Reply::failure("MESSAGE_PARAMETER_COUNT_MISMATCH", ["session.login_with_password", "2", "4"]),
    })
    .await;
    host.login().await;
}

#[tokio::test]
async fn a_member_sends_on_to_the_master() {
    let master = Fake::plain(|request| match request.call.as_str() {
        "VM.get_all_records" => Reply::Value(json!({})),
        _ => Reply::Usual,
    })
    .await;
    let address = master.address.clone();
    let member = Fake::plain(move |_| Reply::failure("HOST_IS_SLAVE", [&address])).await;
    let pool = member.login().await;
    assert!(pool.vms().await.unwrap().is_empty());
    assert_eq!(pool.address(), master.address);
    assert_eq!(member.calls(), ["session.login_with_password"]);
}

#[tokio::test]
async fn hosts_that_send_each_other_round_are_left() {
    let host = Arc::new(std::sync::OnceLock::<String>::new());
    let fake = Fake::plain({
        let host = Arc::clone(&host);
        move |_| Reply::failure("HOST_IS_SLAVE", [host.get().unwrap()])
    })
    .await;
    host.set(fake.address.clone()).unwrap();
    let error = Pool::login(fake.endpoint(), "root", &"x".to_string().into()).await.unwrap_err();
    assert!(matches!(error, Error::TooManyRedirects { .. }), "{error:?}");
}

#[tokio::test]
async fn a_lost_session_is_renewed_once() {
    let logins = AtomicUsize::new(0);
    let host = Fake::plain(move |request| match request.call.as_str() {
        "session.login_with_password" => {
            Reply::Value(json!(format!("OpaqueRef:{}", logins.fetch_add(1, Ordering::SeqCst))))
        }
        "VM.get_uuid" if request.params[0] == "OpaqueRef:0" => Reply::failure("SESSION_INVALID", ["OpaqueRef:0"]),
        "VM.get_uuid" => Reply::Value(json!("u")),
        "VM.get_name_label" => Reply::failure("SESSION_INVALID", [request.params[0].as_str().unwrap()]),
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    assert_eq!(pool.call::<String>("VM.get_uuid", params!["OpaqueRef:vm"]).await.unwrap(), "u");
    let error = pool.call::<String>("VM.get_name_label", params!["OpaqueRef:vm"]).await.unwrap_err();
    assert!(error.is_session_invalid());
    assert!(!format!("{error:?} {error}").contains("OpaqueRef:1"), "{error:?}");
    assert_eq!(host.calls().iter().filter(|call| *call == "session.login_with_password").count(), 3);
}

#[tokio::test]
async fn nothing_is_renewed_after_logout() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "VM.get_uuid" => Reply::failure("SESSION_INVALID", ["x"]),
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    pool.logout().await;
    assert!(pool.call::<String>("VM.get_uuid", params![]).await.unwrap_err().is_session_invalid());
    assert_eq!(host.calls(), ["session.login_with_password", "session.logout", "VM.get_uuid"]);
}

#[tokio::test]
async fn a_new_master_is_followed_in_mid_session() {
    let new = Fake::plain(|request| match request.call.as_str() {
        "session.login_with_password" => Reply::Value(json!("OpaqueRef:new")),
        "VM.get_uuid" => Reply::Value(request.params[0].clone()),
        _ => Reply::Usual,
    })
    .await;
    let (address, logins) = (new.address.clone(), AtomicUsize::new(0));
    let old = Fake::plain(move |request| match request.call.as_str() {
        "session.login_with_password" if logins.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Usual,
        _ => Reply::failure("HOST_IS_SLAVE", [&address]),
    })
    .await;
    let pool = old.login().await;
    assert_eq!(pool.call::<String>("VM.get_uuid", params!["v"]).await.unwrap(), "OpaqueRef:new");
}

#[tokio::test]
async fn the_member_vouches_for_the_masters_certificate() {
    let (mine, other) = (Identity::new(), Identity::new());
    let master = Fake::tls(&mine, |_| Reply::Usual).await;
    let slave = |thumbprint: Option<String>| {
        let address = master.address.clone();
        let text =
            json!({ "jsonrpc": "2.0", "error": { "code": 1, "message": "HOST_IS_SLAVE", "data": [address] }, "id": 1 });
        move |request: &crate::fake::Request| {
            assert_eq!(request.headers["x-xenapi-request-host-certificate-thumbprint"], "sha-256:master");
            let headers =
                thumbprint.iter().map(|print| ("x-xenapi-response-host-certificate-thumbprint", print.clone()));
            Reply::Json(text.to_string(), headers.collect())
        }
    };
    // named by the member: trusted
    let member = Fake::tls(&other, slave(Some(mine.fingerprint().with_colons()))).await;
    let pool = member.login().await;
    assert_eq!(pool.certificate(), Some(other.fingerprint()), "what is pinned for the address that was given");
    assert_eq!(pool.master_certificate(), Some(mine.fingerprint()));
    // another one named: refused
    let member = Fake::tls(&other, slave(Some(other.fingerprint().with_colons()))).await;
    let error = Pool::login(member.endpoint(), "root", &"x".to_string().into()).await.unwrap_err();
    assert!(matches!(error, Error::CertificateUnknown { found, .. } if found == mine.fingerprint()), "{error:?}");
    // nothing named, but a pin: refused, unless it was learned earlier
    let member = Fake::tls(&other, slave(None)).await;
    let error = Pool::login(member.endpoint(), "root", &"x".to_string().into()).await.unwrap_err();
    assert!(matches!(error, Error::CertificateUnknown { .. }), "{error:?}");
    let options = Options { known_certificates: vec![mine.fingerprint()], ..Options::default() };
    Pool::login_with(member.endpoint(), "root", &"x".to_string().into(), options).await.unwrap();
    // nothing named at first contact: as good as the first contact itself
    let endpoint = Endpoint { address: member.address.clone(), tls: Tls::FirstContact };
    Pool::login(endpoint, "root", &"x".to_string().into()).await.unwrap();
}
