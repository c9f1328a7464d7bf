//! `xenkeep mover`: the machines that move data; without a verb, this machine becomes one.

use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;
use xenkeep_api::http::{ApiClient, Trust};
use xenkeep_api::{AddedMover, Mover, NewMover, Problem, Secret};
use xenkeep_mover::{LeaseError, MoverConfig, RemoteLeases};

use super::Context;
use crate::follow::Interrupts;
use crate::output::{Column, table};
use crate::report::Usage;
use crate::{Exit, confirm, connection, logging, units};

const NOTES: &str = "\
Examples:
  xenkeep mover add backup2 --new-token-file backup2.token        (on the server)
  xenkeep mover --server https://backup1:7443 --token-file backup2.token --server-certificate SHA256

Data goes straight from the pool through the mover to the datastore, never through the server. SIGTERM and ^C stop the \
mover: its jobs are cancelled and clean up behind themselves first.";

/// Longest pause between two tries to reach the server at the start.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Movers: machines that move data. Without a verb, run one on this machine.
#[derive(Debug, Args)]
#[command(after_help = NOTES, args_conflicts_with_subcommands = true)]
pub(crate) struct Movers {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    run: Run,
}

/// Run a mover on this machine.
#[derive(Debug, Args)]
struct Run {
    /// File with certificates (PEM) of the authority that has signed the server's certificate.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Where it keeps what it knows of repositories, so that it need not read it again.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory with the commands that tasks may run before and after backups; without it, they may run none.
    #[arg(long, value_name = "DIR", env = "XENKEEP_HOOKS_DIR", hide_env_values = true)]
    hooks_dir: Option<PathBuf>,
    /// Jobs that it takes at once.
    #[arg(long, value_name = "N", default_value = "8")]
    jobs: NonZeroUsize,
    /// What to log: a level, or levels by part, such as `info,xapi=debug`.
    #[arg(long, value_name = "FILTER", default_value = "info", env = "XENKEEP_LOG", hide_env_values = true)]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Add(Add),
    List(List),
    Remove(Remove),
}

/// Add a mover and make its token, which is shown this once.
#[derive(Debug, Args)]
struct Add {
    /// Your name for it.
    name: String,
    /// New file to write the token to, readable by you alone; without it, it is printed.
    #[arg(long, value_name = "FILE")]
    new_token_file: Option<PathBuf>,
}

/// List the movers.
#[derive(Debug, Args)]
struct List {}

/// Remove a mover: its token opens nothing from now on.
#[derive(Debug, Args)]
struct Remove {
    /// Name of the mover.
    name: String,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

impl Movers {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self.verb {
            None => self.run.run(context).await,
            Some(Verb::Add(add)) => add.run(context).await,
            Some(Verb::List(List {})) => list(context).await,
            Some(Verb::Remove(remove)) => remove.run(context).await,
        }
    }
}

impl Run {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        logging::start(&self.log, false)?;
        let mut interrupts = Interrupts::new()?;
        let api = self.api(context)?;
        let capacity = u32::try_from(self.jobs.get()).unwrap_or(u32::MAX);
        let leases = tokio::select! {
            () = interrupts.next() => return Ok(Exit::Success),
            leases = connected(&api, capacity) => leases?,
        };
        let name = leases.name().to_owned();
        context.console.result(&serde_json::json!({ "mover": name, "server": api.url() }), || {
            format!("mover {name} takes jobs from {}", api.url())
        })?;
        let config = MoverConfig {
            parallel_jobs: self.jobs,
            cache_dir: self.cache_dir()?,
            hooks_dir: self.hooks_dir.clone(),
            ..MoverConfig::default()
        };
        let mover = xenkeep_mover::Mover::new(Arc::new(leases), config);
        let stop = CancellationToken::new();
        let mut moving = tokio::spawn({
            let stop = stop.clone();
            async move { mover.run(stop).await }
        });
        tokio::select! {
            () = interrupts.next() => {}
            ended = &mut moving => {
                ended.context("the mover broke down")?;
                anyhow::bail!("the mover has stopped by itself");
            }
        }
        tracing::info!("stopping: running jobs are cancelled, and clean up behind themselves");
        stop.cancel();
        tokio::select! {
            ended = &mut moving => ended.context("the mover broke down")?,
            () = interrupts.next() => {
                tracing::warn!("leaving at once: what was running is cleaned up by another mover");
                return Ok(Exit::Failed);
            }
        }
        tracing::info!("stopped");
        Ok(Exit::Success)
    }

    fn api(&self, context: &Context) -> anyhow::Result<ApiClient> {
        let global = &context.global;
        let (Some(url), Some(token_file)) = (&global.server, &global.token_file) else {
            return Err(Usage::new("a mover needs the address of its server, and its token")
                .hint("xenkeep mover --server URL --token-file FILE; on the server, `xenkeep mover add NAME` makes the token")
                .into());
        };
        let trust = match (&global.server_certificate, &self.ca_file) {
            (Some(_), Some(_)) => {
                return Err(Usage::new("either the server's certificate is known, or who has signed it")
                    .hint("leave out --server-certificate or --ca-file")
                    .into());
            }
            (Some(pin), None) => Trust::Pinned(pin.clone()),
            (None, Some(file)) => Trust::Authority(
                std::fs::read_to_string(file).with_context(|| format!("{} can't be read", file.display()))?,
            ),
            (None, None) => Trust::System,
        };
        Ok(ApiClient::new(url, connection::token(token_file)?, &trust)?)
    }

    fn cache_dir(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(dir) = &self.data_dir else { return Ok(None) };
        let dir = std::path::absolute(dir)?.join("cache");
        std::fs::create_dir_all(&dir).with_context(|| format!("{} can't be made", dir.display()))?;
        Ok(Some(dir))
    }
}

