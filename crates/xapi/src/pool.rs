//! A pool that we are logged in to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::connect::Connector;
use crate::login::{Account, Link};
use crate::members::Members;
use crate::retry::Backoff;
use crate::{Endpoint, Error, Fingerprint, Json, Options, Result, Task, TaskRef, json, rpc};

/// `TOO_MANY_PENDING_TASKS`: nothing was begun, the pool asks for patience.
const CROWDED: Backoff = Backoff { tries: 12, first: Duration::from_secs(1), longest: Duration::from_secs(5) };

/// A session with a pool, at its master. Clones share it. Log out when done: sessions are limited, and live for a day.
#[derive(Clone)]
pub struct Pool(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    account: Account,
    link: RwLock<Arc<Link>>,
    relogin: tokio::sync::Mutex<()>,
    pub(crate) members: Members,
    closed: AtomicBool,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("address", &self.address()).finish_non_exhaustive()
    }
}

impl Pool {
    /// Logs in. A member sends us on to the master.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Tls`], [`Error::CertificateChanged`], [`Error::CertificateUnknown`],
    /// [`Error::WrongPassword`] (after the 5 s that the pool takes for it), and what XAPI says.
    pub async fn login(endpoint: Endpoint, user: &str, password: &SecretString) -> Result<Self> {
        Self::login_with(endpoint, user, password, Options::default()).await
    }

    /// Logs in, with other options than the usual.
    ///
    /// # Errors
    /// As [`Pool::login`].
    pub async fn login_with(endpoint: Endpoint, user: &str, password: &SecretString, options: Options) -> Result<Self> {
        let account = Account::new(endpoint, user, password, options)?;
        let link = account.log_in(Arc::clone(&account.home)).await?;
        Ok(Self(Arc::new(Inner {
            account,
            link: RwLock::new(Arc::new(link)),
            relogin: tokio::sync::Mutex::new(()),
            members: Members::default(),
            closed: AtomicBool::new(false),
        })))
    }

    /// Certificate of the host at the endpoint's address: what is to be pinned for it. None in the clear.
    #[must_use]
    pub fn certificate(&self) -> Option<Fingerprint> {
        self.0.account.home.certificate()
    }

    /// Certificate of the master, another one than [`Pool::certificate`] if the endpoint is a member. None in the clear.
    #[must_use]
    pub fn master_certificate(&self) -> Option<Fingerprint> {
        self.link().connector().certificate()
    }

    /// `host:port` of the master.
    #[must_use]
    pub fn address(&self) -> String {
        self.link().connector().address().to_string()
    }

    /// Makes a call; the session is put in front of `params`.
    ///
    /// A lost session is renewed once. Calls that may be made twice are repeated once when the connection broke; any call is, with
    /// pauses, when the pool has too many tasks.
    ///
    /// # Errors
    /// What XAPI says, and what can happen to a connection.
    pub async fn call<T: DeserializeOwned>(&self, method: &str, params: Vec<Json>) -> Result<T> {
        self.call_within(method, params, self.options().timeouts.call).await
    }

    /// Makes a call whose result does not matter.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn run(&self, method: &str, params: Vec<Json>) -> Result<()> {
        self.call::<Json>(method, params).await.map(drop)
    }

    /// Starts `Async.method`, and returns its task.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn start(&self, method: &str, params: Vec<Json>) -> Result<TaskRef> {
        self.call(&format!("Async.{method}"), params).await
    }

    /// A task, to wait for.
    #[must_use]
    pub fn task(&self, task: TaskRef) -> Task {
        Task::new(self.clone(), task)
    }

    /// Ends the session. No call renews it any more. Errors are not worth a word: an unused session ends by itself.
    pub async fn logout(&self) {
        self.0.closed.store(true, Ordering::Release);
        let link = self.link();
        let session = json(link.session().expose());
        if let Err(refusal) = link.channel.call("session.logout", &[session], Some(link.session()), LOGOUT).await {
            tracing::debug!(error = %refusal.error, "logout");
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.account.options
    }

    pub(crate) fn account(&self) -> &Account {
        &self.0.account
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        Arc::clone(&self.0.link.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn call_within<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Vec<Json>,
        patience: Duration,
    ) -> Result<T> {
        let begin = Instant::now();
        let outcome = self.call_patiently(method, params, patience).await;
        let took = begin.elapsed();
        match outcome {
            Ok(value) => {
                tracing::trace!(method, ?took, "call");
                serde_json::from_value(value)
                    .map_err(|error| Error::Protocol { address: self.address(), what: format!("{method}: {error}") })
            }
            Err(error) => {
                tracing::debug!(method, ?took, %error, "call failed");
                Err(error)
            }
        }
    }

    async fn call_patiently(&self, method: &str, params: Vec<Json>, patience: Duration) -> Result<Json> {
        let mut params: Vec<Json> = std::iter::once(Json::Null).chain(params).collect();
        let (mut renewed, mut repeated, mut crowded) = (false, false, 0);
        loop {
            let link = self.link();
            params[0] = json(link.session().expose());
            let error = match link.channel.call(method, &params, Some(link.session()), patience).await {
                Ok(value) => return Ok(value),
                Err(refusal) => refusal.error,
            };
            // both are said before anything is done, so that any call may be repeated (the Python SDK does so too)
            if !renewed && (error.is_session_invalid() || error.is_api("HOST_IS_SLAVE")) {
                renewed = true;
                self.renew(&link, error).await?;
            } else if error.is_api("TOO_MANY_PENDING_TASKS") {
                crowded += 1;
                let Some(pause) = CROWDED.pause(crowded) else { return Err(error) };
                sleep(pause).await;
            } else if !repeated && rpc::is_repeatable(method) && error.is_connection() {
                repeated = true;
            } else {
                return Err(error);
            }
        }
    }

    /// Logs in anew, unless somebody else has done so since `old` was used.
    async fn renew(&self, old: &Arc<Link>, cause: Error) -> Result<()> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(cause);
        }
        let _one_at_a_time = self.0.relogin.lock().await;
        if !Arc::ptr_eq(old, &self.link()) {
            return Ok(());
        }
        tracing::info!(%cause, "logging in again");
        let account = &self.0.account;
        let link = match account.log_in(Arc::clone(old.connector())).await {
            // the master may have changed, and be gone
            Err(error) if error.is_connection() && !Arc::ptr_eq(old.connector(), &account.home) => {
                account.log_in(Arc::clone(&account.home)).await?
            }
            other => other?,
        };
        *self.0.link.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(link);
        Ok(())
    }

    /// The master's connector.
    pub(crate) fn master_connector(&self) -> Arc<dyn Connector> {
        Arc::clone(self.link().connector())
    }
}

/// A pool that is not heard of is not waited for.
const LOGOUT: Duration = Duration::from_secs(10);
