//! A xenkeep server as a process, and its command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::process::{binary, prefixed};

/// A server and the data directory in which the command line finds it.
#[derive(Debug)]
pub struct Product {
    server: Option<std::process::Child>,
    data: PathBuf,
    prefix: Vec<String>,
    arguments: Vec<String>,
}

/// How a command ended and what it said.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code; −1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Product {
    /// Starts a server with its data in `data` and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up within a minute.
    pub fn start(data: &Path) -> Result<Self> {
        Self::start_on(&[], data, &["--listen", "127.0.0.1:0"])
    }

    /// As [`Self::start`], with what stands before each command, and the server's own arguments.
    ///
    /// # Errors
    /// When it does not come up within a minute.
    pub fn start_on(prefix: &[String], data: &Path, arguments: &[&str]) -> Result<Self> {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut product = Self { server: None, data: data.to_owned(), prefix: prefix.to_vec(), arguments };
        product.restart()?;
        Ok(product)
    }

    /// Starts the server again after [`Self::kill`] or [`Self::stop`].
    ///
    /// # Errors
    /// When it does not come up within a minute.
    pub fn restart(&mut self) -> Result<()> {
        std::fs::create_dir_all(&self.data)?;
        let log = std::fs::File::options().create(true).append(true).open(self.log_file())?;
        let mut command = prefixed(&self.prefix, &binary("xenkeep")?);
        command.arg("server").arg("--data").arg(&self.data).args(&self.arguments);
        self.server = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.run(&["job", "list"])?.good() {
            if let Some(status) = self.server.as_mut().context("no server")?.try_wait()? {
                bail!("the server ended: {status}\n{}", self.log());
            }
            ensure!(Instant::now() < deadline, "the server does not answer\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When there is no server to kill.
    pub fn kill(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no server")?;
        server.kill()?;
        server.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When there is no server, or it ends with a failure.
    pub fn stop(&mut self) -> Result<()> {
        let mut server = self.server.take().context("no server")?;
        crate::images::run(Command::new("kill").args(["-TERM", &server.id().to_string()]))?;
        let status = server.wait()?;
        ensure!(status.success(), "the server ended with {status}\n{}", self.log());
        Ok(())
    }

    /// Process id of the server.
    #[must_use]
    pub fn server_id(&self) -> Option<u32> {
        self.server.as_ref().map(std::process::Child::id)
    }

    /// All that the server has written to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// A command of `xenkeep` against this server, not started yet.
    ///
    /// # Errors
    /// When the binary is not built.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = prefixed(&self.prefix, &binary("xenkeep")?);
        command.arg("--data").arg(&self.data).args(arguments).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// When it cannot be started; a failure of the command itself is in the outcome.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        let output = self.command(arguments)?.output()?;
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed; returns its standard output.
    ///
    /// # Errors
    /// When it ends with a code other than 0.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let outcome = self.run(arguments)?;
        ensure!(outcome.good(), "xenkeep {arguments:?}: {outcome:?}\n{}", self.log());
        Ok(outcome.stdout)
    }

    /// Runs a command that must succeed with `--output json`; returns what it printed.
    ///
    /// # Errors
    /// When it fails or does not print JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        let text = self.ok(&all)?;
        serde_json::from_str(&text).with_context(|| format!("xenkeep {arguments:?} printed {text}"))
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Outcome {
    /// The command succeeded.
    #[must_use]
    pub fn good(&self) -> bool {
        self.code == 0
    }
}
