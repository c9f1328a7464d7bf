//! What `client check` looks at.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Client, Problem};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckOutcome {
    /// In order.
    Ok,
    /// Not looked at, because something before it failed or does not apply.
    Skipped,
    /// Works, but should be looked at.
    Warning,
    /// Backups or restores will fail because of it.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// What: `dns-forward`, `dns-reverse`, `port-80`, `port-443`, `port-10809`, `certificate`, `login`, `role`, `hosts`, `clock`,
    /// `default-sr`, `nbd-network`, `transfer-network`, `licence`, `leftovers`.
    pub id: String,
    /// How it came out.
    pub outcome: CheckOutcome,
    /// What was found, with names and numbers.
    pub result: String,
    /// Why that matters, or why it was not looked at.
    pub reason: Option<String>,
    /// What to do about it.
    pub cure: Option<String>,
}

/// A client that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClientCheck {
    /// The client, with what the pool said of itself now, or last.
    pub client: Client,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Check>,
    /// Why no login was possible, if none was.
    pub problem: Option<Problem>,
}

impl Check {
    /// One that came out like this.
    #[must_use]
    pub fn new(id: &str, outcome: CheckOutcome, result: impl Into<String>) -> Self {
        Self { id: id.to_owned(), outcome, result: result.into(), reason: None, cure: None }
    }

    /// In order.
    #[must_use]
    pub fn ok(id: &str, result: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Ok, result)
    }

    /// Works, but should be looked at.
    #[must_use]
    pub fn warning(id: &str, result: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Warning, result)
    }

    /// Backups or restores will fail because of it.
    #[must_use]
    pub fn failed(id: &str, result: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Failed, result)
    }

    /// Not looked at, because of `reason`.
    #[must_use]
    pub fn skipped(id: &str, reason: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Skipped, "not looked at").because(reason)
    }

    /// Why that matters.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}
