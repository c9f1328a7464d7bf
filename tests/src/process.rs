//! Child processes that announce themselves and do not outlive their owner.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// The binary `name` of this build: beside the running program, or one folder above it (tests).
///
/// # Errors
/// When it is not there: `cargo xtask test` and `cargo xtask demo` build it first.
pub fn binary(name: &str) -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    program
        .ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("the binary {name} is not built; run `cargo build --workspace --bins` first"))
}

/// A child process that is killed, and waited for, when its owner goes.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts `command` and reads `key=value` lines from its standard output up to the line `ready`.
    pub(crate) fn start(command: &mut Command) -> Result<(Self, BTreeMap<String, String>)> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let mut running = Self(child.with_context(|| format!("cannot start {:?}", command.get_program()))?);
        let stdout = running.0.stdout.take().context("no standard output")?;
        let mut words = BTreeMap::new();
        let mut lines = BufReader::new(stdout).lines();
        for line in lines.by_ref() {
            let line = line?;
            if line == "ready" {
                // Keep reading, so that the child never blocks on a full pipe.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok((running, words));
            }
            if let Some((key, value)) = line.split_once('=') {
                words.insert(key.to_owned(), value.to_owned());
            }
        }
        bail!("{:?} ended before it was ready: {}", command.get_program(), running.0.wait()?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `program` with what stands before it, such as a command that runs it elsewhere.
pub(crate) fn prefixed(prefix: &[String], program: &std::path::Path) -> Command {
    match prefix {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}
