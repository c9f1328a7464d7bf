//! A login to a client's pool, for the time of one job.

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use xapi::{Endpoint, Fingerprint, Options, Timeouts, Tls};
use xenkeep_api::{ClientAccess, Problem, Transport};

use crate::{
    context::{JobContext, Stop},
    inventory, problem,
};

/// How long a task that was cancelled is waited for; a job must end within 10 s of being cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(7);

/// A session with a client's pool.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) pool: xapi::Pool,
    pub(crate) client: ClientAccess,
    /// The client's own address did not answer: the pool was found through another of its hosts.
    by_member: bool,
    cancel: CancellationToken,
}

impl Session {
    /// Logs in to `client`'s pool, over `transport` if that is given, as the client says if not.
    pub(crate) async fn open(
        cx: &JobContext,
        client: &ClientAccess,
        transport: Option<Transport>,
    ) -> Result<Self, Stop> {
        let endpoint = Endpoint { address: client.address.clone(), tls: tls(client, transport)? };
        let secure = endpoint.tls.is_on();
        let first = match cx.or_cancelled(async { Ok::<_, Stop>(log_in(client, endpoint).await) }).await? {
            Ok(pool) => return Ok(Self::of(cx, client, pool, false).await),
            Err(error) => error,
        };
        // Its host may be down, or gone: the pool is where its other hosts are.
        if matches!(first, xapi::Error::Unreachable { .. }) {
            for endpoint in others(client, secure) {
                let address = endpoint.address.clone();
                match cx.or_cancelled(async { Ok::<_, Stop>(log_in(client, endpoint).await) }).await? {
                    Ok(pool) => {
                        let at = pool.address();
                        cx.note(format!("{} does not answer at {}: found at {at}", client.name, client.address));
                        return Ok(Self::of(cx, client, pool, true).await);
                    }
                    Err(error) => tracing::debug!(client = client.name, address, %error, "not there either"),
                }
            }
        }
        Err(problem::pool(client, &first).into())
    }

    async fn of(cx: &JobContext, client: &ClientAccess, pool: xapi::Pool, by_member: bool) -> Self {
        tracing::debug!(job = %cx.job, client = client.name, address = pool.address(), "logged in");
        let session = Self { pool, client: client.clone(), by_member, cancel: cx.cancel.clone() };
        // What is known of the hosts is for a bad day: no job fails for it today.
        match cx.or_cancelled(inventory::moved(&session)).await {
            Ok(Some(pool)) => cx.found(pool),
            Ok(None) => {}
            Err(stop) => tracing::debug!(job = %cx.job, why = stop.text(), "where the pool's hosts are was not asked"),
        }
        session
    }

    /// Certificate of the host at the client's address; none in the clear, and none while that host does not answer.
    pub(crate) fn certificate(&self) -> Option<Fingerprint> {
        self.pool.certificate().filter(|_| !self.by_member)
    }

    /// The client's own address did not answer.
    pub(crate) fn by_member(&self) -> bool {
        self.by_member
    }

    /// What an error of the pool means for the job.
    pub(crate) fn stop(&self, error: &xapi::Error) -> Stop {
        match error {
            xapi::Error::Cancelled if self.cancel.is_cancelled() => Stop::Cancelled,
            xapi::Error::Cancelled => problem::api(&self.client, "TASK_CANCELLED", &[]).into(),
            error => problem::pool(&self.client, error).into(),
        }
    }

    /// Logs out.
    pub(crate) async fn close(self) {
        self.pool.logout().await;
    }
}

/// Errors of the pool become the job's.
pub(crate) trait OrStop<T> {
    /// See [`Session::stop`].
    fn or_stop(self, session: &Session) -> Result<T, Stop>;

    /// The same, but none for an object that is gone: references that dangle are normal on a pool.
    fn or_gone(self, session: &Session) -> Result<Option<T>, Stop>;
}

impl<T> OrStop<T> for Result<T, xapi::Error> {
    fn or_stop(self, session: &Session) -> Result<T, Stop> {
        self.map_err(|error| session.stop(&error))
    }

    fn or_gone(self, session: &Session) -> Result<Option<T>, Stop> {
        match self {
            Err(error) if error.is_gone() => Ok(None),
            other => other.or_stop(session).map(Some),
        }
    }
}

async fn log_in(client: &ClientAccess, endpoint: Endpoint) -> Result<xapi::Pool, xapi::Error> {
    let password = SecretString::from(client.password.expose());
    let timeouts = Timeouts { cancel: CANCEL_PATIENCE, ..Timeouts::default() };
    let known = client.members.iter().filter_map(|member| member.certificate_sha256.as_deref()?.parse().ok());
    let options = Options { timeouts, known_certificates: known.collect(), ..Options::default() };
    xapi::Pool::login_with(endpoint, &client.user, &password, options).await
}

/// The pool's other hosts. Over TLS only those whose certificate the pool has named: nobody else is told the password.
fn others(client: &ClientAccess, secure: bool) -> Vec<Endpoint> {
    let port = port_of(&client.address);
    let mut endpoints = Vec::new();
    for member in &client.members {
        let print = member.certificate_sha256.as_deref().and_then(|text| text.parse::<Fingerprint>().ok());
        let tls = match (secure, print) {
            (false, _) => Tls::Plain,
            (true, Some(print)) => Tls::Pinned(print),
            (true, None) => continue,
        };
        // Hosts of one pool answer alike: whoever gave a port of its own means it for all of them.
        let address = match (port, port_of(&member.address)) {
            (Some(port), None) if member.address.contains(':') => format!("[{}]:{port}", member.address),
            (Some(port), None) => format!("{}:{port}", member.address),
            _ => member.address.clone(),
        };
        if address != client.address {
            endpoints.push(Endpoint { address, tls });
        }
    }
    endpoints
}

/// The port that an address names.
fn port_of(address: &str) -> Option<u16> {
    let port = |default| xapi::Address::parse(address, default).ok().map(|address| address.port);
    port(1).filter(|found| port(2) == Some(*found))
}

fn tls(client: &ClientAccess, transport: Option<Transport>) -> Result<Tls, Stop> {
    match (transport.unwrap_or(client.transport), &client.certificate_sha256) {
        (Transport::Http, _) => Ok(Tls::Plain),
        (Transport::Https, None) => Ok(Tls::FirstContact),
        (Transport::Https, Some(pin)) => pin.parse::<Fingerprint>().map(Tls::Pinned).map_err(|bad| {
            Problem::new(
                "client.bad_fingerprint",
                format!("the pinned certificate of {} is unreadable: {bad}", client.name),
            )
            .about(&client.name)
            .into()
        }),
    }
}
