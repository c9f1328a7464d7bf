//! `xenkeep datastore`: where backups lie.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use xenkeep_api::{Datastore, LastPrune, LastVerify, MoverChoice, RecoverySheet, S3Place};

use super::{
    Context,
    places::Place,
    stores::{Attach, Keys, Rescan},
    upkeep::{Copy, Prune, Verify},
};
use crate::{
    Exit,
    output::{Column, details, table},
    progress::word,
    units,
};

/// Datastores: where backups lie.
#[derive(Debug, Subcommand)]
pub(crate) enum Datastores {
    Create(Create),
    Attach(Attach),
    Rescan(Rescan),
    #[command(subcommand)]
    Key(Keys),
    List(List),
    Show(Show),
    Set(Set),
    RecoverySheet(Sheet),
    Prune(Prune),
    Verify(Verify),
    Copy(Copy),
}

const CREATE_NOTES: &str = "\
Examples:
  xenkeep datastore create store --path /backup/store
  xenkeep datastore create offsite --s3-endpoint https://s3.example:9000 --bucket backup --access-key-file key.txt

The place becomes an encrypted restic repository (format version 2). Its key is made now and kept, sealed, in the \
server's data directory: without that directory, or a copy of it, nobody can read the backups.";

/// Create a datastore in a directory or on an S3 server.
#[derive(Debug, Args)]
#[command(after_help = CREATE_NOTES)]
pub(crate) struct Create {
    /// Your name for it.
    name: String,
    #[command(flatten)]
    place: Place,
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

/// Change what is known of a datastore.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// Name or id of the datastore.
    name: String,
    /// A mover that reaches it, may be given several times; `any` when all do. A directory is reached by the machines on
    /// which it is, or is mounted, at this path.
    #[arg(long = "mover", value_name = "NAME", required = true)]
    movers: Vec<String>,
}

const SHEET_NOTES: &str = "\
Examples:
  xenkeep datastore recovery-sheet store -o store-recovery.txt

Keep it in a safe, away from this server: whoever has it can read all backups in the datastore, and without it or the \
server's data directory nobody can.";

/// Write down what reads the backups when xenkeep is gone: address, password, restic's commands.
#[derive(Debug, Args)]
#[command(after_help = SHEET_NOTES)]
pub(crate) struct Sheet {
    /// Name or id of the datastore.
    name: String,
    /// New file to write it to, readable by you alone; without it, it is printed.
    #[arg(short, long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

impl Datastores {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match self {
            Self::Create(create) => create.run(context).await,
            Self::Attach(attach) => attach.run(context).await,
            Self::Rescan(rescan) => rescan.run(context).await,
            Self::Key(keys) => keys.run(context).await,
            Self::List(List {}) => list(context).await,
            Self::Show(Show { name }) => show(context, &name).await,
            Self::Set(set) => set.run(context).await,
            Self::RecoverySheet(sheet) => sheet.run(context).await,
            Self::Prune(prune) => prune.run(context).await,
            Self::Verify(verify) => verify.run(context).await,
            Self::Copy(copy) => copy.run(context).await,
        }
    }
}

impl Create {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let datastore = context.api()?.create_datastore(&self.place.datastore(self.name)?).await?;
        context.console.result(&datastore, || {
            format!(
                "created datastore {} in {} (repository {})",
                datastore.name, datastore.path, datastore.repository_id
            )
        })?;
        Ok(Exit::Success)
    }
}

impl Set {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let choice = MoverChoice { movers: self.movers };
        let datastore = context.api()?.set_datastore_movers(&self.name, &choice).await?;
        context.console.result(&datastore, || {
            format!("datastore {} is reached by {}", datastore.name, reached_by(&datastore.movers))
        })?;
        Ok(Exit::Success)
    }
}

fn reached_by(movers: &[String]) -> String {
    if movers.is_empty() { "any mover".to_owned() } else { movers.join(", ") }
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
    let columns = [
        Column::Text("NAME"),
        Column::Text("PATH"),
        Column::Number("POINTS"),
        Column::Number("USED"),
        Column::Text("VERIFIED"),
        Column::Text("OUTCOME"),
    ];
    let rows = datastores.iter().map(|one| {
        let state = &one.state;
        let last = [&state.verified_full, &state.verified_quick].into_iter().flatten().max_by_key(|last| last.at);
        [
            one.name.clone(),
            one.path.clone(),
            state.points.to_string(),
            state.stored_bytes.map(units::size).unwrap_or_default(),
            last.map(|last| units::time(last.at)).unwrap_or_default(),
            last.map(|last| format!("{}: {}", word(&last.request.depth), outcome(last))).unwrap_or_default(),
        ]
    });
    table(columns, rows)
}

