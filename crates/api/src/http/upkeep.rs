//! Calls about retention and the upkeep of datastores.

use reqwest::Method;

use super::{ApiClient, Error};
use crate::{
    CopyRequest, ForgetRequest, Job, Point, ProtectRequest, PruneRequest, RetentionPlan, RetentionRequest,
    RetentionStarted, VerifyRequest,
};

impl ApiClient {
    /// `POST /points/forget`: queues the removal of restore points, a job for each datastore.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn forget_points(&self, request: &ForgetRequest) -> Result<Vec<Job>, Error> {
        self.post(&["points", "forget"], request).await
    }

    /// `POST /retention/preview`: what a policy would keep and remove.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn preview_retention(&self, request: &RetentionRequest) -> Result<RetentionPlan, Error> {
        self.post(&["retention", "preview"], request).await
    }

    /// `POST /retention`: queues the removal of what a policy does not keep.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn apply_retention(&self, request: &RetentionRequest) -> Result<RetentionStarted, Error> {
        self.post(&["retention"], request).await
    }

    /// `PUT /points/{id-or-prefix}/protection`: protects a point from being removed.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn protect_point(&self, id_or_prefix: &str, request: &ProtectRequest) -> Result<Point, Error> {
        self.answer(self.request(Method::PUT, &["points", id_or_prefix, "protection"]).json(request)).await
    }

    /// `DELETE /points/{id-or-prefix}/protection`: lifts that.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn unprotect_point(&self, id_or_prefix: &str) -> Result<Point, Error> {
        self.answer(self.request(Method::DELETE, &["points", id_or_prefix, "protection"])).await
    }

    /// `POST /datastores/{name-or-id}/prune`: queues a prune.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn prune_datastore(&self, name_or_id: &str, request: &PruneRequest) -> Result<Job, Error> {
        self.post(&["datastores", name_or_id, "prune"], request).await
    }

    /// `POST /datastores/{name-or-id}/verify`: queues a verification.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn verify_datastore(&self, name_or_id: &str, request: &VerifyRequest) -> Result<Job, Error> {
        self.post(&["datastores", name_or_id, "verify"], request).await
    }

    /// `POST /datastores/{name-or-id}/copy`: queues a copy of points to another datastore.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn copy_points(&self, name_or_id: &str, request: &CopyRequest) -> Result<Job, Error> {
        self.post(&["datastores", name_or_id, "copy"], request).await
    }
}
