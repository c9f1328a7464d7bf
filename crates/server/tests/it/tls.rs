use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use reqwest::Certificate;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use xenkeep_server::{Error, Server, ServerConfig, Tls};

use crate::fixture::http;

fn config(dir: &Path, listen: &str, tls: Tls) -> ServerConfig {
    ServerConfig { tls, ..ServerConfig::new(dir, listen.parse().unwrap()) }
}

#[tokio::test]
async fn speaks_https_with_a_certificate_of_its_own_that_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    for _ in ["first start", "second start"] {
        let server = Server::start(config(dir.path(), "127.0.0.1:0", Tls::Always)).await.unwrap();
        assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
        let pem = std::fs::read(dir.path().join("tls/cert.pem")).unwrap();
        let der = CertificateDer::from_pem_slice(&pem).unwrap();
        let sha256 = hex::encode(digest(&SHA256, &der));
        let told: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("server.json")).unwrap()).unwrap();
        assert_eq!(told["certificate_sha256"], sha256.as_str());
        assert_eq!(told["url"], server.url());
        assert_eq!(server.certificate_sha256(), Some(sha256.as_str()));

        let url = format!("{}/api/v1/health", server.url());
        let trusting = http().tls_certs_only([Certificate::from_pem(&pem).unwrap()]).build().unwrap();
        assert!(trusting.get(&url).send().await.unwrap().status().is_success());
        let by_name = url.replace("127.0.0.1", "localhost");
        assert!(trusting.get(&by_name).send().await.unwrap().status().is_success());
        let strict = http().build().unwrap();
        assert!(strict.get(&url).send().await.is_err(), "nobody else has signed it");
        assert!(strict.get(url.replace("https", "http")).send().await.is_err(), "nothing in the clear");
        seen.push(sha256);
        server.shutdown().await.unwrap();
    }
    assert_eq!(seen[0], seen[1]);
    let mode = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("tls/key.pem"), mode("tls")), (0o600, 0o700));
}

#[tokio::test]
async fn an_openssl_client_agrees() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path(), "127.0.0.1:0", Tls::Always)).await.unwrap();
    let output = tokio::process::Command::new("openssl")
        .args(["s_client", "-brief", "-verify_return_error", "-verify_ip", "127.0.0.1", "-connect"])
        .arg(server.local_addr().to_string())
        .arg("-CAfile")
        .arg(dir.path().join("tls/cert.pem"))
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .expect("openssl is installed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("Verification: OK") && said.contains("TLSv1.3"), "{said}");
    server.shutdown().await.unwrap();
}

#[tokio::test]
async fn everywhere_but_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(config(dir.path(), "0.0.0.0:0", Tls::Auto)).await.unwrap();
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    server.shutdown().await.unwrap();
    let server = Server::start(config(dir.path(), "127.0.0.2:0", Tls::Auto)).await.unwrap();
    assert!(server.url().starts_with("http://127.0.0.2:"), "{}", server.url());
    server.shutdown().await.unwrap();

    let nothing = tempfile::tempdir().unwrap();
    let error = Server::start(config(nothing.path(), "0.0.0.0:0", Tls::Never)).await.unwrap_err();
    assert!(matches!(error, Error::PlainOffLoopback(_)), "{error:?}");
    assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0, "before anything was made");
}

#[tokio::test]
async fn files_that_are_none_are_named() {
    let dir = tempfile::tempdir().unwrap();
    Server::start(config(dir.path(), "127.0.0.1:0", Tls::Always)).await.unwrap().shutdown().await.unwrap();
    for name in ["tls/cert.pem", "tls/key.pem"] {
        let path = dir.path().join(name);
        let kept = std::fs::read(&path).unwrap();
        std::fs::write(&path, "nothing of the kind").unwrap();
        let error = Server::start(config(dir.path(), "127.0.0.1:0", Tls::Always)).await.unwrap_err();
        assert_eq!(error.problem().code, "server.tls");
        assert!(error.to_string().contains(name), "{error}");
        std::fs::write(&path, kept).unwrap();
    }
    // The certificate alone can be made again from the key.
    std::fs::remove_file(dir.path().join("tls/cert.pem")).unwrap();
    Server::start(config(dir.path(), "127.0.0.1:0", Tls::Always)).await.unwrap().shutdown().await.unwrap();
}
