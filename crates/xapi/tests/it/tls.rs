//! Pinned certificates.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xapi::{Endpoint, Error, Options, Pool, Timeouts, Tls, params};

use crate::fake::{Fake, Identity, Reply};

async fn login(host: &Fake, tls: Tls) -> Result<Pool, Error> {
    Pool::login(Endpoint { address: host.address.clone(), tls }, "root", &"secret".to_string().into()).await
}

#[tokio::test]
async fn first_contact_learns_what_is_then_pinned() {
    let identity = Identity::new();
    let host = Fake::tls(&identity, |_| Reply::Usual).await;
    let pool = login(&host, Tls::FirstContact).await.unwrap();
    assert_eq!(pool.certificate(), Some(identity.fingerprint()));
    let pool = login(&host, Tls::Pinned(identity.fingerprint())).await.unwrap();
    assert_eq!(pool.master_certificate(), Some(identity.fingerprint()));
    assert_eq!(login(&Fake::plain(|_| Reply::Usual).await, Tls::Plain).await.unwrap().certificate(), None);
}

#[tokio::test]
async fn a_changed_certificate_refuses_before_anything_is_said() {
    let (old, new) = (Identity::new(), Identity::new());
    let host = Fake::tls(&new, |_| Reply::Usual).await;
    let error = login(&host, Tls::Pinned(old.fingerprint())).await.unwrap_err();
    assert!(
        matches!(&error, Error::CertificateChanged { expected, found, .. }
            if *expected == old.fingerprint() && *found == new.fingerprint()),
        "{error:?}"
    );
    assert!(!error.is_transient());
    assert!(host.seen().is_empty(), "no password was sent");
}

#[tokio::test]
async fn whoever_has_the_certificate_but_not_its_key_is_refused() {
    /// Shows a certificate that is not its own.
    #[derive(Debug)]
    struct Thief(Arc<CertifiedKey>);
    impl rustls::server::ResolvesServerCert for Thief {
        fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
    }

    let (honest, thief) = (Identity::new(), Identity::new());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = provider.key_provider.load_private_key(PrivateKeyDer::from(thief.key.clone_key())).unwrap();
        let stolen: CertificateDer<'static> = honest.certificate.clone();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Thief(Arc::new(CertifiedKey::new(vec![stolen], key)))));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(socket).await.is_ok()
        });
        let endpoint = Endpoint { address, tls: Tls::Pinned(honest.fingerprint()) };
        let error = Pool::login(endpoint, "root", &"secret".to_string().into()).await.unwrap_err();
        assert!(matches!(error, Error::Tls { .. }), "{error:?}");
        assert!(!server.await.unwrap(), "the handshake must not come to its end");
    }
}

#[tokio::test]
async fn clear_text_behind_a_tls_port_is_told() {
    let host = Fake::plain(|_| Reply::Usual).await;
    // both sides wait for the other one to speak
    let timeouts = Timeouts { connect: Duration::from_secs(1), ..Timeouts::default() };
    let endpoint = Endpoint { address: host.address.clone(), tls: Tls::FirstContact };
    let options = Options { timeouts, ..Options::default() };
    let error = Pool::login_with(endpoint, "root", &"secret".to_string().into(), options).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn certificates_of_hosts_are_learned_over_the_session() {
    let (a, renewed, b) = (Identity::new(), Identity::new(), Identity::new());
    let (print, pem_a, pem_b) = (a.fingerprint().with_colons(), renewed.pem.clone(), b.pem.clone());
    let host = Fake::plain(move |request| match request.call.as_str() {
        "Certificate.get_all_records" => Reply::Value(json!({
            "OpaqueRef:1": { "type": "host", "host": "OpaqueRef:a", "fingerprint_sha256": print },
            "OpaqueRef:2": { "type": "host_internal", "host": "OpaqueRef:a", "fingerprint_sha256": "00" },
        })),
        "host.get_all_records" => Reply::Value(json!({ "OpaqueRef:a": {}, "OpaqueRef:b": {} })),
        "host.get_server_certificate" => {
            Reply::Value(json!(if request.params[1] == "OpaqueRef:a" { &pem_a } else { &pem_b }))
        }
        _ => Reply::Usual,
    })
    .await;
    let pool = host.login().await;
    let known = pool.host_certificates().await.unwrap();
    assert_eq!(known[&"OpaqueRef:a".into()], [a.fingerprint(), renewed.fingerprint()], "the record lags behind");
    assert_eq!(known[&"OpaqueRef:b".into()], [b.fingerprint()]);
    pool.run("VM.get_uuid", params![]).await.unwrap_err();
}

#[tokio::test]
async fn a_host_that_is_too_old_is_told() {
    // what 7.6 and older answer to all that rustls offers: alert, fatal, handshake_failure
    const REFUSAL: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let host = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_exact(&mut [0; 64]).await.unwrap();
        socket.write_all(&REFUSAL).await.unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).await;
    });
    let endpoint = Endpoint { address, tls: Tls::FirstContact };
    let error = Pool::login(endpoint, "root", &"secret".to_string().into()).await.unwrap_err();
    assert!(error.is_tls_outdated(), "{error:?}");
    host.abort();
}
