//! Drives: numbered ways into a datastore, each with so many channels.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DatastoreId, JobId, Problem};

/// A numbered way into one datastore: no more jobs write through it at once than it has channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Drive {
    /// Its number; unique.
    pub number: u32,
    /// For people, if it has one.
    pub name: Option<String>,
    /// Where it leads.
    pub datastore: DatastoreId,
    /// Name of the datastore.
    pub datastore_name: String,
    /// How many jobs may write through it at once; 0 lets none through, and stops no job that runs.
    pub channels: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What is said to make a drive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDrive {
    /// Its number, from 1.
    pub number: u32,
    /// For people.
    #[serde(default)]
    pub name: Option<String>,
    /// Name or id of the datastore.
    pub datastore: String,
    /// How many jobs may write through it at once.
    pub channels: u32,
}

/// What is to be different about a drive; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DriveChange {
    /// For people; an empty one takes the name away.
    #[serde(default)]
    pub name: Option<String>,
    /// How many jobs may write through it at once. Fewer than run now stop none of them.
    #[serde(default)]
    pub channels: Option<u32>,
}

/// A drive with what goes on at it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DriveState {
    /// The drive.
    #[serde(flatten)]
    pub drive: Drive,
    /// The jobs that hold its channels, in order of their start.
    pub running: Vec<DriveJob>,
    /// How many wait for it.
    pub waiting: u64,
    /// The first of those, in the order in which they will run.
    pub next: Vec<DriveJob>,
}

/// A job at a drive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DriveJob {
    /// The job.
    pub job: JobId,
    /// What it is about.
    pub subject: String,
    /// Among those that wait, the higher comes first.
    pub priority: i32,
    /// When it began.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// Why it waits, if it does.
    pub waiting: Option<Problem>,
}
