//! `xenkeep group`: tasks that start together.

use clap::{Args, Subcommand};
use xenkeep_api::{Group, GroupChange, NewGroup};

use super::{Context, starts};
use crate::{
    Exit, confirm,
    output::{Column, details, table},
    units,
};

/// Groups: tasks that start together.
#[derive(Debug, Subcommand)]
pub(crate) enum Groups {
    Create(Create),
    List(List),
    Show(Named),
    Add(Members),
    RemoveTask(Members),
    Remove(Remove),
    Start(Start),
}

/// Make a group.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Your name for it.
    name: String,
    /// Names or ids of its tasks.
    tasks: Vec<String>,
}

/// List groups.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Show a group.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name of the group.
    name: String,
}

/// Which tasks come into a group, or go out of it.
#[derive(Debug, Args)]
pub(crate) struct Members {
    /// Name of the group.
    name: String,
    /// Names or ids of the tasks.
    #[arg(required = true)]
    tasks: Vec<String>,
}

/// Remove a group. Its tasks stay.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name of the group.
    name: String,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

const START_EXAMPLES: &str = "\
Example:
  xenkeep group start vms --drive 13

The jobs run in order of priority, then of name, as many at once as the drive has channels.";

/// Start all tasks of a group and follow their jobs.
#[derive(Debug, Args)]
#[command(after_help = START_EXAMPLES)]
pub(crate) struct Start {
    /// Name of the group.
    name: String,
    #[command(flatten)]
    how: starts::How,
}

impl Groups {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let group = match self {
            Self::Create(Create { name, tasks }) => api.create_group(&NewGroup { name, tasks }).await?,
            Self::List(List {}) => {
                let groups = api.groups().await?;
                context.console.result(&groups, || listing(&groups))?;
                return Ok(Exit::Success);
            }
            Self::Show(Named { name }) => api.group(&name).await?,
            Self::Add(Members { name, tasks: add }) => {
                api.set_group(&name, &GroupChange { add, remove: Vec::new() }).await?
            }
            Self::RemoveTask(Members { name, tasks: remove }) => {
                api.set_group(&name, &GroupChange { add: Vec::new(), remove }).await?
            }
            Self::Remove(remove) => return remove.run(context).await,
            Self::Start(Start { name, how }) => {
                let started = api.start_group(&name, &how.request()).await?;
                return starts::see_through(context, &api, started, how.detach).await;
            }
        };
        context.console.result(&group, || shown(&group))?;
        Ok(Exit::Success)
    }
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let group = api.group(&self.name).await?;
        let consequences = format!("Group {} will be removed. Its tasks stay.", group.name);
        if !self.yes && !confirm::ask(context.console, &consequences, "Go on?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        api.remove_group(&group.name).await?;
        context.console.result(&group, || format!("removed group {}", group.name))?;
        Ok(Exit::Success)
    }
}

fn listing(groups: &[Group]) -> String {
    if groups.is_empty() {
        return "no groups yet: make one with `xenkeep group create`".to_owned();
    }
    let columns = [Column::Text("NAME"), Column::Number("TASKS"), Column::Text("WHICH")];
    let rows = groups.iter().map(|group| [group.name.clone(), group.tasks.len().to_string(), some(&group.tasks)]);
    table(columns, rows)
}

/// The first of many names.
fn some(tasks: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = tasks.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if tasks.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

fn shown(group: &Group) -> String {
    details([("name", group.name.clone()), ("tasks", group.tasks.join(", ")), ("made", units::time(group.created_at))])
}
