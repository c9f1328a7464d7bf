//! Client of the REST API: one method a call, the types of this crate in and out.
//!
//! It neither retries nor prints: whoever uses it decides. [`ApiClient::job_events`] follows a job live; when that
//! stream breaks, [`ApiClient::job`] asks for the present state.
//!
//! It uses the `rustls` crypto provider that the process has installed; if there is none yet, it installs aws-lc-rs.

mod drives;
mod error;
mod events;
mod movers;
mod reports;
mod schedules;
mod sources;
mod stores;
mod tasks;
mod tls;
mod upkeep;

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use error::Error;

use crate::{
    BackupRequest, Client, ClientChange, ClientCheck, Datastore, ExportRequest, Job, JobKind, JobState, LogLine,
    NewClient, NewDatastore, Node, Point, PointFilter, PoolVm, Problem, RecoverySheet, RestorePlan, RestoreRequest,
    Secret,
};

/// Longest wait for an answer that is not a stream: `POST /clients` waits a minute for the pool.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read into memory.
const ANSWER_MAX_BYTES: usize = 64 << 20;

/// Which certificate the server must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// One that the system's authorities have signed for the server's name. Also for plain `http` addresses.
    System,
    /// The one with this SHA-256 (hex, colons allowed), whoever signed it and for whatever name.
    Pinned(String),
    /// One that an authority in this text (PEM certificates) has signed for the server's name, and nobody else.
    Authority(String),
}

/// Which jobs to list; what is absent does not restrict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFilter {
    /// State of the jobs.
    pub state: Option<JobState>,
    /// Kind of the jobs.
    pub kind: Option<JobKind>,
    /// At most so many, newest first.
    pub limit: Option<u32>,
}

/// A server's REST API.
#[derive(Clone)]
pub struct ApiClient {
    base: Url,
    token: Secret,
    http: reqwest::Client,
}

