//! What a mover is given to do a job, and what it answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{ClientId, DatastoreId, JobId, JobSpec, KnownPoint, Point, S3Place, Secret, Transport};

/// A job lent to a mover for a limited time, with the secrets of this job and no others.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LeasedJob {
    /// The job.
    pub id: JobId,
    /// Fencing number: what a mover says with an older one is refused.
    pub fence: i64,
    /// What to do.
    pub spec: JobSpec,
    /// For a backup: the name of the task that it belongs to.
    #[serde(default)]
    pub task: Option<String>,
    /// How to reach the pool, when the spec names one.
    pub client: Option<ClientAccess>,
    /// How to open the datastore, when the spec names one.
    pub datastore: Option<DatastoreAccess>,
    /// How to open the datastore that copies go to, when the spec names one.
    pub target: Option<DatastoreAccess>,
    /// The point to read, when the spec names one.
    pub point: Option<Point>,
    /// A password that the job is about, when it is about one.
    #[serde(default)]
    pub secret: Option<Secret>,
    /// For `rescan-datastore`: the points that the catalogue knows in it.
    #[serde(default)]
    pub known_points: Vec<KnownPoint>,
    /// For `check-client`: the client's jobs that have not ended. What bears the mark of another one is left over.
    #[serde(default)]
    pub unfinished: Vec<JobId>,
    /// For `recover`: the open journal of the interrupted job, in the order in which it was written.
    pub journal: Vec<JournalEntry>,
}

/// How to reach a client's pool.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ClientAccess {
    /// Our id of it.
    pub id: ClientId,
    /// The administrator's name for it.
    pub name: String,
    /// `host` or `host:port`.
    pub address: String,
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// How data travels.
    pub transport: Transport,
    /// The pinned certificate (SHA-256, lower-case hex); none before first contact and with http.
    pub certificate_sha256: Option<String>,
    /// The pool's hosts as they were known last: where the pool is looked for when `address` does not answer.
    #[serde(default)]
    pub members: Vec<MemberAccess>,
}

/// A host of a client's pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberAccess {
    /// Address of its management interface.
    pub address: String,
    /// Its certificate as the pool named it (SHA-256, lower-case hex).
    pub certificate_sha256: Option<String>,
}

/// How to open a datastore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatastoreAccess {
    /// Our id of it.
    pub id: DatastoreId,
    /// The administrator's name for it.
    pub name: String,
    /// Absolute path of the repository, or restic's address of it.
    pub path: String,
    /// Where on an S3 server it lies, if it does.
    #[serde(default)]
    pub s3: Option<S3Place>,
    /// The secret of its access key.
    #[serde(default)]
    pub s3_secret_access_key: Option<Secret>,
    /// Password of the repository.
    pub password: Secret,
}

/// Something that a job made, or is about to make, outside, and how to undo it. The server keeps it unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalEntry {
    /// Chosen by the mover.
    pub id: Uuid,
    /// The mover's own record.
    pub what: Value,
}

/// What the server wants of a running job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Directive {
    /// Go on.
    Continue,
    /// Stop, clean up, report `cancelled`.
    Cancel,
    /// The lease is lost: stop without touching anything more.
    Abandon,
}

/// Where a job is about to work.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Places {
    /// uuid of the host that the VM runs on.
    pub host: Option<String>,
    /// uuids of the SRs that its disks lie in.
    pub srs: Vec<String>,
}
