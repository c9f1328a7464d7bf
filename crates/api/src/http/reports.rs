//! Calls about reports.

use reqwest::Method;

use super::{ApiClient, Error};
use crate::{DailySummary, MailRequest, MailSettings, NewWebhook, Report, ReportDelivery, Webhook};

impl ApiClient {
    /// `GET /reports`: the last reports and what became of them.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn reports(&self) -> Result<Vec<ReportDelivery>, Error> {
        self.get(&["reports"]).await
    }

    /// `GET /reports/mail`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn mail(&self) -> Result<MailSettings, Error> {
        self.get(&["reports", "mail"]).await
    }

    /// `PUT /reports/mail`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_mail(&self, request: &MailRequest) -> Result<MailSettings, Error> {
        self.answer(self.request(Method::PUT, &["reports", "mail"]).json(request)).await
    }

    /// `DELETE /reports/mail`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_mail(&self) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["reports", "mail"])).await.map(drop)
    }

    /// `POST /reports/mail/test`: sends a mail; answers when it was taken.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn test_mail(&self) -> Result<(), Error> {
        self.send(self.request(Method::POST, &["reports", "mail", "test"])).await.map(drop)
    }

    /// `GET /reports/webhooks`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        self.get(&["reports", "webhooks"]).await
    }

    /// `POST /reports/webhooks`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn add_webhook(&self, new: &NewWebhook) -> Result<Webhook, Error> {
        self.post(&["reports", "webhooks"], new).await
    }

    /// `DELETE /reports/webhooks/{name}`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_webhook(&self, name: &str) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["reports", "webhooks", name])).await.map(drop)
    }

    /// `POST /reports/webhooks/{name}/test`: sends a report; answers when it was taken.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn test_webhook(&self, name: &str) -> Result<(), Error> {
        self.send(self.request(Method::POST, &["reports", "webhooks", name, "test"])).await.map(drop)
    }

    /// `GET /reports/summary`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn daily_summary(&self) -> Result<DailySummary, Error> {
        self.get(&["reports", "summary"]).await
    }

    /// `PUT /reports/summary`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn set_daily_summary(&self, summary: &DailySummary) -> Result<DailySummary, Error> {
        self.answer(self.request(Method::PUT, &["reports", "summary"]).json(summary)).await
    }

    /// `DELETE /reports/summary`.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn remove_daily_summary(&self) -> Result<(), Error> {
        self.send(self.request(Method::DELETE, &["reports", "summary"])).await.map(drop)
    }

    /// `POST /reports/summary/send`: writes a summary now.
    ///
    /// # Errors
    /// As all calls: [`Error`].
    pub async fn send_summary(&self) -> Result<Report, Error> {
        self.answer(self.request(Method::POST, &["reports", "summary", "send"])).await
    }
}
