//! `xenkeep restore`: VMs, or a pool's database, or a host.

use clap::{Args, Subcommand};

use super::{Context, hosts::RestoreHost, metadata::RestoreMetaData, restores};
use crate::Exit;

/// Restore VMs, a pool's database, or a host.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct AnyRestore {
    #[command(flatten)]
    vm: Option<restores::Restore>,
    #[command(subcommand)]
    other: Option<Other>,
}

/// What is no VM.
#[derive(Debug, Subcommand)]
enum Other {
    MetaData(RestoreMetaData),
    Host(RestoreHost),
}

impl AnyRestore {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        match (self.other, self.vm) {
            (Some(Other::MetaData(restore)), _) => restore.run(context).await,
            (Some(Other::Host(restore)), _) => restore.run(context).await,
            (None, Some(restore)) => restore.run(context).await,
            (None, None) => anyhow::bail!("there is nothing to restore"),
        }
    }
}
