//! Tasks, groups and their starts.

use reqwest::Method;

use super::{ApiClient, Error};
use crate::{
    Group, GroupChange, NewGroup, NewTask, Run, RunId, Selected, SelectionRequest, StartRequest, Started, Task,
    TaskChange,
};

impl ApiClient {
    /// `GET /tasks`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn tasks(&self) -> Result<Vec<Task>, Error> {
        self.get(&["tasks"]).await
    }

    /// `GET /tasks/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn task(&self, name_or_id: &str) -> Result<Task, Error> {
        self.get(&["tasks", name_or_id]).await
    }

    /// `POST /tasks`: answers when its VM or host was found on the pool.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn create_task(&self, new: &NewTask) -> Result<Task, Error> {
        self.post(&["tasks"], new).await
    }

    /// `PATCH /tasks/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_task(&self, name_or_id: &str, change: &TaskChange) -> Result<Task, Error> {
        self.answer(self.request(Method::PATCH, &["tasks", name_or_id]).json(change)).await
    }

    /// `DELETE /tasks/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_task(&self, name_or_id: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["tasks", name_or_id])).await.map(drop)
    }

    /// `POST /tasks/{name-or-id}/start`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn start_task(&self, name_or_id: &str, request: &StartRequest) -> Result<Started, Error> {
        self.post(&["tasks", name_or_id, "start"], request).await
    }

    /// `POST /clients/{name-or-id}/selection`: what a source means at this moment.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn select(&self, client: &str, request: &SelectionRequest) -> Result<Selected, Error> {
        self.post(&["clients", client, "selection"], request).await
    }

    /// `GET /runs/{id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn run(&self, run: RunId) -> Result<Run, Error> {
        self.get(&["runs", &run.to_string()]).await
    }

    /// `GET /groups`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn groups(&self) -> Result<Vec<Group>, Error> {
        self.get(&["groups"]).await
    }

    /// `GET /groups/{name}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn group(&self, name: &str) -> Result<Group, Error> {
        self.get(&["groups", name]).await
    }

    /// `POST /groups`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn create_group(&self, new: &NewGroup) -> Result<Group, Error> {
        self.post(&["groups"], new).await
    }

    /// `PATCH /groups/{name}`: takes tasks in and out.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_group(&self, name: &str, change: &GroupChange) -> Result<Group, Error> {
        self.answer(self.request(Method::PATCH, &["groups", name]).json(change)).await
    }

    /// `DELETE /groups/{name}`: its tasks stay.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_group(&self, name: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["groups", name])).await.map(drop)
    }

    /// `POST /groups/{name}/start`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn start_group(&self, name: &str, request: &StartRequest) -> Result<Started, Error> {
        self.post(&["groups", name, "start"], request).await
    }
}
