//! The commands, one file a noun. Each has its flags and what it does with them.

pub(crate) mod backups;
pub(crate) mod clients;
pub(crate) mod completion;
pub(crate) mod datastores;
pub(crate) mod drives;
pub(crate) mod exports;
pub(crate) mod forget;
pub(crate) mod groups;
mod hosts;
pub(crate) mod jobs;
pub(crate) mod metadata;
pub(crate) mod movers;
pub(crate) mod options;
pub(crate) mod places;
pub(crate) mod points;
pub(crate) mod reports;
pub(crate) mod restores;
pub(crate) mod schedules;
pub(crate) mod server;
pub(crate) mod sources;
pub(crate) mod starts;
pub(crate) mod stores;
pub(crate) mod tasks;
pub(crate) mod upkeep;
pub(crate) mod vms;

#[cfg(test)]
pub(crate) mod samples;

use xenkeep_api::http::ApiClient;

use crate::{
    Cli, Exit,
    cli::{Command, Global},
    connection,
    output::Console,
};

/// What every command but `server` and `completion` needs.
pub(crate) struct Context {
    global: Global,
    pub(crate) console: Console,
}

impl Context {
    /// A client of the server that the flags name.
    pub(crate) fn api(&self) -> anyhow::Result<ApiClient> {
        connection::open(&self.global)
    }
}

pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let context = Context { console: Console::new(cli.global.output), global: cli.global };
    match cli.command {
        Command::Server(server) => server.run(&context).await,
        Command::Client(clients) => clients.run(&context).await,
        Command::Vm(vms) => vms.run(&context).await,
        Command::Datastore(datastores) => datastores.run(&context).await,
        Command::Drive(drives) => drives.run(&context).await,
        Command::Task(tasks) => tasks.run(&context).await,
        Command::Group(groups) => groups.run(&context).await,
        Command::Backup(backup) => backup.run(&context).await,
        Command::Point(points) => points.run(&context).await,
        Command::Restore(restore) => restore.run(&context).await,
        Command::Export(export) => Box::pin(export.run(&context)).await,
        Command::Job(jobs) => jobs.run(&context).await,
        Command::Mover(movers) => movers.run(&context).await,
        Command::Schedule(schedules) => schedules.run(&context).await,
        Command::Report(reports) => reports.run(&context).await,
        Command::Completion(completion) => completion.run(),
    }
}
