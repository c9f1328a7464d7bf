//! `xenkeep server`: the server, with its mover in the same process.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use crate::{Exit, cli::Global};

const NOTES: &str = "\
Examples:
  xenkeep server --data ~/xenkeep
  xenkeep server --data /var/lib/xenkeep --listen 0.0.0.0:7443

The data directory is made at the first start. Whoever can read it can read every password in it.
SIGTERM and ^C stop the server: running jobs are cancelled and clean up behind themselves first.";

/// Run the server, with its mover, until it is told to stop.
#[derive(Debug, Args)]
#[command(after_help = NOTES)]
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
    Text,
    Json,
}

impl Server {
    pub(crate) async fn run(self, global: &Global) -> anyhow::Result<Exit> {
        anyhow::bail!("not yet: {self:?} {global:?}")
    }
}
