//! TLS by rustls. Hosts have self-signed certificates, so names, dates and issuers say nothing: the fingerprint does.
//! That the host holds the key is still proved by the handshake's signature, or anyone with the (public) certificate passes.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::time::timeout;

use super::{Connector, Io, TcpConnector};
use crate::trust::Trust;
use crate::{Address, Error, Fingerprint, Result};

/// Connects over TLS.
pub(crate) struct TlsConnector {
    tcp: TcpConnector,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
    trust: Arc<Trust>,
    patience: Duration,
    shown: Mutex<Option<Fingerprint>>,
}

impl std::fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConnector").field("address", self.tcp.address()).field("trust", &self.trust).finish()
    }
}

impl TlsConnector {
    pub(crate) fn new(address: Address, trust: Trust, patience: Duration) -> Result<Self> {
        let name = ServerName::try_from(address.host.clone()).map_err(|_| Error::BadAddress {
            address: address.to_string(),
            reason: "this name can't be a TLS server name",
        })?;
        let trust = Arc::new(trust);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let judge = Judge { trust: Arc::clone(&trust), provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls { address: address.to_string(), source: io::Error::other(error) })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(judge))
            .with_no_client_auth();
        let tcp = TcpConnector::new(address, patience);
        Ok(Self { tcp, name, config: Arc::new(config), trust, patience, shown: Mutex::new(None) })
    }

    fn failure(&self, source: io::Error) -> Error {
        let address = self.tcp.address().to_string();
        self.trust.refusal(address.clone()).unwrap_or(Error::Tls { address, source })
    }
}

#[async_trait]
impl Connector for TlsConnector {
    fn address(&self) -> &Address {
        self.tcp.address()
    }

    async fn connect(&self) -> Result<Box<dyn Io>> {
        let tcp = self.tcp.open().await?;
        let handshake = tokio_rustls::TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), tcp);
        let stream = match timeout(self.patience, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.failure(error)),
            Err(_) => return Err(self.failure(io::Error::new(io::ErrorKind::TimedOut, "no handshake in time"))),
        };
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let Some(found) = leaf.map(|leaf| Fingerprint::of_der(leaf)) else {
            return Err(self.failure(io::Error::other("the host showed no certificate")));
        };
        if !self.trust.proved(found) {
            return Err(self.failure(io::Error::other("another certificate was learned meanwhile")));
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        Ok(Box::new(stream))
    }

    fn certificate(&self) -> Option<Fingerprint> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_tls(&self) -> bool {
        true
    }
}

/// Judges certificates by their fingerprint.
#[derive(Debug)]
struct Judge {
    trust: Arc<Trust>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.trust.allows(Fingerprint::of_der(end_entity)) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