/// The line to the server, as soon as it answers. What it refuses is told at once.
async fn connected(api: &ApiClient, capacity: u32) -> anyhow::Result<RemoteLeases> {
    let mut pause = Duration::from_millis(500);
    loop {
        match RemoteLeases::connect(api.clone(), capacity).await {
            Ok(leases) => return Ok(leases),
            Err(LeaseError::Refused(problem)) => return Err(problem.into()),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the server at {} does not answer yet",
                    api.url()
                );
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

impl Add {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let AddedMover { mover, token } = api.add_mover(&NewMover { name: self.name }).await?;
        let Some(path) = &self.new_token_file else {
            let shown = AddedMover { mover, token };
            context.console.result(&shown, || {
                format!(
                    "added mover {}\ntoken: {}\nIt is shown this once. Put it into a file on that machine, and run there:\n  \
                     xenkeep mover --server URL --token-file FILE",
                    shown.mover.name,
                    shown.token.expose()
                )
            })?;
            return Ok(Exit::Success);
        };
        if let Err(error) = write_token(path, &token) {
            // A token that nobody has is of no use.
            api.remove_mover(&mover.name).await?;
            return Err(error);
        }
        context.console.result(&mover, || format!("added mover {}; its token is in {}", mover.name, path.display()))?;
        Ok(Exit::Success)
    }
}

fn write_token(path: &Path, token: &Secret) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = match file {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let problem = Problem::new("file.exists", format!("there is a file {} already", path.display()));
            return Err(problem.hint("name a new one").into());
        }
        opened => opened.with_context(|| format!("{} can't be written", path.display()))?,
    };
    writeln!(file, "{}", token.expose()).with_context(|| format!("{} can't be written", path.display()))
}

async fn list(context: &Context) -> anyhow::Result<Exit> {
    let movers = context.api()?.movers().await?;
    context.console.result(&movers, || listing(&movers))?;
    Ok(Exit::Success)
}

fn listing(movers: &[Mover]) -> String {
    if movers.is_empty() {
        return "no movers yet: add one with `xenkeep mover add`".to_owned();
    }
    let columns = [
        Column::Text("NAME"),
        Column::Text("STATE"),
        Column::Number("RUNNING"),
        Column::Number("AT MOST"),
        Column::Text("VERSION"),
        Column::Text("ADDRESSES"),
        Column::Text("LAST SEEN"),
    ];
    let rows = movers.iter().map(|mover| {
        let state = match (&mover.refused, mover.connected) {
            (Some(problem), _) => format!("refused: {problem}"),
            (None, true) => "connected".to_owned(),
            (None, false) => "silent".to_owned(),
        };
        [
            mover.name.clone(),
            state,
            mover.running.to_string(),
            if mover.version.is_some() { mover.capacity.to_string() } else { String::new() },
            mover.version.clone().unwrap_or_default(),
            mover.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            mover.last_seen.map(units::time).unwrap_or_default(),
        ]
    });
    table(columns, rows)
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let consequences = format!(
            "The token of mover {} will open nothing any more. What it runs now is broken off, and cleaned up by another.",
            self.name
        );
        if !self.yes && !confirm::ask(context.console, &consequences, "Go on?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        api.remove_mover(&self.name).await?;
        let gone = serde_json::json!({ "name": self.name });
        context.console.result(&gone, || format!("removed mover {}", self.name))?;
        Ok(Exit::Success)
    }
}
