//! Tasks: made once what they name has been found on the pool, changed, removed; what a selection takes today.

use xenkeep_api::{
    BackupOptions, Client, Hook, JobResult, JobSpec, NewTask, Problem, RetentionPolicy, Selected, Selection, Source,
    Task, TaskChange, TaskId, Transport, parse_expert,
};

use super::{Engine, names};
use crate::Error;

/// Longest lists in a selection, most disks' rules, most arguments of a hook.
const MAX_LISTED: usize = 500;
/// Longest time that a guest may take to shut down, or a hook to run.
const MAX_WAIT_SECONDS: u32 = 24 * 3600;
/// How long a guest's file systems may be frozen at least and at most.
const MIN_FREEZE_SECONDS: u32 = 5;
const MAX_FREEZE_SECONDS: u32 = 600;
/// Most retries.
const MAX_RETRIES: u32 = 100;

impl Engine {
    /// All tasks, by name.
    pub async fn tasks(&self) -> Result<Vec<Task>, Error> {
        Ok(self.0.catalog.tasks().await?)
    }

    /// The task of a name or an id.
    pub async fn task(&self, name_or_id: &str) -> Result<Task, Error> {
        Ok(self.0.catalog.task(name_or_id).await?)
    }

    /// Makes a task. Its VM, or host, must be on the pool; a VM's uuid is noted down, and its renames are followed by it.
    pub async fn create_task(&self, new: NewTask) -> Result<Task, Error> {
        names::check_name("task", &new.name)?;
        let client = self.client(&new.client).await?;
        let options = with_expert(new.options, new.expert.as_deref())?;
        let task = Task {
            id: TaskId::random(),
            name: new.name,
            client: client.id,
            client_name: client.name.clone(),
            source: new.source,
            backup_type: new.backup_type,
            options,
            retention: new.retention,
            drive: new.drive,
            priority: new.priority,
            retry: new.retry,
            time_limit_minutes: new.time_limit_minutes,
            enabled: new.enabled,
            created_at: self.0.clock.now(),
        };
        self.check_task(&client, &task).await?;
        let task = Task { source: self.resolve_source(&client, task.source).await?, ..task };
        self.0.catalog.insert_task(&task).await?;
        Ok(task)
    }

    /// Changes a task; jobs that it has begun go on as they were.
    pub async fn change_task(&self, name_or_id: &str, change: TaskChange) -> Result<Task, Error> {
        let old = self.task(name_or_id).await?;
        let client = self.client(&old.client.to_string()).await?;
        let options = with_expert(change.options.unwrap_or_else(|| old.options.clone()), change.expert.as_deref())?;
        let retention = match change.retention {
            Some(policy) => Some(policy).filter(RetentionPolicy::keeps_something),
            None => old.retention.clone(),
        };
        let zero_is_none = |number: u32| Some(number).filter(|number| *number > 0);
        let task = Task {
            source: change.source.clone().unwrap_or_else(|| old.source.clone()),
            backup_type: change.backup_type.unwrap_or(old.backup_type),
            options,
            retention,
            drive: change.drive.map_or(old.drive, zero_is_none),
            priority: change.priority.unwrap_or(old.priority),
            retry: change.retry.unwrap_or(old.retry),
            time_limit_minutes: change.time_limit_minutes.map_or(old.time_limit_minutes, zero_is_none),
            enabled: change.enabled.unwrap_or(old.enabled),
            ..old
        };
        self.check_task(&client, &task).await?;
        let task = match change.source {
            Some(source) => Task { source: self.resolve_source(&client, source).await?, ..task },
            None => task,
        };
        self.0.catalog.set_task(&task).await?;
        self.task(&task.id.to_string()).await
    }

    /// Removes a task, from its groups too. Its jobs and restore points stay.
    pub async fn remove_task(&self, name_or_id: &str) -> Result<(), Error> {
        let task = self.task(name_or_id).await?;
        Ok(self.0.catalog.remove_task(task.id).await?)
    }

