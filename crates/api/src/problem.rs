//! What went wrong, in a form that a program and a person can act on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A failure or a warning at the edge: served as `application/problem+json`, kept with a job, printed by the CLI.
///
/// `code` is stable and the key under which a user interface finds its translation; `message` says what happened in
/// English, with names and numbers; `hint` says what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// Stable, dotted: noun first, as in `datastore.full` or `vm.name_ambiguous`.
    pub code: String,
    /// What happened: one sentence, no full stop, no secret.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What it is about: the uuid or name of a VM, SR, datastore …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

impl Problem {
    /// A problem without hint.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), hint: None, about: None }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what it is about.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        self.about = Some(about.into());
        self
    }

    /// A defect of xenkeep itself, or something that nobody thought of; `error` is printed with its causes.
    #[must_use]
    pub fn internal(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            message.push_str(": ");
            message.push_str(&next.to_string());
            cause = next.source();
        }
        Self::new("internal", message)
    }
}
