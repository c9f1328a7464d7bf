//! Calls about schedules.

use reqwest::Method;

use super::{ApiClient, Error};
use crate::{BlackoutRequest, NewSchedule, PlannedStart, Schedule, ScheduleSettings, ScheduleStart};

impl ApiClient {
    /// `GET /schedules`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn schedules(&self) -> Result<Vec<Schedule>, Error> {
        self.get(&["schedules"]).await
    }

    /// `POST /schedules`: makes a schedule.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn create_schedule(&self, new: &NewSchedule) -> Result<Schedule, Error> {
        self.post(&["schedules"], new).await
    }

    /// `GET /schedules/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn schedule(&self, name_or_id: &str) -> Result<Schedule, Error> {
        self.get(&["schedules", name_or_id]).await
    }

    /// `PUT /schedules/{name-or-id}`: gives a schedule other settings.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_schedule(&self, name_or_id: &str, settings: &ScheduleSettings) -> Result<Schedule, Error> {
        self.answer(self.request(Method::PUT, &["schedules", name_or_id]).json(settings)).await
    }

    /// `DELETE /schedules/{name-or-id}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_schedule(&self, name_or_id: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["schedules", name_or_id])).await.map(drop)
    }

    /// `GET /schedules/{name-or-id}/starts`: what became of its last starts.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn schedule_starts(&self, name_or_id: &str) -> Result<Vec<ScheduleStart>, Error> {
        self.get(&["schedules", name_or_id, "starts"]).await
    }

    /// `POST /schedules/{name-or-id}/blackouts`: adds days on which it starts nothing.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn add_blackouts(&self, name_or_id: &str, request: &BlackoutRequest) -> Result<Schedule, Error> {
        self.post(&["schedules", name_or_id, "blackouts"], request).await
    }

    /// `GET /planned-starts`: the starts of the next days, of one schedule or of all.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn planned_starts(&self, schedule: Option<&str>, days: u32) -> Result<Vec<PlannedStart>, Error> {
        let mut url = self.path(&["planned-starts"]);
        url.query_pairs_mut().append_pair("days", &days.to_string());
        if let Some(schedule) = schedule {
            url.query_pairs_mut().append_pair("schedule", schedule);
        }
        self.answer(self.http.get(url)).await
    }
}
