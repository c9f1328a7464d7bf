//! `xenkeep task`: what is backed up, how, and how long it is kept.

use clap::{Args, Subcommand};
use xenkeep_api::{
    BackupType, NewTask, RetentionPolicy, RetryPolicy, Selected, SelectionRequest, Source, StartRequest, Task,
    TaskChange,
};

use super::{
    Context,
    forget::Keep,
    options::{OptionFlags, SourceFlags, shown_options},
    starts,
};
use crate::{
    Exit, confirm,
    output::{Column, details, one_line, table},
    units,
};

/// Tasks: what is backed up, how, and how long it is kept.
#[derive(Debug, Subcommand)]
pub(crate) enum Tasks {
    Create(Box<Create>),
    List(List),
    Show(Named),
    Set(Box<Set>),
    Remove(Remove),
    Start(Start),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  xenkeep task create web1 --client lab --vm web1 --drive 13 --keep-daily 7 --keep-weekly 5
  xenkeep task create all --client lab --all --exclude-tag nobackup --drive 13
  xenkeep task create prod --client lab --tag prod --power-state running --dry-run
  xenkeep task create pool --client lab --meta-data --drive 13 -a http=https
  xenkeep task create db --client lab --vm db --consistency offline --leave-out name:scratch* --before stop-db";

/// Make a task. Its VM must be on the pool; it is followed by its uuid when it is renamed.
#[derive(Debug, Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(crate) struct Create {
    /// Your name for it.
    name: String,
    /// Name or id of the pool.
    #[arg(long, value_name = "NAME")]
    client: String,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    common: Common,
    /// Only show what the source means on the pool today.
    #[arg(long)]
    dry_run: bool,
}

/// What can be said of a task both when it is made and later.
#[derive(Debug, Args)]
struct Common {
    /// How it is read: copy, full or incremental (also FULL, DIFF, INC, COPY).
    #[arg(long = "type", value_name = "TYPE")]
    backup_type: Option<BackupType>,
    /// Number of the drive that its jobs write through, unless a start says otherwise.
    #[arg(long, value_name = "NUMBER")]
    drive: Option<u32>,
    /// Who goes first when jobs wait: higher before lower.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// How often a job that failed is tried again.
    #[arg(long, value_name = "N")]
    retries: Option<u32>,
    /// Seconds before it is.
    #[arg(long, value_name = "SECONDS")]
    retry_wait: Option<u32>,
    /// Minutes after which a job is ended.
    #[arg(long, value_name = "MINUTES")]
    time_limit: Option<u32>,
    /// Whether starts of it do something.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Expert options, as the old system wrote them: http=https.
    #[arg(short = 'a', value_name = "OPTION", id = "expert")]
    expert: Vec<String>,
    #[command(flatten)]
    options: OptionFlags,
    #[command(flatten)]
    keep: Keep,
}

impl Common {
    fn expert(&self) -> Option<String> {
        (!self.expert.is_empty()).then(|| self.expert.join(" "))
    }

    fn retry(&self, old: RetryPolicy) -> Option<RetryPolicy> {
        (self.retries.is_some() || self.retry_wait.is_some()).then(|| RetryPolicy {
            retries: self.retries.unwrap_or(old.retries),
            wait_seconds: self.retry_wait.unwrap_or(old.wait_seconds),
        })
    }
}

/// List tasks.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// Show a task.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Name or id of the task.
    name: String,
}

/// Change a task; what is not said stays. Jobs that it has begun go on as they were.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name or id of the task.
    name: String,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    common: Common,
    /// Keep all points from now on.
    #[arg(long)]
    keep_all: bool,
}

/// Remove a task, from its groups too. Its restore points stay.
#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name or id of the task.
    name: String,
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// Start a task and follow its jobs.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Name or id of the task.
    name: String,
    #[command(flatten)]
    how: starts::How,
}

impl Tasks {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::List(List {}) => list(context).await,
            Self::Show(Named { name }) => show(context, &name).await,
            Self::Set(set) => set.run(context).await,
            Self::Remove(remove) => remove.run(context).await,
            Self::Start(start) => start.run(context).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let source = self.source.source()?;
        if self.dry_run {
            let selected = api.select(&self.client, &SelectionRequest { source }).await?;
            context.console.result(&selected, || selection(&selected))?;
            return Ok(Exit::Success);
        }
        let (expert, retry) = (self.common.expert(), self.common.retry(RetryPolicy::default()));
        let policy = RetentionPolicy::from(self.common.keep);
        let new = NewTask {
            name: self.name,
            client: self.client,
            source,
            backup_type: self.common.backup_type.unwrap_or_default(),
            options: self.common.options.apply(Default::default())?,
            expert,
            retention: Some(policy).filter(RetentionPolicy::keeps_something),
            drive: self.common.drive,
            priority: self.common.priority.unwrap_or(0),
            retry: retry.unwrap_or_default(),
            time_limit_minutes: self.common.time_limit,
            enabled: self.common.enabled.unwrap_or(true),
        };
        let task = api.create_task(&new).await?;
        context.console.result(&task, || format!("made task {}\n{}", task.name, shown(&task)))?;
        Ok(Exit::Success)
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let old = api.task(&self.name).await?;
        let (expert, retry) = (self.common.expert(), self.common.retry(old.retry));
        let policy = RetentionPolicy::from(self.common.keep);
        let options = self.common.options.apply(old.options.clone())?;
        let change = TaskChange {
            source: self.source.given().then(|| self.source.source()).transpose()?,
            backup_type: self.common.backup_type,
            options: Some(options).filter(|options| *options != old.options),
            expert,
            retention: if self.keep_all {
                Some(RetentionPolicy::default())
            } else {
                Some(policy).filter(RetentionPolicy::keeps_something)
            },
            drive: self.common.drive,
            priority: self.common.priority,
            retry,
            time_limit_minutes: self.common.time_limit,
            enabled: self.common.enabled,
        };
        let task = api.set_task(&old.id.to_string(), &change).await?;
        context.console.result(&task, || shown(&task))?;
        Ok(Exit::Success)
    }
}

