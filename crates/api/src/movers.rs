//! Movers: the machines that move data, and what one says to its server.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{Directive, JobReport, LogLine, Places, Problem, Progress, Secret};

/// Name of the mover that is built into a server.
pub const LOCAL_MOVER: &str = "local";

/// The word for "whichever": no mover is called so.
pub const ANY_MOVER: &str = "any";

/// A machine that moves data: the server itself, or one that runs `xenkeep mover`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mover {
    /// The administrator's name for it; unique. The one that is built into the server is called `local`.
    pub name: String,
    /// It is built into the server, and needs no token.
    pub built_in: bool,
    /// It has been heard of a moment ago.
    pub connected: bool,
    /// Its version; none until it has been heard of for the first time.
    pub version: Option<String>,
    /// Its addresses, as it says itself and as the server sees it; those of the machine itself (loopback) left out.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Jobs that it takes at once.
    pub capacity: u32,
    /// Jobs that it runs now.
    pub running: u32,
    /// When it was heard of last.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// Why it gets no jobs, if it gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Problem>,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What the administrator says to add a mover.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMover {
    /// The administrator's name for it.
    pub name: String,
}

/// A mover that was added, with its token: shown once, and kept nowhere.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AddedMover {
    /// The mover.
    pub mover: Mover,
    /// What it shows to the server. It opens nothing but the calls below `/mover`.
    pub token: Secret,
}

/// What changes of a client or a datastore about its movers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoverChoice {
    /// Names of movers; for a client no more than one. `any` alone: whichever is free.
    pub movers: Vec<String>,
}

/// What a mover says of itself, at its start and whenever it asks for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MoverHello {
    /// Its version, such as `0.2.0`.
    pub version: String,
    /// Addresses of its network interfaces.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
    /// Jobs that it takes at once.
    pub capacity: u32,
}

/// What a server answers to a mover that it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MoverWelcome {
    /// The name under which the server knows it.
    pub name: String,
    /// The server's version.
    pub version: String,
    /// A job whose mover has not been heard of for so long goes to another: until then it must have stopped.
    pub lease_ms: u64,
    /// How long a question for a job may wait for its answer.
    pub wait_ms: u64,
}

/// A sign of life for a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Renewal {
    /// Fencing number of the lease.
    pub fence: i64,
    /// The numbers as they stand.
    pub progress: Progress,
    /// What the job has said since the last time.
    #[serde(default)]
    pub log: Vec<LogLine>,
}

/// The answer to a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Renewed {
    /// What is wanted of the job.
    pub directive: Directive,
}

/// An entry of a job's journal, on its way to the server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalWrite {
    /// Fencing number of the lease.
    pub fence: i64,
    /// The mover's own record.
    pub what: Value,
}

/// The end of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finish {
    /// Fencing number of the lease.
    pub fence: i64,
    /// How it ended.
    pub report: JobReport,
}

/// Where a job is about to work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Occupation {
    /// Fencing number of the lease.
    pub fence: i64,
    /// The host and the SRs.
    pub places: Places,
}

/// Whether a job may begin to work there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Occupied {
    /// What it must wait for first; it asks again.
    #[serde(default)]
    pub wait: Option<Problem>,
}

/// The fencing number of a lease, alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fence {
    /// The number.
    pub fence: i64,
}
