//! `xenkeep datastore`: where backups lie.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use xenkeep_api::{Datastore, NewDatastore};

use super::Context;
use crate::{
    Exit,
    output::{Column, details, table},
    report::Usage,
    units,
};

/// Datastores: where backups lie.
#[derive(Debug, Subcommand)]
pub(crate) enum Datastores {
    Create(Create),
    List(List),
    Show(Show),
}

const CREATE_NOTES: &str = "\
Examples:
  xenkeep datastore create store --path /backup/store

The directory becomes an encrypted restic repository (format version 2). Its key is made now and kept, sealed, in the \
server's data directory: without that directory, or a copy of it, nobody can read the backups.";

/// Create a datastore in a directory.
#[derive(Debug, Args)]
#[command(after_help = CREATE_NOTES)]
pub(crate) struct Create {
    /// Your name for it.
    name: String,
    /// Directory on the server's machine, missing or empty.
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
}

/// List the datastores.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Show what is known of a datastore.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name or id of the datastore.
    name: String,
}

impl Datastores {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List(List {}) => list(context).await,
            Self::Show(Show { name }) => show(context, &name).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        // The server has a working directory of its own: what is meant is ours, and must be said in full.
        let path = std::path::absolute(&self.path)?;
        let path = path
            .into_os_string()
            .into_string()
            .map_err(|path| Usage::new(format!("{} is not UTF-8", path.display())).hint("choose another directory"))?;
        let datastore = context.api()?.create_datastore(&NewDatastore { name: self.name, path }).await?;
        context.console.result(&datastore, || {
            format!(
                "created datastore {} in {} (repository {})",
                datastore.name, datastore.path, datastore.repository_id
            )
        })?;
        Ok(Exit::Success)
    }
}

async fn list(context: &Context) -> anyhow::Result<Exit> {
    let datastores = context.api()?.datastores().await?;
    context.console.result(&datastores, || listing(&datastores))?;
    Ok(Exit::Success)
}

fn listing(datastores: &[Datastore]) -> String {
    if datastores.is_empty() {
        return "no datastores yet: create one with `xenkeep datastore create`".to_owned();
    }
    let columns = [Column::Text("NAME"), Column::Text("PATH"), Column::Text("CREATED")];
    let rows = datastores.iter().map(|one| [one.name.clone(), one.path.clone(), units::time(one.created_at)]);
    table(columns, rows)
}

async fn show(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let datastore = context.api()?.datastore(name).await?;
    context.console.result(&datastore, || shown(&datastore))?;
    Ok(Exit::Success)
}

fn shown(datastore: &Datastore) -> String {
    details([
        ("name", datastore.name.clone()),
        ("id", datastore.id.to_string()),
        ("path", datastore.path.clone()),
        ("repository", datastore.repository_id.clone()),
        ("created", units::time(datastore.created_at)),
    ])
}
