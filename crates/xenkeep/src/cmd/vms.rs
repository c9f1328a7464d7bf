//! `xenkeep vm`: what is on a pool.

use clap::{Args, Subcommand};
use xenkeep_api::PoolVm;

use super::Context;
use crate::{
    Exit,
    output::{Column, table},
    progress::word,
    units,
};

/// VMs on the pools.
#[derive(Debug, Subcommand)]
pub(crate) enum Vms {
    List(List),
}

/// List the VMs that are on a pool now.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Name or id of the pool.
    client: String,
    /// A line for each disk.
    #[arg(long)]
    disks: bool,
}

impl Vms {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let Self::List(list) = self;
        let vms = context.api()?.vms(&list.client).await?;
        context.console.result(&vms, || match vms.as_slice() {
            [] => format!("no VMs on {}", list.client),
            vms if list.disks => disks(vms),
            vms => listing(vms),
        })?;
        Ok(Exit::Success)
    }
}

fn listing(vms: &[PoolVm]) -> String {
    let columns = [
        Column::Text("NAME"),
        Column::Text("UUID"),
        Column::Text("STATE"),
        Column::Text("TOOLS"),
        Column::Number("DISKS"),
        Column::Number("SIZE"),
        Column::Text("TAGS"),
    ];
    let rows = vms.iter().map(|vm| {
        [
            vm.name.clone(),
            vm.uuid.clone(),
            word(&vm.power_state).to_lowercase(),
            if vm.tools { "yes" } else { "no" }.to_owned(),
            vm.disks.len().to_string(),
            units::size(vm.disks.iter().fold(0, |sum, disk| sum.saturating_add(disk.size_bytes))),
            vm.tags.join(","),
        ]
    });
    table(columns, rows)
}

fn disks(vms: &[PoolVm]) -> String {
    let columns = [
        Column::Text("VM"),
        Column::Text("DISK"),
        Column::Text("NAME"),
        Column::Number("SIZE"),
        Column::Text("SR"),
        Column::Text("VDI UUID"),
    ];
    let rows = vms.iter().flat_map(|vm| {
        vm.disks.iter().map(|disk| {
            [
                vm.name.clone(),
                disk.position.clone(),
                disk.name.clone(),
                units::size(disk.size_bytes),
                disk.sr.clone(),
                disk.vdi_uuid.clone(),
            ]
        })
    });
    table(columns, rows)
}

#[cfg(test)]
mod tests;
