//! `xenkeep server`: the server, with its mover in the same process.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::{Exit, cli::Global};

/// Run the server, with its mover, until it is told to stop.
///
/// SIGTERM and ^C stop it: running jobs are cancelled and clean up behind themselves first.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// Address to listen on. On anything but loopback it speaks HTTPS.
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:7443",
        env = "XENKEEP_LISTEN",
        hide_env_values = true
    )]
    listen: SocketAddr,

    /// What to log: a level, or levels by part, such as `info,xapi=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "XENKEEP_LOG", hide_env_values = true)]
    log: String,

    /// Form of the log on stderr.
    #[arg(long, value_name = "FORM", default_value = "text")]
    log_format: LogFormat,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// A line an event.
    Text,
    /// A JSON object an event.
    Json,
}

impl Server {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<Exit> {
        anyhow::bail!("not yet: {self:?} {global:?}")
    }
}
