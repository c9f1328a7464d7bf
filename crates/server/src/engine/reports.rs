//! Reports: what people are told without asking, and where it goes.
//!
//! A report is written to the outbox with what caused it, in one row for each place that wants it; from there it is
//! delivered until it is taken (`outbox`). So neither a dead server nor a dead mail server loses one. When all jobs of a run
//! have ended there is one report of all of them; a job that was started alone has its own (`endings`).

mod endings;
mod outbox;
mod summary;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use xenkeep_api::{
    JobState, MailRequest, MailSecurity, MailSettings, NewWebhook, Problem, Report, ReportDelivery, ReportKind,
    ReportWhen, Secret, Webhook,
};
use xenkeep_catalog::{DestinationKind, NewReport};

use super::{Engine, names};
use crate::{Error, notify};

const MAIL: &str = "mail";
/// Most receivers of a mail.
const MAX_RECEIVERS: usize = 50;
/// Reports that one answer lists.
const LISTED: u32 = 200;

/// What is sealed of a webhook.
#[derive(Serialize, Deserialize)]
struct SealedHook {
    url: String,
    secret: Option<Secret>,
}

impl Engine {
    /// The last reports and what became of them.
    pub async fn deliveries(&self) -> Result<Vec<ReportDelivery>, Error> {
        Ok(self.0.catalog.deliveries(LISTED).await?)
    }

    /// How reports are sent by mail.
    pub async fn mail_settings(&self) -> Result<MailSettings, Error> {
        Ok(self.mail().await?.0)
    }

    /// Says how reports are sent by mail. The password stays if neither server nor user changes.
    pub async fn set_mail(&self, request: MailRequest) -> Result<MailSettings, Error> {
        let MailRequest { settings, password } = request;
        check_mail(&settings)?;
        let old = self.0.catalog.report_settings::<MailSettings>(MAIL).await?;
        let same = |old: &MailSettings| {
            (&old.host, old.port, old.security, &old.user)
                == (&settings.host, settings.port, settings.security, &settings.user)
        };
        let password = password.or_else(|| old.filter(|(old, _)| same(old)).and_then(|(_, password)| password));
        match (&settings.user, &password) {
            (None, Some(_)) => return Err(bad_mail("a password belongs to a user, and none is named")),
            (Some(_), None) => return Err(bad_mail("the user has no password")),
            (Some(_), Some(_)) if settings.security == MailSecurity::None => {
                return Err(bad_mail("a password is not sent without TLS"));
            }
            _ => {}
        }
        self.0.catalog.set_report_settings(MAIL, &settings, password.as_ref(), self.0.clock.now()).await?;
        Ok(settings)
    }

    /// Sends no mail any more.
    pub async fn remove_mail(&self) -> Result<(), Error> {
        Ok(self.0.catalog.remove_report_settings(MAIL).await?)
    }

    /// Sends a mail now.
    pub async fn test_mail(&self) -> Result<(), Error> {
        let (settings, password) = self.mail().await?;
        let report = of_test(self.0.clock.now());
        let sent = notify::mail::send(&settings, password.as_ref(), &report, uuid::Uuid::new_v4()).await;
        sent.map_err(Error::JobFailed)
    }

