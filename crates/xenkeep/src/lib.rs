//! The command line of xenkeep: a server in one process with its mover, and every command that talks to one.
//!
//! Commands speak to a server through its public REST API alone ([`xenkeep_api::http`]); there is no back door. Text
//! for people is made here: sizes, times, tables, progress bars, sentences about what went wrong.
//!
//! *Not* here: any decision about jobs (`xenkeep-server`), any byte of a disk (`xenkeep-mover`), except that an export
//! is written to a file.
//!
//! - [`run`] is the whole program: arguments in, exit code out.
//! - [`Cli`] is what the arguments are parsed into.
//!
//! ```
//! use clap::Parser;
//!
//! let cli = xenkeep::Cli::try_parse_from(["xenkeep", "point", "list", "--client", "lab"]);
//! assert!(cli.is_ok());
//! ```

mod cli;
mod cmd;
mod confirm;
mod connection;
mod exit;
mod fingerprint;
mod follow;
mod leases;
mod logging;
mod output;
mod password;
mod progress;
mod report;
mod units;

pub use cli::Cli;
pub use exit::Exit;

use std::{ffi::OsString, time::Duration};

use clap::Parser;

/// Runs the program with these arguments (the first is its name) and says how it ended.
///
/// Installs the TLS provider of the process and starts a tokio runtime; call it once, from `main`.
pub fn run<I, A>(arguments: I) -> Exit
where
    I: IntoIterator<Item = A>,
    A: Into<OsString> + Clone,
{
    // Fails only when one is installed already, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as "errors" too, for stdout and with success.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    let format = cli.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failure(&anyhow::Error::from(error).context("no threads can be started"), format),
    };
    let ended = runtime.block_on(cmd::run(cli));
    // A file that was being written is still to be removed; a blocked read must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended.unwrap_or_else(|error| report::failure(&error, format))
}
