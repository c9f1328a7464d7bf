//! `xenkeep drive`: numbered ways into a datastore, each with so many channels.

use clap::{Args, Subcommand};
use xenkeep_api::{DriveChange, DriveJob, DriveState, NewDrive};

use super::Context;
use crate::{
    Exit,
    output::{Column, details, one_line, table},
    units,
};

/// Drives: numbered ways into a datastore; no more jobs write through one at once than it has channels.
#[derive(Debug, Subcommand)]
pub(crate) enum Drives {
    Create(Create),
    List(List),
    Show(Numbered),
    Set(Set),
    Remove(Numbered),
}

/// Make a drive.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  xenkeep drive create 13 --datastore store --channels 8")]
pub(crate) struct Create {
    /// Its number.
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    number: u32,
    /// Where it leads: name or id of a datastore.
    #[arg(long)]
    datastore: String,
    /// How many jobs may write through it at once.
    #[arg(long, value_name = "N")]
    channels: u32,
    /// Your name for it.
    #[arg(long)]
    name: Option<String>,
}

/// List the drives and how busy they are.
#[derive(Debug, Args)]
pub(crate) struct List {}

/// A drive, by its number.
#[derive(Debug, Args)]
pub(crate) struct Numbered {
    /// Its number.
    number: u32,
}

/// Change a drive. Fewer channels stop no job that runs; 0 lets no further one begin.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Set {
    /// Its number.
    number: u32,
    /// How many jobs may write through it at once.
    #[arg(long, value_name = "N")]
    channels: Option<u32>,
    /// Your name for it; an empty one takes it away.
    #[arg(long)]
    name: Option<String>,
}

impl Drives {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        match self {
            Self::Create(Create { number, datastore, channels, name }) => {
                let drive = api.create_drive(&NewDrive { number, name, datastore, channels }).await?;
                context.console.result(&drive, || format!("made drive {}", described(&drive)))?;
            }
            Self::List(List {}) => {
                let drives = api.drives().await?;
                context.console.result(&drives, || listing(&drives))?;
            }
            Self::Show(Numbered { number }) => {
                let drive = api.drive(number).await?;
                context.console.result(&drive, || shown(&drive))?;
            }
            Self::Set(Set { number, channels, name }) => {
                let drive = api.set_drive(number, &DriveChange { name, channels }).await?;
                context.console.result(&drive, || format!("changed drive {}", described(&drive)))?;
            }
            Self::Remove(Numbered { number }) => {
                api.remove_drive(number).await?;
                let answer = serde_json::json!({"removed": number});
                context.console.result(&answer, || format!("removed drive {number}"))?;
            }
        }
        Ok(Exit::Success)
    }
}

fn described(state: &DriveState) -> String {
    let drive = &state.drive;
    let name = drive.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{}{name}: {} channels into datastore {}", drive.number, drive.channels, drive.datastore_name)
}

fn listing(drives: &[DriveState]) -> String {
    if drives.is_empty() {
        return "no drives; `xenkeep drive create 13 --datastore NAME --channels 8` makes one".to_owned();
    }
    let columns = [
        Column::Number("DRIVE"),
        Column::Text("NAME"),
        Column::Text("DATASTORE"),
        Column::Number("CHANNELS"),
        Column::Number("IN USE"),
        Column::Number("WAITING"),
    ];
    let rows = drives.iter().map(|state| {
        let drive = &state.drive;
        [
            drive.number.to_string(),
            drive.name.clone().unwrap_or_default(),
            drive.datastore_name.clone(),
            drive.channels.to_string(),
            state.running.len().to_string(),
            state.waiting.to_string(),
        ]
    });
    table(columns, rows)
}

fn shown(state: &DriveState) -> String {
    let drive = &state.drive;
    let mut text = details([
        ("drive", drive.number.to_string()),
        ("name", drive.name.clone().unwrap_or_default()),
        ("datastore", drive.datastore_name.clone()),
        ("channels", drive.channels.to_string()),
        ("waiting", state.waiting.to_string()),
        ("created", units::time(drive.created_at)),
    ]);
    text += &channels(state);
    if !state.next.is_empty() {
        text += "\nnext:\n";
        text += &table(
            [Column::Text("JOB"), Column::Text("SUBJECT"), Column::Number("PRIORITY"), Column::Text("WAITS, BECAUSE")],
            state.next.iter().map(|job| {
                let why = job.waiting.as_ref().map(|problem| one_line(&problem.message)).unwrap_or_default();
                [short(job), job.subject.clone(), job.priority.to_string(), why]
            }),
        );
    }
    text
}

/// Each channel: free, or the job in it. Jobs above the channels are there when a drive was narrowed while they ran.
fn channels(state: &DriveState) -> String {
    let count = state.running.len().max(state.drive.channels as usize);
    let columns = [Column::Number("CHANNEL"), Column::Text("JOB"), Column::Text("SUBJECT"), Column::Text("SINCE")];
    table(
        columns,
        (0..count).map(|index| match state.running.get(index) {
            Some(job) => {
                let since = job.started_at.map(units::time).unwrap_or_default();
                [(index + 1).to_string(), short(job), job.subject.clone(), since]
            }
            None => [(index + 1).to_string(), "free".to_owned(), String::new(), String::new()],
        }),
    )
}

fn short(job: &DriveJob) -> String {
    job.job.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests;