    /// What a source means on a client's pool at this moment.
    pub async fn select(&self, client: &str, source: Source) -> Result<Selected, Error> {
        let client = self.client(client).await?;
        check_source(&source)?;
        self.selected(&client, source).await
    }

    async fn selected(&self, client: &Client, source: Source) -> Result<Selected, Error> {
        let spec = JobSpec::ExpandSelection { client: client.id, source, order: None };
        match self.run_short(spec, &client.name).await?.result {
            Some(JobResult::Selected { selected }) => Ok(selected),
            _ => Ok(Selected::default()),
        }
    }

    /// A source with what has been found on the pool.
    async fn resolve_source(&self, client: &Client, source: Source) -> Result<Source, Error> {
        match source {
            Source::Vm { vm, .. } => {
                let mut found = self.selected(client, Source::Vm { vm: vm.clone(), uuid: None }).await?.vms;
                match (found.pop(), found.as_slice()) {
                    (Some(one), []) => Ok(Source::Vm { vm: one.name, uuid: Some(one.uuid) }),
                    (Some(last), others) => {
                        let mut uuids: Vec<&str> = others.iter().map(|vm| vm.uuid.as_str()).collect();
                        uuids.push(&last.uuid);
                        uuids.sort_unstable();
                        let (count, pool, uuids) = (uuids.len(), &client.name, uuids.join(", "));
                        let message = format!("pool {pool} has {count} VMs called {vm:?}: {uuids}");
                        let problem = Problem::new("vm.name_ambiguous", message);
                        Err(Error::Conflict(problem.hint("name the VM by its uuid").about(vm)))
                    }
                    (None, _) => {
                        let problem = Problem::new("vm.not_found", format!("pool {} has no VM {vm:?}", client.name));
                        let hint = format!("xenkeep client browse {} shows all VMs", client.name);
                        Err(Error::NotFound(problem.hint(hint).about(vm)))
                    }
                }
            }
            Source::HostBackup { host: Some(host) } => {
                let hosts = self.selected(client, Source::HostBackup { host: None }).await?.hosts;
                if hosts.iter().any(|known| known.name == host || known.uuid == host) {
                    return Ok(Source::HostBackup { host: Some(host) });
                }
                let names: Vec<&str> = hosts.iter().map(|host| host.name.as_str()).collect();
                let problem = Problem::new("host.not_found", format!("pool {} has no host {host:?}", client.name));
                Err(Error::NotFound(problem.hint(format!("there are: {}", names.join(", "))).about(host)))
            }
            other => Ok(other),
        }
    }

    /// What can be said of a task without asking its pool.
    async fn check_task(&self, client: &Client, task: &Task) -> Result<(), Error> {
        check_source(&task.source)?;
        check_options(client, &task.options)?;
        if !matches!(task.source, Source::Vm { .. } | Source::Selection(_)) && !is_plain(&task.options) {
            let problem = Problem::new(
                "task.options_of_vms",
                format!("consistency, disks left out, and hooks are for VMs; {} has none", task.source),
            );
            return Err(Error::Invalid(problem.hint("leave these options out")));
        }
        if task.retention.as_ref().is_some_and(|policy| !policy.keeps_something()) {
            let problem = Problem::new("retention.keeps_nothing", "a policy that keeps nothing is refused");
            return Err(Error::Invalid(
                problem.hint("say how many points are to stay, such as the last 3 or 7 daily ones"),
            ));
        }
        in_range("retries", task.retry.retries, 0, MAX_RETRIES)?;
        in_range("seconds between retries", task.retry.wait_seconds, 0, MAX_WAIT_SECONDS)?;
        if let Some(minutes) = task.time_limit_minutes {
            in_range("minutes of a time limit", minutes, 1, 60 * 24 * 31)?;
        }
        if let Some(drive) = task.drive {
            self.0.catalog.drive(drive).await?;
        }
        Ok(())
    }
}

