//! A login to a client's pool, for the time of one job.

use std::time::Duration;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use xapi::{Endpoint, Fingerprint, Options, Timeouts, Tls};
use xenkeep_api::{ClientAccess, Problem, Transport};

use crate::{
    context::{JobContext, Stop},
    problem,
};

/// How long a task that was cancelled is waited for; a job must end within 10 s of being cancelled.
const CANCEL_PATIENCE: Duration = Duration::from_secs(7);

/// A session with a client's pool.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) pool: xapi::Pool,
    pub(crate) client: ClientAccess,
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
        let password = SecretString::from(client.password.expose());
        let timeouts = Timeouts { cancel: CANCEL_PATIENCE, ..Timeouts::default() };
        let options = Options { timeouts, ..Options::default() };
        let login = xapi::Pool::login_with(endpoint, &client.user, &password, options);
        let pool = cx.or_cancelled(async { login.await.map_err(|error| problem::pool(client, &error)) }).await?;
        tracing::debug!(job = %cx.job, client = client.name, address = pool.address(), "logged in");
        Ok(Self { pool, client: client.clone(), cancel: cx.cancel.clone() })
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
