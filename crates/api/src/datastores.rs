//! Datastores: where backups lie.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DatastoreId, DatastoreState, Job, Point, PointProtection, Secret};

/// A datastore: a repository in a directory of the mover, or on an S3 server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Datastore {
    /// Our id of it.
    pub id: DatastoreId,
    /// The administrator's name for it; unique.
    pub name: String,
    /// Absolute path of the repository on the mover; of one on an S3 server, restic's address of it: `s3:https://…`.
    pub path: String,
    /// Where on an S3 server it lies, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Place>,
    /// The repository's own id (restic's `config.id`).
    pub repository_id: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// The movers that reach it. None are named when any does; a directory is on the movers that are named.
    #[serde(default)]
    pub movers: Vec<String>,
    /// What lies in it, and when it was verified and pruned.
    #[serde(default)]
    pub state: DatastoreState,
}

/// A part of a bucket of an S3 server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Place {
    /// `https://HOST:PORT`, or http. Without it, Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name of the bucket, which must be there.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    #[serde(default)]
    pub prefix: String,
    /// Region of the bucket; most servers other than Amazon's need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The access key; its secret is kept apart.
    pub access_key_id: String,
    /// Certificates (PEM) of authorities that the server's may be signed by, besides those that the mover trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certificate: Option<String>,
}

impl S3Place {
    /// restic's address of it.
    #[must_use]
    pub fn address(&self) -> String {
        let endpoint = self.endpoint.as_deref().unwrap_or("s3.amazonaws.com").trim_end_matches('/');
        let prefix = self.prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("s3:{endpoint}/{}{slash}{prefix}", self.bucket)
    }
}

/// What the administrator says to create a datastore: a directory or a place on an S3 server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDatastore {
    /// The administrator's name for it.
    pub name: String,
    /// Absolute path of a directory on the mover, missing or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A place on an S3 server, at which there is nothing yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Place>,
    /// The secret of its access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3_secret_access_key: Option<Secret>,
    /// The movers that reach it; without any, a directory is on the mover that is built into the server, and a place on
    /// an S3 server is reached by all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub movers: Vec<String>,
}

impl NewDatastore {
    /// One in a directory.
    #[must_use]
    pub fn directory(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: Some(path.into()), s3: None, s3_secret_access_key: None, movers: Vec::new() }
    }
}

/// What the administrator says to make a repository that is there already known as a datastore.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachRequest {
    /// What it shall be called, and where it lies.
    pub datastore: NewDatastore,
    /// A password of the repository: the one on its recovery sheet, or any other.
    pub password: Secret,
}

/// A datastore that was attached.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Attached {
    /// The datastore.
    pub datastore: Datastore,
    /// The job that finds its restore points.
    pub job: Job,
}

/// A password of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatastoreKey {
    /// Its id: 64 hex digits. A unique prefix is enough wherever a key is named.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// The machine on which it was added.
    pub host: String,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// It is the one that xenkeep itself uses; it can't be removed.
    pub in_use: bool,
}

/// A further password for a repository.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it shall be called: whose it is, or where it is kept.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// What is to be done with the passwords of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum KeyChange {
    /// Nothing: list them.
    List,
    /// Add one. The password itself is not part of the job.
    Add {
        /// What it is called.
        name: String,
    },
    /// Remove one.
    Remove {
        /// Its id, or the beginning of it.
        key: String,
    },
}

/// What a rescan found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RescanSummary {
    /// Restore points in the repository that can be read.
    pub found: u64,
    /// Those of them that the catalogue did not know.
    pub added: Vec<Point>,
    /// Full ids of points that the catalogue knew and that are gone.
    pub gone: Vec<String>,
    /// Points whose protection is another one than the catalogue knew.
    pub protections: Vec<KnownPoint>,
    /// Points that are there and can't be read.
    pub unreadable: Vec<UnreadablePoint>,
}

/// A point as far as a rescan must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KnownPoint {
    /// Its full id.
    pub id: String,
    /// Set when it must not be removed.
    pub protection: Option<PointProtection>,
}

/// A point that is there and can't be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnreadablePoint {
    /// Its full id.
    pub id: String,
    /// What is wrong with it.
    pub why: String,
}

/// What must lie in a safe: with it, restic reads everything back when xenkeep is gone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecoverySheet {
    /// The administrator's name for the datastore.
    pub datastore: String,
    /// Absolute path of the repository on the mover, or restic's address of it.
    pub path: String,
    /// Where on an S3 server it lies, if it does. The secret of its access key is not written down here: whoever runs
    /// that server can make a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3Place>,
    /// The repository's own id (restic's `config.id`).
    pub repository_id: String,
    /// Password of the repository.
    pub password: Secret,
}