impl Start {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let request: StartRequest = self.how.request();
        let started = api.start_task(&self.name, &request).await?;
        starts::see_through(context, &api, started, self.how.detach).await
    }
}

impl Remove {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let task = api.task(&self.name).await?;
        let consequences = format!("Task {} ({}) will be removed. Its restore points stay.", task.name, source(&task));
        if !self.yes && !confirm::ask(context.console, &consequences, "Go on?")? {
            context.console.note("nothing was done");
            return Ok(Exit::Failed);
        }
        api.remove_task(&task.id.to_string()).await?;
        context.console.result(&task, || format!("removed task {}", task.name))?;
        Ok(Exit::Success)
    }
}

async fn list(context: &Context) -> anyhow::Result<Exit> {
    let tasks = context.api()?.tasks().await?;
    context.console.result(&tasks, || listing(&tasks))?;
    Ok(Exit::Success)
}

fn listing(tasks: &[Task]) -> String {
    if tasks.is_empty() {
        return "no tasks yet: make one with `xenkeep task create`".to_owned();
    }
    let columns = [
        Column::Text("NAME"),
        Column::Text("CLIENT"),
        Column::Text("SOURCE"),
        Column::Text("TYPE"),
        Column::Number("DRIVE"),
        Column::Number("PRIORITY"),
        Column::Text("ENABLED"),
    ];
    let rows = tasks.iter().map(|task| {
        [
            task.name.clone(),
            task.client_name.clone(),
            source(task),
            task.backup_type.to_string(),
            task.drive.map(|drive| drive.to_string()).unwrap_or_default(),
            task.priority.to_string(),
            if task.enabled { "yes" } else { "no" }.to_owned(),
        ]
    });
    table(columns, rows)
}

async fn show(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let task = context.api()?.task(name).await?;
    context.console.result(&task, || shown(&task))?;
    Ok(Exit::Success)
}

fn source(task: &Task) -> String {
    one_line(&task.source.to_string())
}

fn shown(task: &Task) -> String {
    let uuid = match &task.source {
        Source::Vm { uuid, .. } => uuid.clone().unwrap_or_default(),
        _ => String::new(),
    };
    details([
        ("name", task.name.clone()),
        ("id", task.id.to_string()),
        ("client", task.client_name.clone()),
        ("source", source(task)),
        ("uuid", uuid),
        ("type", task.backup_type.to_string()),
        ("options", shown_options(&task.options)),
        ("kept", task.retention.as_ref().map_or_else(|| "all points".to_owned(), policy)),
        ("drive", task.drive.map(|drive| drive.to_string()).unwrap_or_default()),
        ("priority", task.priority.to_string()),
        ("retries", format!("{}, after {} s", task.retry.retries, task.retry.wait_seconds)),
        ("time limit", task.time_limit_minutes.map(|minutes| format!("{minutes} min")).unwrap_or_default()),
        ("enabled", if task.enabled { "yes" } else { "no" }.to_owned()),
        ("made", units::time(task.created_at)),
    ])
}

/// `last 3, daily 7`.
fn policy(policy: &RetentionPolicy) -> String {
    let counts = [
        ("last", policy.keep_last),
        ("hourly", policy.keep_hourly),
        ("daily", policy.keep_daily),
        ("weekly", policy.keep_weekly),
        ("monthly", policy.keep_monthly),
        ("yearly", policy.keep_yearly),
    ];
    let counts = counts.into_iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!("{word} {count}"));
    let within = policy.keep_within.map(|within| format!("within {within}"));
    counts.chain(within).collect::<Vec<_>>().join(", ")
}

/// What a source means today.
fn selection(selected: &Selected) -> String {
    if selected.vms.is_empty() && selected.hosts.is_empty() {
        return "no VM and no host fits today".to_owned();
    }
    let columns = [Column::Text("NAME"), Column::Text("STATE"), Column::Text("TAGS"), Column::Text("UUID")];
    let vms = selected
        .vms
        .iter()
        .map(|vm| [one_line(&vm.name), vm.power_state.to_string(), one_line(&vm.tags.join(", ")), vm.uuid.clone()]);
    let hosts =
        selected.hosts.iter().map(|host| [one_line(&host.name), "host".to_owned(), String::new(), host.uuid.clone()]);
    table(columns, vms.chain(hosts))
}

#[cfg(test)]
mod tests;