impl std::fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiClient").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl ApiClient {
    /// A client of the server at `url` (`http://host:port` or `https://host:port`). Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`] when the url is none, [`Error::Pin`] when the pin is none.
    pub fn new(url: &str, token: Secret, trust: &Trust) -> Result<Self, Error> {
        let base = Url::parse(url).ok().filter(|base| matches!(base.scheme(), "http" | "https") && base.has_host());
        let base = base.ok_or_else(|| Error::Address { url: url.to_owned() })?;
        tls::provider(); // reqwest panics when there is none
        // No redirect: the token must not travel to another place than the one that was named. No proxy: the
        // server is a neighbour, and the address may be loopback.
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let (Trust::Pinned(pin), "https") = (trust, base.scheme()) {
            builder = builder.tls_backend_preconfigured(tls::pinned(pin)?);
        }
        if let (Trust::Authority(pem), "https") = (trust, base.scheme()) {
            builder = builder.tls_backend_preconfigured(tls::signed_by(pem)?);
        }
        let http = builder.build().map_err(|source| Error::Unreachable { url: url.to_owned(), source })?;
        Ok(Self { base, token, http })
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// `GET /health`: whether a xenkeep server answers at all. Needs no token.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn health(&self) -> Result<(), Error> {
        self.send(self.request(Method::GET, &["health"])).await.map(drop)
    }

    /// `POST /clients`: adds a pool; answers after its certificate was pinned and the login has worked.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn add_client(&self, new: &NewClient) -> Result<Client, Error> {
        self.post(&["clients"], new).await
    }

    /// `GET /clients`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn clients(&self) -> Result<Vec<Client>, Error> {
        self.get(&["clients"]).await
    }

    /// `GET /clients/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn client(&self, name_or_id: &str) -> Result<Client, Error> {
        self.get(&["clients", name_or_id]).await
    }

    /// `DELETE /clients/{name-or-id}`: forgets a pool. Its points stay.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_client(&self, name_or_id: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["clients", name_or_id])).await.map(drop)
    }

    /// `PATCH /clients/{name-or-id}`: changes a client, if a login with the change works.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_client(&self, name_or_id: &str, change: &ClientChange) -> Result<Client, Error> {
        self.answer(self.request(Method::PATCH, &["clients", name_or_id]).json(change)).await
    }

    /// `GET /clients/{name-or-id}/browse?path=`: the pool as a tree, from a node on.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn browse(&self, client: &str, path: &str) -> Result<Node, Error> {
        let mut url = self.path(&["clients", client, "browse"]);
        url.query_pairs_mut().append_pair("path", path);
        self.answer(self.http.get(url).timeout(ANSWER_TIMEOUT)).await
    }

    /// `POST /clients/{name-or-id}/check`: looks at the pool, and answers with what was found.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn check_client(&self, name_or_id: &str) -> Result<ClientCheck, Error> {
        self.answer(self.request(Method::POST, &["clients", name_or_id, "check"])).await
    }

    /// `GET /clients/{name-or-id}/vms`: the VMs that are on the pool now.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn vms(&self, client: &str) -> Result<Vec<PoolVm>, Error> {
        self.get(&["clients", client, "vms"]).await
    }

    /// `POST /datastores`: creates a repository; answers when it is there.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn create_datastore(&self, new: &NewDatastore) -> Result<Datastore, Error> {
        self.post(&["datastores"], new).await
    }

    /// `GET /datastores`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn datastores(&self) -> Result<Vec<Datastore>, Error> {
        self.get(&["datastores"]).await
    }

    /// `GET /datastores/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn datastore(&self, name_or_id: &str) -> Result<Datastore, Error> {
        self.get(&["datastores", name_or_id]).await
    }

    /// `GET /datastores/{name-or-id}/recovery-sheet`: the repository's password, for the safe.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn recovery_sheet(&self, name_or_id: &str) -> Result<RecoverySheet, Error> {
        self.get(&["datastores", name_or_id, "recovery-sheet"]).await
    }

    /// `POST /backups`: queues a backup.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn back_up(&self, request: &BackupRequest) -> Result<Job, Error> {
        self.post(&["backups"], request).await
    }

    /// `POST /restores`: queues a restore.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn restore(&self, request: &RestoreRequest) -> Result<Job, Error> {
        self.post(&["restores"], request).await
    }

    /// `POST /restores/plan`: what a restore would do.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn plan_restore(&self, request: &RestoreRequest) -> Result<RestorePlan, Error> {
        self.post(&["restores", "plan"], request).await
    }

    /// `POST /exports`: queues an export; [`ApiClient::job_content`] reads it.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn export(&self, request: &ExportRequest) -> Result<Job, Error> {
        self.post(&["exports"], request).await
    }

    /// `GET /jobs`: newest first.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn jobs(&self, filter: &JobFilter) -> Result<Vec<Job>, Error> {
        let mut url = self.path(&["jobs"]);
        add_query(&mut url, filter)?;
        self.answer(self.http.get(url)).await
    }

    /// `GET /jobs/{id-or-prefix}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn job(&self, id_or_prefix: &str) -> Result<Job, Error> {
        self.get(&["jobs", id_or_prefix]).await
    }

    /// `POST /jobs/{id-or-prefix}/cancel`: asks a job to stop and clean up; it has not done so yet when this returns.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn cancel_job(&self, id_or_prefix: &str) -> Result<Job, Error> {
        self.answer(self.request(Method::POST, &["jobs", id_or_prefix, "cancel"])).await
    }

    /// `GET /jobs/{id-or-prefix}/log`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn job_log(&self, id_or_prefix: &str) -> Result<Vec<LogLine>, Error> {
        self.get(&["jobs", id_or_prefix, "log"]).await
    }

    /// `GET /jobs/{id-or-prefix}/events`: the job as it is now, then whenever it changes. Ends after its final state;
    /// a stream that ends before has been cut.
    ///
    /// # Errors
    /// As all calls: [`Error`]; so does the stream, and ends with it.
    pub async fn job_events(&self, id_or_prefix: &str) -> Result<BoxStream<'static, Result<Job, Error>>, Error> {
        let request = self.http.get(self.path(&["jobs", id_or_prefix, "events"])).header("accept", "text/event-stream");
        let response = self.send(request).await?;
        Ok(events::jobs(self.bytes(response)).boxed())
    }

    /// `GET /jobs/{id-or-prefix}/content`: the bytes of an export, which begins when this is called. Whether they are
    /// complete is said by the job's result alone.
    ///
    /// # Errors
    /// As all calls: [`Error`]; so does the stream, and ends with it.
    pub async fn job_content(&self, id_or_prefix: &str) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let response = self.send(self.http.get(self.path(&["jobs", id_or_prefix, "content"]))).await?;
        Ok(self.bytes(response))
    }

    /// `GET /points`: newest first.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn points(&self, filter: &PointFilter) -> Result<Vec<Point>, Error> {
        let mut url = self.path(&["points"]);
        add_query(&mut url, filter)?;
        self.answer(self.http.get(url)).await
    }

    /// `GET /points/{id-or-prefix}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn point(&self, id_or_prefix: &str) -> Result<Point, Error> {
        self.get(&["points", id_or_prefix]).await
    }

    fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        // A name may hold anything: each segment is percent-encoded. `http` and `https` urls always have segments.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1"]).extend(segments);
        }
        url
    }

    fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.http.request(method, self.path(segments)).timeout(ANSWER_TIMEOUT)
    }

    async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, Error> {
        self.answer(self.request(Method::GET, segments)).await
    }

    async fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl Serialize) -> Result<T, Error> {
        self.answer(self.request(Method::POST, segments).json(body)).await
    }

    async fn answer<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = self.send(request).await?;
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map_err(|source| Error::Answer { source })
    }

    /// The response, if it is a good one.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let request = request.bearer_auth(self.token.expose());
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Error::Problem { status: status.as_u16(), problem },
            Err(_) => Error::Stranger { url: self.url().to_owned(), status: status.as_u16() },
        })
    }

    fn unreachable(&self, source: reqwest::Error) -> Error {
        Error::Unreachable { url: self.url().to_owned(), source: source.without_url() }
    }

    fn bytes(&self, response: Response) -> BoxStream<'static, Result<Bytes, Error>> {
        response.bytes_stream().map_err(|source| Error::Cut { source }).boxed()
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, Error> {
        let mut bytes = self.bytes(response);
        let mut body = Vec::new();
        while let Some(piece) = bytes.try_next().await? {
            if body.len() + piece.len() > ANSWER_MAX_BYTES {
                return Err(Error::TooLong { max_bytes: ANSWER_MAX_BYTES });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Adds the set fields of a flat struct as query parameters.
fn add_query(url: &mut Url, filter: &impl Serialize) -> Result<(), Error> {
    let value = serde_json::to_value(filter).map_err(|source| Error::Answer { source })?;
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => drop(url.query_pairs_mut().append_pair(name, text)),
            other => drop(url.query_pairs_mut().append_pair(name, &other.to_string())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
