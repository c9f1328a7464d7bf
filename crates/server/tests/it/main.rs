//! The server over real sockets, with movers made of a few lines.

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
mod openapi;
mod points;
mod recovery;
mod requests;
mod start;
mod tls;
