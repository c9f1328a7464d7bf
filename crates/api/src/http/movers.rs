//! Calls about movers, and the calls that a mover makes: those below `/mover`, with its own token.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use reqwest::{Body, Method, StatusCode};
use uuid::Uuid;

use super::{ANSWER_TIMEOUT, ApiClient, Error, add_query};
use crate::{
    AddedMover, Client, Datastore, Directive, Fence, Finish, JobId, JobReport, JournalEntry, JournalWrite, LeasedJob,
    LogLine, Mover, MoverChoice, MoverHello, MoverWelcome, NewMover, Occupation, Occupied, Places, Problem, Progress,
    Renewal, Renewed,
};

impl ApiClient {
    /// `POST /movers`: adds a mover; its token is told this once.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn add_mover(&self, new: &NewMover) -> Result<AddedMover, Error> {
        self.post(&["movers"], new).await
    }

    /// `GET /movers`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn movers(&self) -> Result<Vec<Mover>, Error> {
        self.get(&["movers"]).await
    }

    /// `DELETE /movers/{name}`: its token opens nothing from now on.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_mover(&self, name: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["movers", name])).await.map(drop)
    }

    /// `PUT /clients/{name-or-id}/movers`: which mover does the jobs of a client.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_client_mover(&self, name_or_id: &str, choice: &MoverChoice) -> Result<Client, Error> {
        self.answer(self.request(Method::PUT, &["clients", name_or_id, "movers"]).json(choice)).await
    }

    /// `PUT /datastores/{name-or-id}/movers`: which movers reach a datastore.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_datastore_movers(&self, name_or_id: &str, choice: &MoverChoice) -> Result<Datastore, Error> {
        self.answer(self.request(Method::PUT, &["datastores", name_or_id, "movers"]).json(choice)).await
    }

    /// `POST /mover/hello`: says who we are, hears who the server is.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_hello(&self, hello: &MoverHello) -> Result<MoverWelcome, Error> {
        self.post(&["mover", "hello"], hello).await
    }

    /// `POST /mover/lease`: waits for a job, no longer than the server has said; none if there was none.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_lease(&self, hello: &MoverHello, wait: Duration) -> Result<Option<LeasedJob>, Error> {
        let request = self.request(Method::POST, &["mover", "lease"]).json(hello).timeout(wait + ANSWER_TIMEOUT / 3);
        let response = self.send(request).await?;
        if response.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let body = self.body(response).await?;
        serde_json::from_slice(&body).map(Some).map_err(|source| Error::Answer { source })
    }

    /// `POST /mover/jobs/{job}/renew`: keeps a lease.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_renew(
        &self,
        job: JobId,
        fence: i64,
        progress: &Progress,
        log: Vec<LogLine>,
    ) -> Result<Directive, Error> {
        let renewal = Renewal { fence, progress: progress.clone(), log };
        let renewed: Renewed = self.post(&["mover", "jobs", &job.to_string(), "renew"], &renewal).await?;
        Ok(renewed.directive)
    }

    /// `POST /mover/jobs/{job}/occupy`: what the job must wait for before it works there, if it must.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_occupy(&self, job: JobId, fence: i64, places: &Places) -> Result<Option<Problem>, Error> {
        let body = Occupation { fence, places: places.clone() };
        let occupied: Occupied = self.post(&["mover", "jobs", &job.to_string(), "occupy"], &body).await?;
        Ok(occupied.wait)
    }

    /// `PUT /mover/jobs/{job}/journal/{entry}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_journal_write(&self, job: JobId, fence: i64, entry: &JournalEntry) -> Result<(), Error> {
        let path = ["mover", "jobs", &job.to_string(), "journal", &entry.id.to_string()];
        let body = JournalWrite { fence, what: entry.what.clone() };
        self.send(self.request(Method::PUT, &path).json(&body)).await.map(drop)
    }

    /// `DELETE /mover/jobs/{job}/journal/{entry}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_journal_clear(&self, job: JobId, fence: i64, entry: Uuid) -> Result<(), Error> {
        let mut url = self.path(&["mover", "jobs", &job.to_string(), "journal", &entry.to_string()]);
        add_query(&mut url, &Fence { fence })?;
        self.send(self.http.delete(url).timeout(ANSWER_TIMEOUT)).await.map(drop)
    }

    /// `POST /mover/jobs/{job}/finish`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_finish(&self, job: JobId, fence: i64, report: &JobReport) -> Result<(), Error> {
        let body = Finish { fence, report: report.clone() };
        self.send(self.request(Method::POST, &["mover", "jobs", &job.to_string(), "finish"]).json(&body))
            .await
            .map(drop)
    }

    /// `POST /mover/jobs/{job}/reader`: waits, not for ever, until somebody reads the stream of an export.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_await_reader(&self, job: JobId, fence: i64) -> Result<(), Error> {
        let path = ["mover", "jobs", &job.to_string(), "reader"];
        self.send(self.request(Method::POST, &path).json(&Fence { fence })).await.map(drop)
    }

    /// `PUT /mover/jobs/{job}/content`: the stream of an export. Returns when all of it has been handed on.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mover_content(
        &self,
        job: JobId,
        fence: i64,
        stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), Error> {
        // No limit: a person may read as slowly as he likes.
        let mut url = self.path(&["mover", "jobs", &job.to_string(), "content"]);
        add_query(&mut url, &Fence { fence })?;
        let request = self.http.put(url).header("content-type", "application/octet-stream");
        self.send(request.body(Body::wrap_stream(stream))).await.map(drop)
    }
}
