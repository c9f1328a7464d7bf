//! Datastores: where backups lie.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DatastoreId, DatastoreState, Secret};

/// A datastore: a repository in a directory of the mover.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Datastore {
    /// Our id of it.
    pub id: DatastoreId,
    /// The administrator's name for it; unique.
    pub name: String,
    /// Absolute path of the repository on the mover.
    pub path: String,
    /// The repository's own id (restic's `config.id`).
    pub repository_id: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// What lies in it, and when it was verified and pruned.
    #[serde(default)]
    pub state: DatastoreState,
}

/// What the administrator says to create a datastore.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDatastore {
    /// The administrator's name for it.
    pub name: String,
    /// Absolute path of a directory on the mover, missing or empty.
    pub path: String,
}

/// What must lie in a safe: with it, restic reads everything back when xenkeep is gone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecoverySheet {
    /// The administrator's name for the datastore.
    pub datastore: String,
    /// Absolute path of the repository on the mover.
    pub path: String,
    /// The repository's own id (restic's `config.id`).
    pub repository_id: String,
    /// Password of the repository.
    pub password: Secret,
}
