//! The command line as clap sees it: global flags and the tree of commands. Each command's own flags are in [`crate::cmd`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cmd::{
    backups, clients, completion, datastores, drives, exports, groups, jobs, movers, points, reports, schedules,
    server, sources, tasks, vms,
};

const EXAMPLES: &str = "\
A first backup and restore:
  xenkeep server --data ~/xenkeep &
  export XENKEEP_DATA=~/xenkeep
  xenkeep client add lab --address 10.0.0.5 --user root
  xenkeep vm list lab
  xenkeep datastore create store --path /backup/store
  xenkeep backup lab web1 --datastore store
  xenkeep point list
  xenkeep restore 3f2a91c0 --as web1-copy --start

Exit codes: 0 success, 1 failed, 2 wrong usage, 3 done with a warning.";

/// Backup and restore of XenServer and XCP-ng pools.
///
/// `xenkeep server` runs the server; every other command talks to one. A server on this machine is found through its
/// data directory (--data), any other through --server and --token-file.
#[derive(Debug, Parser)]
#[command(name = "xenkeep", version, after_help = EXAMPLES, max_term_width = 100, arg_required_else_help = true)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of a server elsewhere, such as `https://backup.example:7443`.
    #[arg(long, global = true, value_name = "URL", env = "XENKEEP_SERVER", hide_env_values = true)]
    pub(crate) server: Option<String>,

    /// Data directory of a server on this machine: its address and token are found there.
    #[arg(long, global = true, value_name = "DIR", env = "XENKEEP_DATA", hide_env_values = true)]
    #[arg(default_value = "/var/lib/xenkeep")]
    pub(crate) data: PathBuf,

    /// File with the server's API token, instead of the one in the data directory.
    #[arg(long, global = true, value_name = "FILE", env = "XENKEEP_TOKEN_FILE", hide_env_values = true)]
    pub(crate) token_file: Option<PathBuf>,

    /// Certificate that the server must show, as SHA-256 in hex; without it one that this machine's authorities signed.
    #[arg(long, global = true, value_name = "SHA256", env = "XENKEEP_SERVER_CERTIFICATE", hide_env_values = true)]
    pub(crate) server_certificate: Option<String>,

    /// table: for people; json: for programs, one value on stdout, a failure as one on stderr.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
}

/// Form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Server(server::Server),
    #[command(subcommand)]
    Client(clients::Clients),
    #[command(subcommand)]
    Vm(vms::Vms),
    #[command(subcommand)]
    Datastore(datastores::Datastores),
    #[command(subcommand)]
    Drive(drives::Drives),
    #[command(subcommand)]
    Task(tasks::Tasks),
    #[command(subcommand)]
    Group(groups::Groups),
    Backup(backups::Backup),
    #[command(subcommand)]
    Point(points::Points),
    Restore(sources::AnyRestore),
    Export(exports::Export),
    #[command(subcommand)]
    Job(jobs::Jobs),
    Mover(movers::Movers),
    #[command(subcommand)]
    Schedule(schedules::Schedules),
    #[command(subcommand)]
    Report(reports::Reports),
    Completion(completion::Completion),
}

#[cfg(test)]
mod tests;
