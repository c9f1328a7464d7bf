//! What holds on both databases. [`fixture::catalog`] knows by the name of this module which one it is.

#[path = "claims.rs"]
mod claims;
#[path = "clients.rs"]
mod clients;
#[path = "datastores.rs"]
mod datastores;
#[path = "drives.rs"]
mod drives;
#[path = "fixture.rs"]
pub(crate) mod fixture;
#[path = "jobs.rs"]
mod jobs;
#[path = "journal.rs"]
pub(crate) mod journal;
#[path = "points.rs"]
mod points;
#[path = "queue.rs"]
mod queue;
#[path = "schedules.rs"]
mod schedules;
#[path = "tokens.rs"]
mod tokens;
#[path = "upkeep.rs"]
mod upkeep;
