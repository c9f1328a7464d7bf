//! The `xenkeep` program; all of it is in the library beside.

use std::process::ExitCode;

fn main() -> ExitCode {
    xenkeep::run(std::env::args_os()).into()
}
