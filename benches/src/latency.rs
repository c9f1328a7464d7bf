//! A store that is far away: each request takes its time, whatever it asks for.

use std::path::Path;

use anyhow::Result;

use crate::measure::Cost;
use crate::pipeline;
use crate::report::{FAR, NEAR, Report};

/// What each request takes longer.
const DELAY_MS: u32 = 300;

/// Takes turns: a full backup without and with the delay.
pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    let repo = scratch.join("repo");
    let full =
        |delay_ms: u32| -> Result<Cost> { pipeline::xenkeep(disk, &repo, &["--delay-ms", &delay_ms.to_string()]) };
    report.measure(&mut [(NEAR, &mut || full(0)), (FAR, &mut || full(DELAY_MS))])
}