fn outcome(last: &LastVerify) -> String {
    match (last.damaged_files, last.touched_points) {
        (0, 0) => "good".to_owned(),
        (files, 0) => format!("{files} files damaged, no point touched"),
        (files, points) => format!("{files} files damaged, {points} points touched"),
    }
}

fn last_verify(last: &LastVerify) -> String {
    let part = if last.request.is_whole() { "" } else { " (a part)" };
    format!("{}: {}{part}", units::time(last.at), outcome(last))
}

fn last_prune(last: &LastPrune) -> String {
    format!("{}: {} freed", units::time(last.at), units::size(last.deleted_bytes))
}

async fn show(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let datastore = context.api()?.datastore(name).await?;
    context.console.result(&datastore, || shown(&datastore))?;
    Ok(Exit::Success)
}

fn shown(datastore: &Datastore) -> String {
    let state = &datastore.state;
    details([
        ("name", datastore.name.clone()),
        ("id", datastore.id.to_string()),
        ("path", datastore.path.clone()),
        ("repository", datastore.repository_id.clone()),
        ("movers", reached_by(&datastore.movers)),
        ("created", units::time(datastore.created_at)),
        ("points", state.points.to_string()),
        ("used", state.stored_bytes.map(units::size).unwrap_or_default()),
        ("verified quick", state.verified_quick.as_ref().map(last_verify).unwrap_or_default()),
        ("verified full", state.verified_full.as_ref().map(last_verify).unwrap_or_default()),
        ("pruned", state.pruned.as_ref().map(last_prune).unwrap_or_default()),
        ("reclaimable", state.pruned.as_ref().map(|last| units::size(last.reclaimable_bytes)).unwrap_or_default()),
    ])
}

impl Sheet {
    async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let sheet = context.api()?.recovery_sheet(&self.name).await?;
        let Some(path) = self.output_file else {
            context.console.result(&sheet, || sheet_text(&sheet))?;
            return Ok(Exit::Success);
        };
        let mut file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        file.write_all(sheet_text(&sheet).as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))?;
        let written = serde_json::json!({ "datastore": sheet.datastore, "path": path });
        context.console.result(&written, || format!("wrote {}: keep it in a safe", path.display()))?;
        Ok(Exit::Success)
    }
}

fn sheet_text(sheet: &RecoverySheet) -> String {
    let RecoverySheet { datastore, path, s3, repository_id, password } = sheet;
    let (about, access) = match s3 {
        None => (String::new(), String::new()),
        Some(s3) => {
            let ca = s3
                .ca_certificate
                .as_ref()
                .map_or("", |_| "\ncertificate of its authority: give it to restic with --cacert");
            let about = format!(
                "\naccess key  {} (its secret is not written here: whoever runs the S3 server has it, or makes a new one){ca}",
                s3.access_key_id
            );
            let region =
                s3.region.as_ref().map_or(String::new(), |region| format!("  export AWS_DEFAULT_REGION={region}\n"));
            let access = format!(
                "  export AWS_ACCESS_KEY_ID={}\n  export AWS_SECRET_ACCESS_KEY=...\n{region}",
                s3.access_key_id
            );
            (about, access)
        }
    };
    format!(
        "\
Recovery sheet of the xenkeep datastore {datastore}

repository  {path}
id          {repository_id}
password    {password}{about}

The datastore is a restic repository (format version 2). On any machine that sees it and has restic 0.14 or later:

  export RESTIC_REPOSITORY={path}
  export RESTIC_PASSWORD={password}
{access}  restic snapshots --tag xenkeep
  restic restore SNAPSHOT --target /tmp/restored

A disk is the directory disks/N of a restore point, in pieces; put together in the order of their names they are the raw
disk, byte by byte:

  LC_ALL=C; cat /tmp/restored/CLIENT/VM-UUID/disks/0/*/*/* > disk0.raw
  qemu-img convert -f raw -O vpc disk0.raw disk0.vhd

A new xenkeep finds all restore points in it, with this password in a file:

  xenkeep datastore attach {datastore} {attach} --key-file FILE",
        password = password.expose(),
        attach = place_flags(path, s3.as_ref()),
    )
}

/// What says on a command line where a datastore lies.
fn place_flags(path: &str, s3: Option<&S3Place>) -> String {
    let Some(s3) = s3 else { return format!("--path {path}") };
    let mut flags = s3.endpoint.as_ref().map_or(String::new(), |endpoint| format!("--s3-endpoint {endpoint} "));
    flags += &format!("--bucket {}", s3.bucket);
    if !s3.prefix.is_empty() {
        flags += &format!(" --prefix '{}'", s3.prefix);
    }
    if let Some(region) = &s3.region {
        flags += &format!(" --region {region}");
    }
    flags
}

#[cfg(test)]
mod tests;
