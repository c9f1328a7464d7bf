//! Calls to one host: HTTP/1.1 with connections that are kept and used again. Calls that block (`event.from`) don't hold
//! up others, since each call in flight has a connection of its own.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::connect::Connector;
use crate::rpc::{self, REPLY_BYTES_MAX};
use crate::session::{Session, mask_params};
use crate::{Error, Json, Result};

/// Rate limits of xapi 26 count per user agent and address: always the same.
pub(crate) const AGENT: &str = "xenkeep";
const PATH: &str = "/jsonrpc";
/// A connection that was idle for longer is not used again: the host may be about to close it.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// Asks a member, and gets from it, the thumbprint of the master's certificate (xapi: `Constants`).
const THUMBPRINT_ASK: HeaderName = HeaderName::from_static("x-xenapi-request-host-certificate-thumbprint");
pub(crate) const THUMBPRINT_ANSWER: HeaderName =
    HeaderName::from_static("x-xenapi-response-host-certificate-thumbprint");

/// Calls to one host.
#[derive(Debug)]
pub(crate) struct Channel {
    connector: Arc<dyn Connector>,
    idle: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: AbortHandle,
    since: Instant,
    used: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A call that failed, and the headers of the answer.
pub(crate) struct Refusal {
    pub(crate) error: Error,
    pub(crate) headers: HeaderMap,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, headers: HeaderMap::new() }
    }
}

impl Channel {
    pub(crate) fn new(connector: Arc<dyn Connector>) -> Self {
        Self { connector, idle: Mutex::new(Vec::new()) }
    }

    pub(crate) fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    fn address(&self) -> String {
        self.connector.address().to_string()
    }

    /// Makes a call. `session` is only masked here; who calls has put it among `params`.
    pub(crate) async fn call(
        &self,
        method: &str,
        params: &[Json],
        session: Option<&Session>,
        patience: Duration,
    ) -> Result<Json, Refusal> {
        let body = Bytes::from(rpc::encode(method, params)?);
        let exchange = self.exchange(body, rpc::is_repeatable(method));
        let (status, headers, body) = match timeout(patience, exchange).await {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(
                    Error::Silent { address: self.address(), what: "the answer to a call", after: patience }.into()
                );
            }
        };
        if status != StatusCode::OK {
            let reason = status.canonical_reason().unwrap_or_default().to_owned();
            return Err(Error::Http { status: status.as_u16(), reason, path: PATH.to_owned() }.into());
        }
        match rpc::decode(&body) {
            Ok(result) => Ok(result),
            Err(Ok((code, params))) => {
                let params = mask_params(&code, params, session);
                Err(Refusal { error: Error::Api { code, params }, headers })
            }
            Err(Err(what)) => {
                Err(Error::Protocol { address: self.address(), what: format!("{method}: {what}") }.into())
            }
        }
    }

    /// Sends `body` and reads the answer. A kept connection that proves dead is replaced by a fresh one, unless the host
    /// may have heard a call that must not be heard twice.
    async fn exchange(&self, body: Bytes, repeatable: bool) -> Result<(StatusCode, HeaderMap, Bytes)> {
        loop {
            let mut connection = match self.take_idle() {
                Some(connection) => connection,
                None => self.open().await?,
            };
            let used = connection.used;
            match connection.sender.send_request(self.request(body.clone())?).await {
                Ok(response) => {
                    let answer = self.read(response).await?;
                    self.keep(connection);
                    return Ok(answer);
                }
                Err(error) if used && (repeatable || error.is_canceled()) => continue,
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.sender.is_closed() && connection.since.elapsed() < IDLE_MAX);
        let place = idle.iter().rposition(|connection| connection.sender.is_ready())?;
        Some(idle.swap_remove(place))
    }

    fn keep(&self, mut connection: Connection) {
        connection.since = Instant::now();
        connection.used = true;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    async fn open(&self) -> Result<Connection> {
        let io = TokioIo::new(self.connector.connect().await?);
        let (sender, driver) = http1::handshake(io).await.map_err(|error| self.lost(error))?;
        // it ends when its `Connection` is dropped, or when the host hangs up
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::trace!(%error, "connection ended");
            }
        });
        Ok(Connection { sender, driver: driver.abort_handle(), since: Instant::now(), used: false })
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>> {
        let address = self.connector.address();
        let host = HeaderValue::from_str(&address.to_string())
            .map_err(|_| Error::BadAddress { address: address.to_string(), reason: "it can't stand in a header" })?;
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(PATH);
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        if self.connector.is_tls() {
            headers.insert(THUMBPRINT_ASK, HeaderValue::from_static("sha-256:master"));
        }
        Ok(request)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<(StatusCode, HeaderMap, Bytes)> {
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| self.lost(error))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > REPLY_BYTES_MAX {
                let what = format!("an answer of more than {REPLY_BYTES_MAX} bytes");
                return Err(Error::Protocol { address: self.address(), what });
            }
            bytes.extend_from_slice(&data);
        }
        Ok((head.status, head.headers, bytes.freeze()))
    }

    fn lost(&self, error: hyper::Error) -> Error {
        let address = self.address();
        if error.is_incomplete_message() {
            Error::ClosedEarly { address, what: "the answer to a call" }
        } else if error.is_parse() {
            Error::Protocol { address, what: format!("no HTTP: {error}") }
        } else {
            Error::Lost { address, source: io::Error::other(error) }
        }
    }
}
