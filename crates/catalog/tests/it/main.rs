//! The catalogue on real files.

mod claims;
mod clients;
mod datastores;
mod fixture;
mod jobs;
mod journal;
mod opening;
mod points;
mod secrets;
mod tokens;
