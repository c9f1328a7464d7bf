//! How reports are sent, and the reports on their way.
//!
//! A report waits here, in one row for each place that gets it, from the transaction in which its reason was written until
//! somebody has taken it. Whoever delivers one first takes the row for a while: so two servers send it once.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row as _;
use uuid::Uuid;
use xenkeep_api::{DeliveryState, Job, JobId, Problem, Report, ReportDelivery, RunId, Secret, Webhook};

use crate::db::{Connection, Row};
use crate::words::{from_json, from_number, from_word, id, json, millis, time, word};
use crate::{Catalog, Error, jobs, names};

/// A report for one place.
#[derive(Debug, Clone)]
pub struct NewReport {
    /// What it is about: of two reports about the same thing for one place only the first is sent.
    pub about: String,
    /// `mail`, or `webhook:` with its name.
    pub destination: DestinationKind,
    /// The report itself.
    pub report: Report,
}

/// Where a report goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationKind {
    /// By mail.
    Mail,
    /// To the webhook of a name.
    Webhook(String),
}

impl DestinationKind {
    fn text(&self) -> String {
        match self {
            Self::Mail => "mail".to_owned(),
            Self::Webhook(name) => format!("webhook:{name}"),
        }
    }

    fn parse(text: &str) -> Self {
        text.strip_prefix("webhook:").map_or(Self::Mail, |name| Self::Webhook(name.to_owned()))
    }
}

/// A report that somebody has taken to deliver it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id, the same at each attempt.
    pub id: Uuid,
    /// Where it goes.
    pub destination: DestinationKind,
    /// The report.
    pub report: Report,
    /// How often it was tried, this time among them.
    pub attempts: u32,
    /// When it was written.
    pub created_at: Timestamp,
}

impl Catalog {
    /// The settings of a name, and their password.
    pub async fn report_settings<T: DeserializeOwned>(&self, name: &str) -> Result<Option<(T, Option<Secret>)>, Error> {
        let query = sqlx::query("SELECT document, secret_sealed FROM report_settings WHERE name = $1").bind(name);
        let Some(row) = query.fetch_optional(self.readers()).await? else { return Ok(None) };
        let sealed: Option<Vec<u8>> = row.try_get("secret_sealed")?;
        let secret = sealed.map(|sealed| self.sealer().open(&settings_place(name), &sealed)).transpose()?;
        Ok(Some((from_json("report_settings.document", row.try_get("document")?)?, secret)))
    }

    /// Writes the settings of a name.
    pub async fn set_report_settings<T: Serialize>(
        &self,
        name: &str,
        document: &T,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sealed = secret.map(|secret| self.sealer().seal(&settings_place(name), secret)).transpose()?;
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO report_settings (name, document, secret_sealed, decided_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO UPDATE SET document = excluded.document, secret_sealed = excluded.secret_sealed, \
             decided_ms = excluded.decided_ms",
        )
        .bind(name)
        .bind(json(document))
        .bind(sealed)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Forgets the settings of a name.
    pub async fn remove_report_settings(&self, name: &str) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM report_settings WHERE name = $1").bind(name).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Up to when the days of the settings of a name have been seen to.
    pub async fn report_settings_decided(&self, name: &str) -> Result<Option<Timestamp>, Error> {
        let query = sqlx::query("SELECT decided_ms FROM report_settings WHERE name = $1").bind(name);
        let row = query.fetch_optional(self.readers()).await?;
        row.map(|row| time("report_settings.decided_ms", row.try_get(0)?)).transpose()
    }

    /// Sees to the days of the settings of a name, with the reports that follow. Nothing, and `false`, if somebody else has.
    pub async fn decide_report_settings(
        &self,
        name: &str,
        from: Timestamp,
        to: Timestamp,
        reports: &[NewReport],
    ) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let done = sqlx::query("UPDATE report_settings SET decided_ms = $3 WHERE name = $1 AND decided_ms = $2")
            .bind(name)
            .bind(millis(from))
            .bind(millis(to))
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for report in reports {
            insert(&mut tx, report, to).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// All webhooks, by name.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, Error> {
        let rows = sqlx::query("SELECT document FROM webhooks ORDER BY name").fetch_all(self.readers()).await?;
        rows.iter().map(|row| from_json("webhooks.document", row.try_get(0)?)).collect()
    }

    /// The webhook of a name, and its secret.
    pub async fn webhook(&self, name: &str) -> Result<(Webhook, Option<Secret>), Error> {
        let query = sqlx::query("SELECT document, secret_sealed FROM webhooks WHERE name = $1").bind(name);
        let Some(row) = query.fetch_optional(self.readers()).await? else {
            let known: Vec<String> = self.webhooks().await?.into_iter().map(|webhook| webhook.name).collect();
            let hint = "xenkeep report webhook add adds one";
            return Err(Error::NotFound(names::not_found("webhook", name, &known, hint)));
        };
        let sealed: Option<Vec<u8>> = row.try_get("secret_sealed")?;
        let secret = sealed.map(|sealed| self.sealer().open(&webhook_place(name), &sealed)).transpose()?;
        Ok((from_json("webhooks.document", row.try_get("document")?)?, secret))
    }

    /// Adds a webhook.
    pub async fn insert_webhook(
        &self,
        webhook: &Webhook,
        secret: Option<&Secret>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let sealed = secret.map(|secret| self.sealer().seal(&webhook_place(&webhook.name), secret)).transpose()?;
        let mut tx = self.write().await?;
        let done = sqlx::query(
            "INSERT INTO webhooks (name, document, secret_sealed, created_ms) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (name) DO NOTHING",
        )
        .bind(&webhook.name)
        .bind(json(webhook))
        .bind(sealed)
        .bind(millis(now))
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            let problem = Problem::new("webhook.exists", format!("there is a webhook {} already", webhook.name));
            return Err(Error::Exists(problem.hint("choose another name").about(webhook.name.clone())));
        }
        Ok(tx.commit().await?)
    }

