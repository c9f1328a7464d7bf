//! A self-signed certificate for each host, as hosts make one at their first start.

use std::io;
use std::ops::Sub as _;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsAcceptor;

/// What a host shows to its clients.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) certificate_pem: String,
    /// Fingerprint of the certificate, as lower-case hex without colons.
    pub(crate) certificate_sha256: String,
    /// The same with SHA-1, which older clients ask for.
    pub(crate) certificate_sha1: String,
}

impl Identity {
    /// Makes key and certificate for a host of that name and address. It began to hold a year before it ends, or now.
    pub(crate) fn new(name: &str, address: &str, days: i32) -> io::Result<Self> {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let names = vec![name.to_owned(), address.to_owned()];
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        let now = std::time::SystemTime::now();
        let year = Duration::from_secs(365 * 24 * 3600);
        let away = Duration::from_secs(u64::from(days.unsigned_abs()) * 24 * 3600);
        let until = if days < 0 { now - away } else { now + away };
        params.not_before = until.min(now).sub(year).into();
        params.not_after = until.into();
        params.distinguished_name.push(DnType::CommonName, address);
        let certificate = params.self_signed(&key).map_err(io::Error::other)?;
        let der = certificate.der().clone();
        let certificate_sha256 = hex::encode(Sha256::digest(&der));
        let certificate_sha1 = hex::encode(Sha1::digest(&der));
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // The provider is named, as a program that uses us may not have chosen one.
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![der], key))
            .map_err(io::Error::other)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate_pem: certificate.pem(),
            certificate_sha256,
            certificate_sha1,
        })
    }
}
