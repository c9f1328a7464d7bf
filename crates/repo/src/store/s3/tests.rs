#![allow(clippy::unwrap_used)]

use super::*;
use crate::Refusal;
use crate::store::patience::Patient;
use crate::store::tests::hurried;
use crate::store::{conformance, moto};

mod proxy;

use proxy::{Fault, Proxy};

/// A place of its own on the S3 server of the tests.
fn place() -> S3Location {
    let moto::Place { endpoint, bucket, prefix, region, access_key_id, secret_access_key } = moto::place();
    let (endpoint, secret_access_key) = (Some(endpoint), secret_access_key.into());
    S3Location { endpoint, bucket, prefix, region, access_key_id, secret_access_key, ca_certificate: None }
}

fn store(at: &S3Location) -> Arc<dyn Store> {
    Arc::new(S3::new(at).unwrap())
}

#[tokio::test]
async fn a_bucket_conforms() {
    conformance::suite(store(&place())).await;
    let slashes = S3Location { prefix: format!("/{}/a/b c/ü/", place().prefix), ..place() };
    conformance::suite(store(&slashes)).await;
}

#[tokio::test]
async fn a_server_that_fails_now_and_then_conforms_for_those_who_are_patient() {
    for fault in [Fault::Status(503), Fault::Hangup, Fault::CutsAnswer(150), Fault::CutsAnswer(20)] {
        let at = place();
        let proxy = Proxy::start(at.endpoint.as_deref().unwrap(), 3, fault).await;
        let at = S3Location { endpoint: Some(proxy.url()), ..at };
        conformance::suite(Patient::over(store(&at), hurried())).await;
        assert!(proxy.faults() > 20, "{fault:?}: {} faults", proxy.faults());
    }
}

#[tokio::test]
async fn bits_that_turn_over_on_their_way_to_the_server_are_noticed() {
    for fault in [Fault::SpoilsRequest, Fault::SpoilsObject] {
        let at = place();
        let proxy = Proxy::start(at.endpoint.as_deref().unwrap(), 2, fault).await;
        let through = store(&S3Location { endpoint: Some(proxy.url()), ..at.clone() });
        let content = Bytes::from(vec![7; 100_000]);
        let name = Name::Pack(Id::of(&content));
        through.put(name, content.clone()).await.unwrap();
        let error = through.put(name, content.clone()).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{fault:?}: {error:?}");
        // Whoever tries again puts it right.
        Patient::over(through.clone(), hurried()).put(name, content.clone()).await.unwrap();
        Patient::over(through, hurried()).put(name, content.clone()).await.unwrap();
        assert!(store(&at).get(name, 1 << 20).await.unwrap() == content);
    }
}

#[tokio::test]
async fn long_lists_are_whole() {
    let at = place();
    let store = store(&at);
    let ids: Vec<Id> = (0..1205_u32).map(|number| Id::of(&number.to_le_bytes())).collect();
    let puts = stream::iter(&ids).map(|id| store.put(Name::Pack(*id), Bytes::new()));
    // What is stored is not what its name says; that is no matter of a list.
    puts.buffer_unordered(16).for_each(|_| std::future::ready(())).await;
    let s3 = S3::new(&at).unwrap();
    for in_order in [100, 1000, 1100, 2000] {
        let mut listed = s3.list_in_parts(Name::Pack, in_order).await.unwrap();
        listed.sort();
        let mut expected: Vec<_> = ids.iter().map(|id| (*id, 0)).collect();
        expected.sort();
        assert!(listed == expected, "{in_order}: {} of {}", listed.len(), expected.len());
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_address_is_told() {
    let refused = async |at: S3Location| {
        let error = Patient::over(store(&at), hurried()).get(Name::Config, 100).await.unwrap_err();
        let text = format!(
            "{error} {:?} {}",
            error,
            std::error::Error::source(&error).map_or(String::new(), ToString::to_string)
        );
        assert!(!text.contains("secret-of-the-test"), "{text}");
        error
    };
    let no_bucket = refused(S3Location { bucket: "no-such-bucket".into(), ..place() }).await;
    assert!(matches!(no_bucket, Error::Refused { refusal: Refusal::NoBucket, .. }), "{no_bucket:?}");
    let put = store(&S3Location { bucket: "no-such-bucket".into(), ..place() }).put(Name::Config, "x".into()).await;
    assert!(matches!(put, Err(Error::Refused { refusal: Refusal::NoBucket, .. })), "{put:?}");

    // Nobody listens on this port.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let silent = S3Location { endpoint: Some(format!("http://127.0.0.1:{port}")), ..place() };
    let started = std::time::Instant::now();
    let error = refused(silent).await;
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_transient(), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(60));

    // A server that speaks no TLS.
    let plain = place().endpoint.unwrap().replace("http:", "https:");
    let error = refused(S3Location { endpoint: Some(plain), ..place() }).await;
    assert!(matches!(error, Error::Refused { refusal: Refusal::Tls, .. }), "{error:?}");
}

#[tokio::test]
async fn nonsense_is_refused_before_anything_is_sent() {
    let invalid = |at: S3Location| match S3::new(&at) {
        Err(Error::Invalid(why)) => why,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{at} was taken"),
    };
    for endpoint in ["", "host:9000", "ftp://host", "http://", "http://user:pw@host", "http://host/path", "https://h?x"]
    {
        invalid(S3Location { endpoint: Some(endpoint.into()), ..place() });
    }
    for bucket in ["", "ab", "a/b", "../x", "a b", "bücket"] {
        invalid(S3Location { bucket: bucket.into(), ..place() });
    }
    for prefix in ["a//b", "..", "a/./b", "a\nb"] {
        invalid(S3Location { prefix: prefix.into(), ..place() });
    }
    invalid(S3Location {
        ca_certificate: Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----".into()),
        ..place()
    });
}
