//! The client against hand-written hosts with the quirks of the real ones, and against the simulated pool.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod calls;
mod fake;
mod login;
mod pool;
mod pool_fails;
mod sim;
mod stream;
mod task;
mod tls;
