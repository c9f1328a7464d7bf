//! Reports on their way: taken from the outbox, sent, and tried again while nobody takes them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use xenkeep_api::Problem;
use xenkeep_catalog::{Delivery, DestinationKind};

use super::super::Engine;
use crate::{Error, notify};

/// How long a delivery may take. Nobody else tries it meanwhile.
const TAKEN: SignedDuration = SignedDuration::from_mins(5);
const DELIVERY: Duration = Duration::from_secs(60);
/// How long it is tried.
const GIVE_UP: SignedDuration = SignedDuration::from_hours(72);
/// How long what has been sent is remembered.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24 * 90);

impl Engine {
    /// Sends what is due. The engine's own loop calls it; whoever calls it besides does no harm.
    pub async fn deliver_due(&self) -> Result<(), Error> {
        let _one_by_one = self.0.delivering.lock().await;
        loop {
            let now = self.0.clock.now();
            let until = now.saturating_add(TAKEN).unwrap_or(now);
            let Some(delivery) = self.0.catalog.take_delivery(now, until).await? else { return Ok(()) };
            let sent = tokio::select! {
                sent = tokio::time::timeout(DELIVERY, self.deliver(&delivery)) => sent,
                // It is tried again when it is nobody's any more.
                () = self.0.stopping.cancelled() => return Ok(()),
            };
            let problem = match sent {
                Ok(Ok(())) => None,
                Ok(Err(problem)) => Some(problem),
                Err(_) => Some(Problem::new("report.too_slow", "the report was not taken within a minute")),
            };
            let now = self.0.clock.now();
            let next = problem.as_ref().and_then(|problem| next_try(&delivery, problem, now));
            if let Some(problem) = &problem {
                tracing::warn!(destination = ?delivery.destination, attempts = delivery.attempts, %problem, "a report was not taken");
            }
            self.0.catalog.end_delivery(delivery.id, problem.as_ref(), next, now).await?;
        }
    }

    /// Forgets reports of long ago.
    pub(in super::super) async fn forget_reports(&self) -> Result<(), Error> {
        let before = self.0.clock.now().saturating_sub(REMEMBERED).unwrap_or(Timestamp::MIN);
        Ok(self.0.catalog.forget_deliveries(before).await?)
    }

    async fn deliver(&self, delivery: &Delivery) -> Result<(), Problem> {
        match &delivery.destination {
            DestinationKind::Mail => {
                let (settings, password) = self.mail().await.map_err(|error| error.problem())?;
                notify::mail::send(&settings, password.as_ref(), &delivery.report, delivery.id).await
            }
            DestinationKind::Webhook(name) => {
                let posted = self.post_to_webhook(name, &delivery.report, delivery.id).await;
                posted.map_err(|error| error.problem())?
            }
        }
    }
}

/// Soon at first, then every hour, for three days. Not again if the place is gone.
fn next_try(delivery: &Delivery, problem: &Problem, now: Timestamp) -> Option<Timestamp> {
    let gone = matches!(problem.code.as_str(), "mail.not_set" | "webhook.not_found");
    let given_up = delivery.created_at.saturating_add(GIVE_UP).unwrap_or(Timestamp::MAX);
    let minutes = match delivery.attempts {
        0 | 1 => 1,
        2 => 5,
        3 => 15,
        _ => 60,
    };
    (!gone && now < given_up).then(|| now.saturating_add(SignedDuration::from_mins(minutes)).unwrap_or(Timestamp::MAX))
}
