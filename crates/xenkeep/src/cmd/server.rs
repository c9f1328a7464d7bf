//! `xenkeep server`: the server, with its mover in the same process.

use std::{
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use xenkeep_api::Secret;
use xenkeep_mover::{Mover, MoverConfig};
use xenkeep_server::ServerConfig;

use super::Context;
use crate::{Exit, fingerprint, follow::Interrupts, leases::EngineLeases, logging};

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

    /// File with the address of a PostgreSQL database, postgres://USER:PASSWORD@HOST/DATABASE, which several servers may
    /// share; XENKEEP_DATABASE_URL holds the address itself. Without either: SQLite in the data directory.
    #[arg(long, value_name = "FILE")]
    database_url_file: Option<PathBuf>,

    /// What to log: a level, or levels by part, such as `info,xapi=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "XENKEEP_LOG", hide_env_values = true)]
    log: String,

    /// Have no mover in this process: all data is moved by others, `xenkeep mover`.
    #[arg(long)]
    no_local_mover: bool,

    /// A mover that is not heard of for so many seconds has lost its jobs.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease: u64,

    /// Directory with the commands that tasks may run before and after backups; without it, they may run none.
    #[arg(long, value_name = "DIR", env = "XENKEEP_HOOKS_DIR", hide_env_values = true)]
    hooks_dir: Option<PathBuf>,

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

/// Where a server is found, for programs.
#[derive(Debug, Serialize)]
struct Listening<'a> {
    url: &'a str,
    token_file: PathBuf,
    certificate_sha256: Option<&'a str>,
}

impl Server {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        logging::start(&self.log, self.log_format == LogFormat::Json)?;
        // Before anything starts that must be stopped in order.
        let mut interrupts = Interrupts::new()?;
        let mut config = ServerConfig::new(std::path::absolute(&context.global.data)?, self.listen);
        config.limits.lease = Duration::from_secs(self.lease);
        config.has_local_mover = !self.no_local_mover;
        config.database_url = database_url(self.database_url_file.as_deref())?;
        let server = xenkeep_server::Server::start(config).await.map_err(|error| error.problem())?;

        let stop = CancellationToken::new();
        let config = MoverConfig {
            cache_dir: Some(server.data_dir().join("cache")),
            hooks_dir: self.hooks_dir.clone(),
            ..MoverConfig::default()
        };
        let mut moving = tokio::spawn(move_data(&server, config, !self.no_local_mover, stop.clone()));
        announce(context, &server)?;

        tokio::select! {
            () = interrupts.next() => {}
            ended = &mut moving => {
                server.shutdown().await.map_err(|error| error.problem())?;
                ended.context("the mover broke down")?;
                anyhow::bail!("the mover has stopped by itself");
            }
        }
        tracing::info!("stopping: running jobs are cancelled, and clean up behind themselves");
        stop.cancel();
        tokio::select! {
            ended = &mut moving => ended.context("the mover broke down")?,
            () = interrupts.next() => {
                tracing::warn!("leaving at once: what was running is cleaned up at the next start");
                return Ok(Exit::Failed);
            }
        }
        server.shutdown().await.map_err(|error| error.problem())?;
        tracing::info!("stopped");
        Ok(Exit::Success)
    }
}

/// The mover in this process, if there is to be one; until `stop`.
fn move_data(
    server: &xenkeep_server::Server,
    config: MoverConfig,
    has_mover: bool,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let leases = EngineLeases {
        engine: server.engine().clone(),
        mover: server.mover().to_owned(),
        capacity: u32::try_from(config.parallel_jobs.get()).unwrap_or(u32::MAX),
        stop: stop.clone(),
    };
    let mover = Mover::new(Arc::new(leases), config);
    async move { if has_mover { mover.run(stop).await } else { stop.cancelled().await } }
}

/// The address of the database. It holds a password: never on the command line.
fn database_url(file: Option<&Path>) -> anyhow::Result<Option<Secret>> {
    const MAX_BYTES: u64 = 16 << 10;
    let Some(file) = file else {
        let text = std::env::var("XENKEEP_DATABASE_URL").ok();
        return Ok(text.filter(|text| !text.is_empty()).map(Secret::new));
    };
    let read = || -> std::io::Result<String> {
        let mut text = String::new();
        std::fs::File::open(file)?.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(!text.trim().is_empty(), "{} is empty", file.display());
    Ok(Some(Secret::new(text.trim())))
}

fn announce(context: &Context, server: &xenkeep_server::Server) -> anyhow::Result<()> {
    let listening = Listening {
        url: server.url(),
        token_file: server.data_dir().join("token"),
        certificate_sha256: server.certificate_sha256(),
    };
    context.console.result(&listening, || {
        let mut text = format!("xenkeep {} listens on {}\n", env!("CARGO_PKG_VERSION"), listening.url);
        text += &format!("token:       {}\n", listening.token_file.display());
        if let Some(sha256) = listening.certificate_sha256 {
            text += &format!("certificate: SHA-256 {}\n", fingerprint::colons(sha256));
        }
        text
    })?;
    Ok(())
}
