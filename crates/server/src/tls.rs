//! HTTPS: an own certificate, made at the first start and kept in the directory `tls` (or the administrator's, put there
//! in its place). The command line on the same machine pins it by its SHA-256, which `server.json` names.

use std::fs::DirBuilder;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::Error;
use crate::data_dir::{DataDir, read, write_private};

/// How long our own certificate is good for. It is pinned, not trusted because of a date.
const VALID_YEARS: i32 = 20;

/// What HTTPS needs.
pub(crate) struct Identity {
    pub(crate) config: Arc<rustls::ServerConfig>,
    /// SHA-256 of the certificate, lower-case hex.
    pub(crate) sha256: String,
}

/// Loads certificate and key; makes them if neither is there.
pub(crate) fn identity(dir: &DataDir, listen: IpAddr, now: Timestamp) -> Result<Identity, Error> {
    let tls = dir.join("tls");
    let (cert_path, key_path) = (tls.join("cert.pem"), tls.join("key.pem"));
    if !cert_path.exists() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&tls)
            .map_err(|source| Error::DataDir { path: tls.clone(), source })?;
        // The key first: a certificate without its key is what the next start would stumble over.
        let key = match read(&key_path)? {
            Some(pem) => KeyPair::from_pem(&Zeroizing::new(pem)).map_err(|error| unusable(&key_path, error))?,
            None => {
                let key = KeyPair::generate().map_err(|error| Error::Tls(error.to_string()))?;
                write_private(&key_path, Zeroizing::new(key.serialize_pem()).as_bytes())?;
                key
            }
        };
        let cert = params(listen, now).and_then(|params| params.self_signed(&key));
        let cert = cert.map_err(|error| Error::Tls(error.to_string()))?;
        write_private(&cert_path, cert.pem().as_bytes())?;
    }
    load(&cert_path, &key_path)
}

fn load(cert_path: &Path, key_path: &Path) -> Result<Identity, Error> {
    let chain = CertificateDer::pem_file_iter(cert_path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(cert_path, error))?;
    let leaf = chain.first().ok_or_else(|| unusable(cert_path, "there is no certificate in it"))?;
    let sha256 = hex::encode(digest(&SHA256, leaf));
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| unusable(key_path, error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Tls(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(cert_path, error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), sha256 })
}

fn params(listen: IpAddr, now: Timestamp) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let mut addresses = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from(std::net::Ipv6Addr::LOCALHOST)];
    if !listen.is_unspecified() && !addresses.contains(&listen) {
        addresses.push(listen);
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.distinguished_name.push(DnType::CommonName, "xenkeep");
    // A day of grace for clocks that are slow.
    let from = now.to_zoned(TimeZone::UTC).date().saturating_sub(1.day());
    let (year, month) = (i32::from(from.year()), from.month().unsigned_abs());
    params.not_before = rcgen::date_time_ymd(year, month, from.day().unsigned_abs());
    params.not_after = rcgen::date_time_ymd(year + VALID_YEARS, month, 1);
    Ok(params)
}

fn unusable(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::Tls(format!("{}: {why}", path.display()))
}
