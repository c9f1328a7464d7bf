//! The catalogue on real files.

#![allow(clippy::unwrap_used)]

mod claims;
mod clients;
mod datastores;
mod fixture;
mod jobs;
mod journal;
mod opening;
mod points;
mod schedules;
mod secrets;
mod tokens;
mod upkeep;
