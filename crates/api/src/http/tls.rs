//! Trust in one certificate alone, known by its SHA-256.

use std::sync::Arc;

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

use super::Error;

/// The provider of cryptography that this process has chosen; when nobody has yet, the one that is built in.
pub(super) fn provider() -> Arc<CryptoProvider> {
    if let Some(chosen) = CryptoProvider::get_default() {
        return Arc::clone(chosen);
    }
    // Fails only when somebody has chosen since, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    CryptoProvider::get_default().cloned().unwrap_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

/// A TLS configuration that accepts the certificate with this SHA-256 and no other.
pub(super) fn pinned(pin: &str) -> Result<ClientConfig, Error> {
    let hex: String = pin.chars().filter(|c| *c != ':').collect();
    let mut sha256 = [0; 32];
    hex::decode_to_slice(&hex, &mut sha256).map_err(|_| Error::Pin { pin: pin.to_owned() })?;
    let provider = provider();
    let verifier = PinVerifier { sha256, provider: Arc::clone(&provider) };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// A TLS configuration that accepts certificates which the authorities in `pem` have signed, and no others.
pub(super) fn signed_by(pem: &str) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| Error::Authority { why: error.to_string() })?;
        roots.add(certificate).map_err(|error| Error::Authority { why: error.to_string() })?;
    }
    if roots.is_empty() {
        return Err(Error::Authority { why: "there is no certificate in it".to_owned() });
    }
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { source })?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

#[derive(Debug)]
struct PinVerifier {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found: [u8; 32] = Sha256::digest(end_entity).into();
        if found == self.sha256 {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!(
            "the server shows the certificate {}, {} is expected",
            hex::encode(found),
            hex::encode(self.sha256)
        )))
    }

    // The certificate is public: that the server holds its key is proved by these two alone.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
