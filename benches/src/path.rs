//! The whole path: a simulated pool, the server with its mover, a datastore, and back into a file.
use std::path::Path;

use anyhow::Result;

use crate::report::Report;

pub(crate) fn measure(_report: &mut Report, _disk: &Path, _scratch: &Path, _programs: &Path) -> Result<()> {
    Ok(())
}