    /// All webhooks.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        Ok(self.0.catalog.webhooks().await?)
    }

    /// Adds a webhook.
    pub async fn add_webhook(&self, new: NewWebhook) -> Result<Webhook, Error> {
        names::check_name("webhook", &new.webhook.name)?;
        let shown = notify::webhook::shown(&new.webhook.url).map_err(Error::Invalid)?;
        let sealed = SealedHook { url: new.webhook.url, secret: new.secret };
        let sealed = serde_json::to_string(&sealed).map_err(|error| Error::Invalid(Problem::internal(&error)))?;
        let webhook = Webhook { url: shown, ..new.webhook };
        self.0.catalog.insert_webhook(&webhook, Some(&Secret::new(sealed)), self.0.clock.now()).await?;
        Ok(webhook)
    }

    /// Removes a webhook.
    pub async fn remove_webhook(&self, name: &str) -> Result<(), Error> {
        self.0.catalog.webhook(name).await?;
        Ok(self.0.catalog.remove_webhook(name).await?)
    }

    /// Sends a report to a webhook now.
    pub async fn test_webhook(&self, name: &str) -> Result<(), Error> {
        let report = of_test(self.0.clock.now());
        self.post_to_webhook(name, &report, uuid::Uuid::new_v4()).await?.map_err(Error::JobFailed)
    }

    /// The report for all places that want it.
    pub(super) async fn addressed(&self, about: &str, report: &Report) -> Result<Vec<NewReport>, Error> {
        let wanted = |when: ReportWhen| match when {
            ReportWhen::Always => true,
            // A summary without findings is no problem.
            ReportWhen::Problems => report.outcome != JobState::Success,
            ReportWhen::Never => false,
        };
        let mut places = Vec::new();
        if let Some((mail, _)) = self.0.catalog.report_settings::<MailSettings>(MAIL).await?
            && wanted(mail.when)
        {
            places.push(DestinationKind::Mail);
        }
        let webhooks = self.0.catalog.webhooks().await?;
        places.extend(
            webhooks.into_iter().filter(|hook| wanted(hook.when)).map(|hook| DestinationKind::Webhook(hook.name)),
        );
        let new = |destination| NewReport { about: about.to_owned(), destination, report: report.clone() };
        Ok(places.into_iter().map(new).collect())
    }

    async fn mail(&self) -> Result<(MailSettings, Option<Secret>), Error> {
        let none = || {
            let problem = Problem::new("mail.not_set", "it is not said how reports are sent by mail");
            Error::NotFound(problem.hint("xenkeep report mail set says it"))
        };
        self.0.catalog.report_settings(MAIL).await?.ok_or_else(none)
    }

    /// Whether the webhook has taken it; fails if there is no such webhook.
    async fn post_to_webhook(&self, name: &str, report: &Report, id: uuid::Uuid) -> Result<Result<(), Problem>, Error> {
        let (_, sealed) = self.0.catalog.webhook(name).await?;
        let sealed = sealed.unwrap_or_else(|| Secret::new(""));
        let hook: SealedHook = match serde_json::from_str(sealed.expose()) {
            Ok(hook) => hook,
            // What serde says might quote the secret.
            Err(_) => {
                return Ok(Err(Problem::new(
                    "webhook.damaged",
                    format!("what is kept of webhook {name} can't be read"),
                )));
            }
        };
        Ok(notify::webhook::send(&hook.url, hook.secret.as_ref(), report, id).await)
    }
}

/// A report of something that went wrong without a job.
pub(super) fn of_problem(kind: ReportKind, subject: &str, problem: Problem, now: Timestamp) -> Report {
    Report { problem: Some(problem), outcome: JobState::Failed, ..blank(kind, subject, now) }
}

fn of_test(now: Timestamp) -> Report {
    blank(ReportKind::Test, "test", now)
}

fn blank(kind: ReportKind, subject: &str, now: Timestamp) -> Report {
    Report {
        kind,
        subject: subject.to_owned(),
        outcome: JobState::Success,
        at: now,
        run: None,
        jobs: Vec::new(),
        more_jobs: 0,
        problem: None,
        summary: None,
    }
}

fn check_mail(settings: &MailSettings) -> Result<(), Error> {
    let host = &settings.host;
    let good =
        !host.is_empty() && host.len() <= 253 && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c));
    if !good {
        return Err(bad_mail("that is no name or address of a mail server"));
    }
    if settings.port == Some(0) {
        return Err(bad_mail("0 is no port"));
    }
    if settings.to.is_empty() || settings.to.len() > MAX_RECEIVERS {
        return Err(bad_mail(format!("a mail goes to 1 to {MAX_RECEIVERS} receivers")));
    }
    if let Some(user) = &settings.user {
        names::check_label("the name of the user", user)?;
    }
    notify::mail::check(settings).map_err(Error::Invalid)
}

fn bad_mail(message: impl Into<String>) -> Error {
    Error::Invalid(Problem::new("mail.invalid", message))
}
