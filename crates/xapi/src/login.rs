//! Logging in, and finding the master.

use std::sync::Arc;

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::channel::{Channel, Refusal, THUMBPRINT_ANSWER};
use crate::connect::{Connector, TcpConnector, TlsConnector};
use crate::session::Session;
use crate::trust::Trust;
use crate::{Address, Endpoint, Error, Fingerprint, Options, Result, Tls, params};

/// From member to master is one hop; while a pool changes its master it may take another.
const HOPS_MAX: usize = 4;

/// What it takes to log in.
pub(crate) struct Account {
    pub(crate) tls: Tls,
    /// To the host at the endpoint's address.
    pub(crate) home: Arc<dyn Connector>,
    pub(crate) options: Options,
    user: String,
    password: SecretString,
}

/// A session, and the host that it is used with.
pub(crate) struct Link {
    pub(crate) channel: Channel,
    session: Session,
}

impl Link {
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn connector(&self) -> &Arc<dyn Connector> {
        self.channel.connector()
    }
}

impl Account {
    pub(crate) fn new(endpoint: Endpoint, user: &str, password: &SecretString, options: Options) -> Result<Self> {
        let address = Address::parse(&endpoint.address, endpoint.tls.default_port())?;
        let home = match endpoint.tls {
            Tls::Plain => plain(address, &options),
            Tls::Pinned(fingerprint) => tls(address, Trust::exactly(fingerprint), &options)?,
            Tls::FirstContact => tls(address, Trust::first_contact(), &options)?,
        };
        Ok(Self { tls: endpoint.tls, home, options, user: user.to_owned(), password: password.clone() })
    }

    /// Logs in at the host of `connector`, or at the master that it names.
    pub(crate) async fn log_in(&self, mut connector: Arc<dyn Connector>) -> Result<Link> {
        let mut repeated = false;
        for _ in 0..HOPS_MAX {
            let channel = Channel::new(Arc::clone(&connector));
            let refusal = match self.ask(&channel).await {
                Ok(session) => return Ok(Link { channel, session }),
                Err(refusal) => refusal,
            };
            // a host that drops one connection may well take the next; a session too many goes by itself
            if !repeated && matches!(refusal.error, Error::Lost { .. } | Error::ClosedEarly { .. }) {
                repeated = true;
                continue;
            }
            connector = match &refusal.error {
                Error::Api { code, params } if code == "HOST_IS_SLAVE" => {
                    let master = params.first().map(String::as_str).unwrap_or_default();
                    tracing::debug!(member = %connector.address(), master, "sent on to the master");
                    self.master(master, thumbprint(&refusal.headers))?
                }
                Error::Api { code, .. } if code == "SESSION_AUTHENTICATION_FAILED" => {
                    return Err(Error::WrongPassword { user: self.user.clone() });
                }
                _ => return Err(refusal.error),
            };
        }
        Err(Error::TooManyRedirects { address: connector.address().to_string() })
    }

    async fn ask(&self, channel: &Channel) -> Result<Session, Refusal> {
        const METHOD: &str = "session.login_with_password";
        let patience = self.options.timeouts.login;
        let password = self.password.expose_secret();
        let full = params![self.user, password, "1.0", self.options.originator];
        let reply = match channel.call(METHOD, &full, None, patience).await {
            // releases before 6.2 know no originator
            Err(refusal) if refusal.error.is_api("MESSAGE_PARAMETER_COUNT_MISMATCH") => {
                channel.call(METHOD, &params![self.user, password], None, patience).await?
            }
            other => other?,
        };
        match reply {
            serde_json::Value::String(session) if !session.is_empty() => Ok(Session::new(session)),
            _ => {
                let address = channel.connector().address().to_string();
                Err(Error::Protocol { address, what: "a login without a session".to_owned() }.into())
            }
        }
    }

    /// The way to the master that a member has named; see the table in [`crate::trust`].
    fn master(&self, address: &str, thumbprint: Option<Fingerprint>) -> Result<Arc<dyn Connector>> {
        // hosts of one pool answer alike: whoever gave a port of its own means it for all of them
        let address = Address::parse(address, self.home.address().port)?;
        if address == *self.home.address() {
            return Ok(Arc::clone(&self.home));
        }
        let known = &self.options.known_certificates;
        let trust = match (self.tls, thumbprint) {
            (Tls::Plain, _) => return Ok(plain(address, &self.options)),
            (_, Some(thumbprint)) => Trust::one_of(vec![thumbprint]),
            (Tls::FirstContact, None) if known.is_empty() => Trust::first_contact(),
            (_, None) => Trust::one_of(known.iter().copied().chain(self.home.certificate()).collect()),
        };
        tls(address, trust, &self.options)
    }
}

pub(crate) fn plain(address: Address, options: &Options) -> Arc<dyn Connector> {
    Arc::new(TcpConnector::new(address, options.timeouts.connect))
}

pub(crate) fn tls(address: Address, trust: Trust, options: &Options) -> Result<Arc<dyn Connector>> {
    Ok(Arc::new(TlsConnector::new(address, trust, options.timeouts.connect)?))
}

/// The thumbprint of the master's certificate, with or without its algorithm in front.
fn thumbprint(headers: &HeaderMap) -> Option<Fingerprint> {
    let text = headers.get(THUMBPRINT_ANSWER)?.to_str().ok()?;
    let text = text.trim().trim_start_matches("sha-256:").trim_start_matches("master");
    text.trim_start_matches([':', '=', ' ']).parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_master_without_a_port_is_reached_at_the_endpoints_port() {
        for (endpoint, named, expected) in [
            ("10.0.0.1:8443", "10.0.0.2", "10.0.0.2:8443"),
            ("10.0.0.1:8443", "10.0.0.2:9443", "10.0.0.2:9443"),
            ("10.0.0.1", "10.0.0.2", "10.0.0.2:443"),
        ] {
            let endpoint = Endpoint { address: endpoint.to_owned(), tls: Tls::FirstContact };
            let account = Account::new(endpoint, "root", &"x".into(), Options::default()).unwrap();
            assert_eq!(account.master(named, None).unwrap().address().to_string(), expected);
        }
    }

    #[test]
    fn reads_thumbprints_with_and_without_algorithm() {
        let wanted = Fingerprint::of_der(b"x");
        for text in [wanted.to_string(), wanted.with_colons(), format!("sha-256:master:{}", wanted.with_colons())] {
            let mut headers = HeaderMap::new();
            headers.insert(THUMBPRINT_ANSWER, HeaderValue::from_str(&text).unwrap());
            assert_eq!(thumbprint(&headers), Some(wanted), "{text}");
        }
        assert_eq!(thumbprint(&HeaderMap::new()), None);
    }
}
