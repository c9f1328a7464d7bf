//! `xenkeep datastore attach`, `rescan` and `key`: repositories that are there already, and their passwords.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use xenkeep_api::{AttachRequest, DatastoreKey, Job, JobResult, NewKey, RescanSummary, Secret};

use super::{Context, jobs, places::Place};
use crate::{
    Exit,
    follow::OnInterrupt,
    output::{Column, table},
    password::PasswordSource,
    report::Usage,
    units,
};

const ATTACH_NOTES: &str = "\
Examples:
  xenkeep datastore attach store --path /backup/store --key-file password.txt
  xenkeep datastore attach offsite --s3-endpoint https://s3.example:9000 --bucket backup --key-file password.txt

The password stands on the recovery sheet. All restore points in the datastore are found, also those of pools that this \
server does not know: add the pool, or another one, and name it with `xenkeep restore --client`.";

/// Make a datastore known that is there already, and find its restore points.
#[derive(Debug, Args)]
#[command(after_help = ATTACH_NOTES)]
pub(crate) struct Attach {
    /// Your name for it.
    name: String,
    #[command(flatten)]
    place: Place,
    /// File with a password of the repository in its first line, or `-` for stdin.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Queue the search for restore points and don't wait.
    #[arg(long)]
    detach: bool,
}

const RESCAN_NOTES: &str = "\
Examples:
  xenkeep datastore rescan store

Restore points that the server does not know are added to its catalogue, those that are gone are taken out of it, and \
those that can't be read are named. The datastore itself is not changed.

Exit codes: 0 all can be read, 3 some can't.";

/// Make the catalogue agree with what is in a datastore.
#[derive(Debug, Args)]
#[command(after_help = RESCAN_NOTES)]
pub(crate) struct Rescan {
    /// Name or id of the datastore.
    name: String,
    /// Queue it and don't wait.
    #[arg(long)]
    detach: bool,
}

/// Passwords of a datastore: each opens it, for xenkeep and for restic.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    List(ListKeys),
    Add(AddKey),
    Remove(RemoveKey),
}

/// List the passwords of a datastore: what they are called, not they themselves.
#[derive(Debug, Args)]
pub(crate) struct ListKeys {
    /// Name or id of the datastore.
    datastore: String,
}

const ADD_NOTES: &str = "\
Examples:
  xenkeep datastore key add store --name auditor --password-file auditor.txt

Whoever has it can read all backups in the datastore, and change them, with restic. To take that away again, remove the \
password; who may have copied the datastore's master key in the meantime can only be shut out of a new datastore.";

/// Add a password to a datastore.
#[derive(Debug, Args)]
#[command(after_help = ADD_NOTES)]
pub(crate) struct AddKey {
    /// Name or id of the datastore.
    datastore: String,
    /// What it shall be called: whose it is, or where it is kept.
    #[arg(long, value_name = "NAME")]
    name: String,
    #[command(flatten)]
    password: PasswordSource,
}

/// Remove a password of a datastore; the one that xenkeep itself uses stays.
#[derive(Debug, Args)]
pub(crate) struct RemoveKey {
    /// Name or id of the datastore.
    datastore: String,
    /// Id of the key, or as much of it as is unique.
    key: String,
}

impl Attach {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        if self.place.reads_stdin() && self.key_file == Path::new("-") {
            return Err(Usage::new("stdin can hold either the access key or the password, not both")
                .hint("put one of them into a file")
                .into());
        }
        let datastore = self.place.datastore(self.name)?;
        let password = first_line(&self.key_file)?;
        let api = context.api()?;
        let attached = api.attach_datastore(&AttachRequest { datastore, password }).await?;
        let (datastore, job) = (attached.datastore, attached.job);
        context.console.note(&format!(
            "attached datastore {} at {} (repository {})",
            datastore.name, datastore.path, datastore.repository_id
        ));
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }
}

impl Rescan {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        let job = api.rescan_datastore(&self.name).await?;
        if self.detach {
            return jobs::queued(context, &job);
        }
        jobs::see_through(context, &api, job, OnInterrupt::Cancel).await
    }
}

impl Keys {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        match self {
            Self::List(ListKeys { datastore }) => {
                let keys = api.datastore_keys(&datastore).await?;
                context.console.result(&keys, || listing(&keys))?;
            }
            Self::Add(AddKey { datastore, name, password }) => {
                let password = password.read(&format!("new password of datastore {datastore}"))?;
                let keys = api.add_datastore_key(&datastore, &NewKey { name, password }).await?;
                context.console.result(&keys, || listing(&keys))?;
            }
            Self::Remove(RemoveKey { datastore, key }) => {
                api.remove_datastore_key(&datastore, &key).await?;
                let removed = serde_json::json!({ "datastore": datastore, "key": key });
                context.console.result(&removed, || format!("removed key {key} of datastore {datastore}"))?;
            }
        }
        Ok(Exit::Success)
    }
}

fn first_line(file: &Path) -> anyhow::Result<Secret> {
    const MAX_BYTES: u64 = 64 << 10;
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text).context("stdin can't be read")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
        let read = opened.take(MAX_BYTES).read_to_string(&mut text);
        read.with_context(|| format!("cannot read {}", file.display()))?;
    }
    let text = Secret::new(text); // wiped when it is dropped
    match text.expose().lines().next().map(str::trim_end) {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(Usage::new(format!("the first line of {} is empty", file.display())).into()),
    }
}

fn listing(keys: &[DatastoreKey]) -> String {
    let columns =
        [Column::Text("KEY"), Column::Text("NAME"), Column::Text("ADDED"), Column::Text("ON"), Column::Text("IN USE")];
    let rows = keys.iter().map(|key| {
        [
            key.id.get(..8).unwrap_or(&key.id).to_owned(),
            key.name.clone(),
            units::time(key.created_at),
            key.host.clone(),
            if key.in_use { "by xenkeep".to_owned() } else { String::new() },
        ]
    });
    table(columns, rows)
}

/// What a rescan has found.
pub(super) fn summary(job: &Job) -> Option<String> {
    match job.result.as_ref()? {
        JobResult::Rescanned { rescan } => Some(rescanned(&job.subject, rescan)),
        _ => None,
    }
}

fn rescanned(datastore: &str, rescan: &RescanSummary) -> String {
    let RescanSummary { found, added, gone, unreadable, .. } = rescan;
    let mut text = format!("datastore {datastore}: {found} restore points, {} of them new to this server", added.len());
    if !gone.is_empty() {
        text += &format!("; {} are gone", gone.len());
    }
    if !unreadable.is_empty() {
        text += &format!("; {} can't be read", unreadable.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::samples;

    #[test]
    fn keys_and_rescans_are_told() {
        let key = |id: &str, in_use| DatastoreKey {
            id: id.repeat(8),
            name: "xenkeep".into(),
            host: "backup1".into(),
            created_at: samples::at(0),
            in_use,
        };
        insta::assert_snapshot!("keys", listing(&[key("3f2a91c0", true), key("77b1d0e2", false)]));
        let rescan = RescanSummary {
            found: 12,
            added: vec![samples::point()],
            gone: vec!["0".repeat(64)],
            ..RescanSummary::default()
        };
        assert_eq!(
            rescanned("store", &rescan),
            "datastore store: 12 restore points, 1 of them new to this server; 1 are gone"
        );
    }
}
