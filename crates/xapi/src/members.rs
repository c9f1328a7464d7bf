//! Other hosts of the pool, to which the master sends bulk streams.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use crate::connect::Connector;
use crate::login::{plain, tls};
use crate::trust::Trust;
use crate::{Address, Error, Fingerprint, HostRef, Pool, Result, record};

/// Ways to hosts that we were sent to before.
#[derive(Default)]
pub(crate) struct Members(Mutex<HashMap<(Address, bool), Arc<dyn Connector>>>);

impl Pool {
    /// Certificates of the pool's hosts, as the pool tells over the session.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn host_certificates(&self) -> Result<HashMap<HostRef, Vec<Fingerprint>>> {
        let mut found: HashMap<HostRef, Vec<Fingerprint>> = HashMap::new();
        match self.records::<record::Certificate>().await {
            Ok(certificates) => {
                for certificate in certificates.into_values().filter(|certificate| certificate.kind == "host") {
                    let print = certificate.fingerprint_sha256.parse().or_else(|_| certificate.fingerprint.parse());
                    if let Ok(print) = print {
                        found.entry(certificate.host).or_default().push(print);
                    }
                }
            }
            Err(error) if error.is_unsupported() => {}
            Err(error) => return Err(error),
        }
        // before 8.2 there is no such class; and a record may lag behind what the host shows
        for host in self.hosts().await?.into_keys() {
            match self.call::<String>("host.get_server_certificate", crate::params![host]).await {
                Ok(pem) => {
                    if let Ok(print) = Fingerprint::of_pem(&pem) {
                        let known = found.entry(host).or_default();
                        if !known.contains(&print) {
                            known.push(print);
                        }
                    }
                }
                Err(error) if error.is_connection() || error.is_session_invalid() => return Err(error),
                Err(error) => tracing::debug!(%host, %error, "no certificate"),
            }
        }
        Ok(found)
    }

    /// The way to the host of a `Location`. The session goes there, so over TLS it must be a host of this pool.
    pub(crate) async fn member(&self, location: &str) -> Result<Arc<dyn Connector>> {
        let (address, secure) = place(location, self.account().tls.is_on())
            .map_err(|what| Error::Protocol { address: self.address(), what: format!("a redirect {what}") })?;
        let master = self.master_connector();
        if *master.address() == address && master.is_tls() == secure {
            return Ok(master);
        }
        let mut members = self.0.members.0.lock().await;
        if let Some(known) = members.get(&(address.clone(), secure)) {
            return Ok(Arc::clone(known));
        }
        let connector = if secure {
            let certificates = self.host_certificates().await?.into_values().flatten().collect();
            tls(address.clone(), Trust::one_of(certificates), self.options())?
        } else {
            plain(address.clone(), self.options())
        };
        members.insert((address, secure), Arc::clone(&connector));
        Ok(connector)
    }

    /// Forgets ways to hosts: a certificate may have been renewed.
    pub(crate) async fn forget_members(&self) {
        self.0.members.0.lock().await.clear();
    }
}

/// Where a `Location` points to, and whether TLS is to be spoken there. Hosts always say `https` there; whoever has chosen
/// clear text keeps it, unless the port is one of its own.
fn place(location: &str, chosen: bool) -> Result<(Address, bool), &'static str> {
    let (scheme, rest) = location.split_once("://").ok_or("without a host")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let said = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => return Err("to something that is not http"),
    };
    let bare = Address::parse(authority, 0).map_err(|_| "to no host")?;
    match (chosen, said, bare.port) {
        (true, true, 0) | (true, false, 0 | 80) => Ok((Address { port: 443, ..bare }, true)),
        (false, true, 0 | 443) | (false, false, 0) => Ok((Address { port: 80, ..bare }, false)),
        (true, false, _) => Err("from TLS to clear text"),
        (_, said, _) => Ok((bare, said)),
    }
}

#[cfg(test)]
mod tests;