    /// Removes a webhook, with the reports that are on their way to it.
    pub async fn remove_webhook(&self, name: &str) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM webhooks WHERE name = $1").bind(name).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM outbox WHERE destination = $1 AND state = 'waiting'")
            .bind(DestinationKind::Webhook(name.to_owned()).text())
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }

    /// The ended jobs outside of any run that nobody has looked at for a report, the oldest first.
    pub async fn unreported_jobs(&self, limit: u32) -> Result<Vec<Job>, Error> {
        let query = sqlx::query(
            "SELECT * FROM jobs WHERE reported = 0 AND finished_ms IS NOT NULL AND run_id IS NULL ORDER BY finished_ms LIMIT $1",
        );
        query.bind(i64::from(limit)).fetch_all(self.readers()).await?.iter().map(jobs::job).collect()
    }

    /// The runs of whose ended jobs nobody has looked at one for a report, and of which no job waits or runs.
    pub async fn unreported_runs(&self) -> Result<Vec<RunId>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT run_id FROM jobs WHERE reported = 0 AND finished_ms IS NOT NULL AND run_id IS NOT NULL",
        )
        .fetch_all(self.readers())
        .await?;
        let mut ended = Vec::new();
        for row in rows {
            let run: String = row.try_get(0)?;
            let query = sqlx::query("SELECT id FROM jobs WHERE run_id = $1 AND state IN ('queued', 'running') LIMIT 1");
            if query.bind(&run).fetch_optional(self.readers()).await?.is_none() {
                ended.push(id("jobs.run_id", &run)?);
            }
        }
        Ok(ended)
    }

    /// Whether a job is tried again by another.
    pub async fn is_tried_again(&self, job: JobId) -> Result<bool, Error> {
        let query = sqlx::query("SELECT id FROM jobs WHERE retry_of = $1 LIMIT 1").bind(job.to_string());
        Ok(query.fetch_optional(self.readers()).await?.is_some())
    }

    /// Writes the reports about some jobs, which have been looked at with that.
    pub async fn report_jobs(&self, jobs: &[JobId], reports: &[NewReport], now: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        for job in jobs {
            sqlx::query("UPDATE jobs SET reported = 1 WHERE id = $1").bind(job.to_string()).execute(&mut *tx).await?;
        }
        for report in reports {
            insert(&mut tx, report, now).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes a report that is due, for as long as its delivery may take.
    pub async fn take_delivery(&self, now: Timestamp, until: Timestamp) -> Result<Option<Delivery>, Error> {
        let query = sqlx::query(
            "SELECT id, destination, report, attempts, created_ms FROM outbox WHERE state = 'waiting' AND next_ms <= $1 \
             ORDER BY next_ms LIMIT 1",
        );
        let Some(row) = query.bind(millis(now)).fetch_optional(self.readers()).await? else { return Ok(None) };
        let (key, attempts): (String, i64) = (row.try_get("id")?, row.try_get("attempts")?);
        let mut tx = self.write().await?;
        let taken = sqlx::query(
            "UPDATE outbox SET attempts = attempts + 1, next_ms = $3 WHERE id = $1 AND attempts = $2 AND state = 'waiting'",
        )
        .bind(&key)
        .bind(attempts)
        .bind(millis(until))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        if taken.rows_affected() == 0 {
            return Ok(None);
        }
        let destination: String = row.try_get("destination")?;
        Ok(Some(Delivery {
            id: id("outbox.id", &key)?,
            destination: DestinationKind::parse(&destination),
            report: from_json("outbox.report", row.try_get("report")?)?,
            attempts: from_number("outbox.attempts", attempts + 1)?,
            created_at: time("outbox.created_ms", row.try_get("created_ms")?)?,
        }))
    }

    /// A delivery has ended: well, or with a problem, to be tried again at `next` (never if there is none).
    pub async fn end_delivery(
        &self,
        delivery: Uuid,
        problem: Option<&Problem>,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let state = match (problem, next) {
            (None, _) => DeliveryState::Sent,
            (Some(_), Some(_)) => DeliveryState::Waiting,
            (Some(_), None) => DeliveryState::GivenUp,
        };
        let mut tx = self.write().await?;
        sqlx::query("UPDATE outbox SET state = $2, problem = $3, next_ms = $4, sent_ms = $5 WHERE id = $1")
            .bind(delivery.to_string())
            .bind(word(&state))
            .bind(problem.map(json))
            .bind(next.map_or(0, millis))
            .bind(problem.is_none().then(|| millis(now)))
            .execute(&mut *tx)
            .await?;
        if let (Some(_), Some(next)) = (problem, next) {
            // What did not take this one takes no other now.
            sqlx::query(
                "UPDATE outbox SET next_ms = $2 WHERE state = 'waiting' AND next_ms < $2 AND destination = \
                 (SELECT destination FROM outbox WHERE id = $1)",
            )
            .bind(delivery.to_string())
            .bind(millis(next))
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// The last reports and what became of them, the newest first.
    pub async fn deliveries(&self, limit: u32) -> Result<Vec<ReportDelivery>, Error> {
        let query = sqlx::query("SELECT * FROM outbox ORDER BY created_ms DESC, id LIMIT $1").bind(i64::from(limit));
        query.fetch_all(self.readers()).await?.iter().map(delivery).collect()
    }

    /// Forgets the reports that were written before a time and are not on their way.
    pub async fn forget_deliveries(&self, before: Timestamp) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM outbox WHERE created_ms < $1 AND state <> 'waiting'")
            .bind(millis(before))
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

/// Puts a report on its way, unless there is one about the same for the same place.
pub(crate) async fn insert(tx: &mut Connection, new: &NewReport, now: Timestamp) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO outbox (id, about, destination, report, state, attempts, next_ms, created_ms) \
         VALUES ($1, $2, $3, $4, 'waiting', 0, $5, $5) ON CONFLICT (about, destination) DO NOTHING",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(&new.about)
    .bind(new.destination.text())
    .bind(json(&new.report))
    .bind(millis(now))
    .execute(tx)
    .await?;
    Ok(())
}

fn settings_place(name: &str) -> String {
    format!("report_settings/{name}/secret")
}

fn webhook_place(name: &str) -> String {
    format!("webhooks/{name}/secret")
}

fn delivery(row: &Row) -> Result<ReportDelivery, Error> {
    let problem: Option<String> = row.try_get("problem")?;
    let sent: Option<i64> = row.try_get("sent_ms")?;
    let report: Report = from_json("outbox.report", row.try_get("report")?)?;
    let state: DeliveryState = from_word("outbox.state", row.try_get("state")?)?;
    let next = time("outbox.next_ms", row.try_get("next_ms")?)?;
    Ok(ReportDelivery {
        id: row.try_get("id")?,
        subject: report.subject,
        outcome: report.outcome,
        destination: row.try_get("destination")?,
        state,
        attempts: from_number("outbox.attempts", row.try_get("attempts")?)?,
        created_at: time("outbox.created_ms", row.try_get("created_ms")?)?,
        next_try: (state == DeliveryState::Waiting).then_some(next),
        sent_at: sent.map(|sent| time("outbox.sent_ms", sent)).transpose()?,
        problem: problem.map(|text| from_json("outbox.problem", &text)).transpose()?,
    })
}
