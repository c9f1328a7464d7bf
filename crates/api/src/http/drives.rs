//! Calls about drives, and about how much runs at once.

use reqwest::Method;

use super::{ApiClient, Error};
use crate::{Client, ClientLimits, DriveChange, DriveState, NewDrive};

impl ApiClient {
    /// `GET /drives`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn drives(&self) -> Result<Vec<DriveState>, Error> {
        self.get(&["drives"]).await
    }

    /// `GET /drives/{number}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn drive(&self, number: u32) -> Result<DriveState, Error> {
        self.get(&["drives", &number.to_string()]).await
    }

    /// `POST /drives`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn create_drive(&self, new: &NewDrive) -> Result<DriveState, Error> {
        self.post(&["drives"], new).await
    }

    /// `PATCH /drives/{number}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_drive(&self, number: u32, change: &DriveChange) -> Result<DriveState, Error> {
        self.answer(self.request(Method::PATCH, &["drives", &number.to_string()]).json(change)).await
    }

    /// `DELETE /drives/{number}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_drive(&self, number: u32) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["drives", &number.to_string()])).await.map(drop)
    }

    /// `PUT /clients/{name-or-id}/limits`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_client_limits(&self, name_or_id: &str, limits: &ClientLimits) -> Result<Client, Error> {
        self.answer(self.request(Method::PUT, &["clients", name_or_id, "limits"]).json(limits)).await
    }
}
