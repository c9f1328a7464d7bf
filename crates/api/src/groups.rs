//! Groups: tasks that start together.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Tasks that start together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Group {
    /// The administrator's name for it; unique.
    pub name: String,
    /// Names of its tasks, sorted.
    pub tasks: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What the administrator says to make a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    /// The administrator's name for it.
    pub name: String,
    /// Names or ids of its tasks.
    #[serde(default)]
    pub tasks: Vec<String>,
}

/// Change which tasks are in a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupChange {
    /// Names or ids of tasks that come in.
    pub add: Vec<String>,
    /// Names or ids of tasks that go out; the tasks themselves stay.
    pub remove: Vec<String>,
}