/// Options with what the expert options add.
fn with_expert(options: BackupOptions, expert: Option<&str>) -> Result<BackupOptions, Error> {
    let transport = expert.map(parse_expert).transpose().map_err(Error::Invalid)?.flatten();
    Ok(BackupOptions { transport: transport.or(options.transport), ..options })
}

/// Nothing in them is about a VM.
fn is_plain(options: &BackupOptions) -> bool {
    BackupOptions { transport: None, ..options.clone() } == BackupOptions::default()
}

fn check_source(source: &Source) -> Result<(), Error> {
    match source {
        Source::Vm { vm, .. } => names::check_label("the name of a VM", vm),
        Source::HostBackup { host: Some(host) } => names::check_label("the name of a host", host),
        Source::HostBackup { host: None } | Source::MetaData => Ok(()),
        Source::Selection(selection) => check_selection(selection),
    }
}

fn check_selection(selection: &Selection) -> Result<(), Error> {
    if !selection.takes_something() {
        let problem = Problem::new("task.empty_selection", "the selection can't take any VM");
        return Err(Error::Invalid(problem.hint("say all, or give a tag, a pattern of names or a power state")));
    }
    let exclude = &selection.exclude;
    for list in [&selection.tags, &selection.names, &exclude.vms, &exclude.tags, &exclude.names] {
        in_range("entries of a list", u32::try_from(list.len()).unwrap_or(u32::MAX), 0, MAX_LISTED as u32)?;
        for text in list {
            names::check_label("each entry of a selection", text)?;
        }
    }
    Ok(())
}

fn check_options(client: &Client, options: &BackupOptions) -> Result<(), Error> {
    if options.transport == Some(Transport::Http) && client.transport == Transport::Https {
        let message = format!("client {} is reached over https: its network is not said to be trusted", client.name);
        let problem = Problem::new("task.http_not_trusted", message);
        return Err(Error::Invalid(problem.hint(
            "over http all disks travel in clear text; who trusts the network says so of the client, with its transport",
        )));
    }
    in_range("seconds for a shutdown", options.offline_wait_seconds, 1, MAX_WAIT_SECONDS)?;
    in_range("seconds of frozen file systems", options.freeze_limit_seconds, MIN_FREEZE_SECONDS, MAX_FREEZE_SECONDS)?;
    in_range("rules for disks", u32::try_from(options.leave_out.len()).unwrap_or(u32::MAX), 0, MAX_LISTED as u32)?;
    for pattern in &options.leave_out {
        names::check_label("each rule for disks", &pattern.to_string())?;
    }
    [&options.before, &options.after].into_iter().flatten().try_for_each(check_hook)
}

/// Only the form: which commands there are, the mover knows.
fn check_hook(hook: &Hook) -> Result<(), Error> {
    let name = &hook.command;
    let fits = !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !fits {
        let problem =
            Problem::new("task.bad_command", "a command before or after a backup is named by its file name alone");
        return Err(Error::Invalid(
            problem.hint("put it into the mover's hooks directory (--hooks-dir); letters, digits, '.', '_', '-'"),
        ));
    }
    in_range("arguments of a command", u32::try_from(hook.arguments.len()).unwrap_or(u32::MAX), 0, MAX_LISTED as u32)?;
    if hook.arguments.iter().any(|argument| argument.len() > 4096 || argument.contains('\0')) {
        let problem =
            Problem::new("task.bad_command", "an argument of a command has at most 4096 bytes, none of them zero");
        return Err(Error::Invalid(problem));
    }
    in_range("seconds for a command", hook.time_limit_seconds, 1, MAX_WAIT_SECONDS)
}

fn in_range(what: &str, number: u32, least: u32, most: u32) -> Result<(), Error> {
    if (least..=most).contains(&number) {
        return Ok(());
    }
    let message = format!("{number} {what} are out of range: {least} to {most}");
    Err(Error::Invalid(Problem::new("task.out_of_range", message)))
}
