//! The server over real sockets, with movers made of a few lines.

#![allow(clippy::unwrap_used)]

mod auth;
mod clients;
mod content;
mod datastores;
mod events;
mod fixture;
mod hostile;
mod jobs;
mod leases;
mod mover;
mod movers;
mod openapi;
mod points;
mod queue;
mod recovery;
mod reports;
mod requests;
mod retention;
mod schedules;
#[path = "../../../../tests/peers/smtp.rs"]
mod smtp;
mod start;
mod tasks;
mod tls;
mod upkeep;
