//! Calls about repositories that are there already, and about their passwords.

use reqwest::Method;

use super::{ApiClient, Error};
use crate::{AttachRequest, Attached, DatastoreKey, Job, NewKey};

impl ApiClient {
    /// `POST /attachments`: makes a repository that is there already known as a datastore.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn attach_datastore(&self, request: &AttachRequest) -> Result<Attached, Error> {
        self.post(&["attachments"], request).await
    }

    /// `POST /datastores/{name-or-id}/rescan`: queues a comparison of catalogue and repository.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn rescan_datastore(&self, name_or_id: &str) -> Result<Job, Error> {
        self.answer(self.request(Method::POST, &["datastores", name_or_id, "rescan"])).await
    }

    /// `GET /datastores/{name-or-id}/keys`: the passwords of a repository.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn datastore_keys(&self, name_or_id: &str) -> Result<Vec<DatastoreKey>, Error> {
        self.get(&["datastores", name_or_id, "keys"]).await
    }

    /// `POST /datastores/{name-or-id}/keys`: adds a password; tells all that there are then.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn add_datastore_key(&self, name_or_id: &str, new: &NewKey) -> Result<Vec<DatastoreKey>, Error> {
        self.post(&["datastores", name_or_id, "keys"], new).await
    }

    /// `DELETE /datastores/{name-or-id}/keys/{id-or-prefix}`: removes a password.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_datastore_key(&self, name_or_id: &str, key: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["datastores", name_or_id, "keys", key])).await.map(drop)
    }
}
