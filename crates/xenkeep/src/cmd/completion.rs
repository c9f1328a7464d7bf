//! `xenkeep completion`: completion of the command line by a shell.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, Exit};

const EXAMPLES: &str = "\
Examples:
  xenkeep completion bash > /etc/bash_completion.d/xenkeep
  xenkeep completion fish > ~/.config/fish/completions/xenkeep.fish";

/// Print the completion script of a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completion {
    /// The shell.
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> anyhow::Result<Exit> {
        let mut script = Vec::new(); // clap_complete panics when a pipe breaks
        clap_complete::generate(self.shell, &mut Cli::command(), "xenkeep", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(Exit::Success)
    }
}
