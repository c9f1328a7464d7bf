//! `xenkeep point`: restore points.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use xenkeep_api::{
    Datastore, DatastoreId, Point, PointConsistency, PointDamage, PointFilter, PointKind, PointSummary, ProtectRequest,
    QuiescedBy,
};

use super::{
    Context,
    backups::{left_out, short},
    forget::Forget,
    hosts, metadata,
    upkeep::lost,
};
use crate::{
    Exit,
    output::{Column, details, one_line, table},
    progress::word,
    units,
};

/// Restore points: finished backups.
#[derive(Debug, Subcommand)]
pub(crate) enum Points {
    List(List),
    Show(Show),
    Forget(Forget),
    Protect(Protect),
    Unprotect(Unprotect),
}

/// List restore points, newest first.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those of this pool (name or id).
    #[arg(long, value_name = "NAME")]
    client: Option<String>,
    /// Only those of this VM (name or uuid).
    #[arg(long, value_name = "NAME|UUID")]
    vm: Option<String>,
    /// Only those in this datastore (name or id).
    #[arg(long, value_name = "NAME")]
    datastore: Option<String>,
}

/// Show a restore point with its disks.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Id of the point, or as much of it as is unique.
    id: String,
}

/// Protect a restore point: nothing removes it, by hand or by a policy, until that is lifted.
#[derive(Debug, Args)]
pub(crate) struct Protect {
    /// Id of the point, or as much of it as is unique.
    id: String,
    /// Why, for whoever wants to remove it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Lift the protection of a restore point.
#[derive(Debug, Args)]
pub(crate) struct Unprotect {
    /// Id of the point, or as much of it as is unique.
    id: String,
}

impl Points {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let api = context.api()?;
        match self {
            Self::List(List { client, vm, datastore }) => {
                let points = api.points(&PointFilter { client, vm, datastore }).await?;
                let datastores = if context.console.is_json() { Vec::new() } else { api.datastores().await? };
                context.console.result(&points, || listing(&points, &names(&datastores)))?;
            }
            Self::Show(Show { id }) => {
                let point = api.point(&id).await?;
                let datastores = if context.console.is_json() { Vec::new() } else { api.datastores().await? };
                context.console.result(&point, || shown(&point, &names(&datastores)))?;
            }
            Self::Forget(forget) => return forget.run(context).await,
            Self::Protect(Protect { id, reason }) => {
                let point = api.protect_point(&id, &ProtectRequest { reason }).await?;
                context.console.result(&point, || protected(&point))?;
            }
            Self::Unprotect(Unprotect { id }) => {
                let point = api.unprotect_point(&id).await?;
                context.console.result(&point, || protected(&point))?;
            }
        }
        Ok(Exit::Success)
    }
}

pub(super) type Names = HashMap<DatastoreId, String>;

pub(super) fn names(datastores: &[Datastore]) -> Names {
    datastores.iter().map(|one| (one.id, one.name.clone())).collect()
}

pub(super) fn name_of(id: DatastoreId, names: &Names) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

fn listing(points: &[Point], names: &Names) -> String {
    if points.is_empty() {
        return "no restore points".to_owned();
    }
    let columns = [
        Column::Text("ID"),
        Column::Text("CLIENT"),
        Column::Text("VM"),
        Column::Text("TAKEN"),
        Column::Number("DISKS"),
        Column::Number("SIZE"),
        Column::Number("NEW"),
        Column::Number("STORED"),
        Column::Text("DATASTORE"),
        Column::Text("NOTE"),
    ];
    let rows = points.iter().map(|point| {
        [
            short(&point.id).to_owned(),
            point.client_name.clone(),
            source(point),
            units::time(point.taken_at),
            point.disks.len().to_string(),
            units::size(point.size_bytes),
            units::size(point.new_bytes),
            units::size(point.stored_bytes),
            name_of(point.datastore, names),
            note(point),
        ]
    });
    table(columns, rows)
}

/// What the point was read from; a VM needs no word.
fn source(point: &Point) -> String {
    match point.kind {
        PointKind::Vm => point.source_name.clone(),
        PointKind::MetaData => format!("meta-data of {}", point.source_name),
        PointKind::Host => format!("host {}", point.source_name),
    }
}

/// What is out of the ordinary about a point.
fn note(point: &Point) -> String {
    let words = [(point.damage.is_some(), "damaged"), (point.protection.is_some(), "protected")];
    words.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect::<Vec<_>>().join(", ")
}

fn protected(point: &Point) -> String {
    match &point.protection {
        Some(protection) => format!("point {} is protected: {}", short(&point.id), one_line(&protection.reason)),
        None => format!("point {} is not protected any more", short(&point.id)),
    }
}

fn damaged(damage: &PointDamage) -> String {
    let lost = lost(damage.whole, &damage.disks, &damage.files);
    format!("{lost} (found {} by a {} verification)", units::time(damage.found_at), word(&damage.depth))
}

fn shown(point: &Point, names: &Names) -> String {
    let (name, uuid) = match point.kind {
        PointKind::Vm => ("vm", "vm uuid"),
        PointKind::MetaData => ("pool", "pool uuid"),
        PointKind::Host => ("host", "host uuid"),
    };
    let head = details([
        ("id", point.id.clone()),
        ("kind", word(&point.kind)),
        (name, point.source_name.clone()),
        (uuid, point.source_uuid.clone()),
        ("client", point.client_name.clone()),
        ("datastore", name_of(point.datastore, names)),
        ("taken", units::time(point.taken_at)),
        ("size", units::size(point.size_bytes)),
        ("new", units::size(point.new_bytes)),
        ("stored", units::size(point.stored_bytes)),
        ("type", point.backup_type.map(|kind| kind.to_string()).unwrap_or_default()),
        ("consistency", point.consistency.map(consistency).unwrap_or_default()),
        ("left out", left_out(point)),
        ("job", point.job.to_string()),
        ("protected", point.protection.as_ref().map(|protection| protection.reason.clone()).unwrap_or_default()),
        ("damaged", point.damage.as_ref().map(damaged).unwrap_or_default()),
    ]);
    match &point.summary {
        Some(PointSummary::MetaData(summary)) => return format!("{head}\n{}", metadata::shown(summary)),
        Some(PointSummary::Host(summary)) => return format!("{head}\n{}", hosts::shown(summary)),
        None => {}
    }
    let columns = [
        Column::Text("DISK"),
        Column::Text("NAME"),
        Column::Number("SIZE"),
        Column::Text("BOOTABLE"),
        Column::Text("VDI UUID"),
    ];
    let rows = point.disks.iter().map(|disk| {
        [
            disk.position.clone(),
            disk.name.clone(),
            units::size(disk.size_bytes),
            if disk.bootable { "yes" } else { "no" }.to_owned(),
            disk.vdi_uuid.clone(),
        ]
    });
    format!("{head}\n{}", table(columns, rows))
}

/// `offline`, `quiesced by the guest`, `memory (2 GiB)`, or `crash (quiesced-preferred was asked for)`.
fn consistency(of: PointConsistency) -> String {
    let by = match of.by {
        Some(QuiescedBy::Pool) => " by the pool",
        Some(QuiescedBy::Guest) => " by the guest",
        None => "",
    };
    let memory = of.memory_bytes.map(|bytes| format!(" ({})", units::size(bytes))).unwrap_or_default();
    let asked = if of.asked == of.reached { String::new() } else { format!(" ({} was asked for)", of.asked) };
    format!("{}{by}{memory}{asked}", of.reached)
}

#[cfg(test)]
mod tests;
