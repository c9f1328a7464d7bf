//! A full verification, beside what reading the same packs and hashing them once costs, and beside restic's.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use xenkeep_repo::{Depth, OpenOptions, Repo, VerifyOptions};

use crate::measure::{remove, run, succeed};
use crate::report::{RESTIC_CHECK, Report, SHA256SUM, VERIFY, VERIFY_QUICK};
use crate::restore::this;
use crate::{PASSWORD, pipeline};

/// Takes turns over one repository.
pub(crate) fn measure(report: &mut Report, disk: &Path, scratch: &Path) -> Result<()> {
    let repo = scratch.join("repo");
    succeed(this()?.arg("create").arg(&repo))?;
    succeed(this()?.arg("write").arg(disk).arg(&repo))?;
    report.measure(&mut [
        (SHA256SUM, &mut || {
            // Two at once, for that is how many cores the others take here.
            let mut shell = Command::new("sh");
            run(shell
                .args([
                    "-c",
                    r#"find "$1/data" -type f -print0 | xargs -0 -n 8 -P "$(nproc)" sha256sum >/dev/null"#,
                    "sh",
                ])
                .arg(&repo))
        }),
        (RESTIC_CHECK, &mut || run(pipeline::restic_in(&repo).args(["check", "--read-data", "--no-cache", "--quiet"]))),
        (VERIFY, &mut || run(this()?.arg("verify").arg(&repo))),
        (VERIFY_QUICK, &mut || run(this()?.args(["verify", "--quick"]).arg(&repo))),
    ])?;
    remove(&repo)
}

/// In a process of its own: verifies a repository.
pub(crate) async fn verify(repo: &Path, quick: bool) -> Result<()> {
    let repo = Repo::open(repo, &PASSWORD.into(), OpenOptions::default()).await?;
    let depth = if quick { Depth::Quick } else { Depth::Full };
    let report = repo.verify(VerifyOptions { depth, ..VerifyOptions::default() }).await?;
    ensure!(report.is_clean(), "the repository is damaged: {report:?}");
    ensure!(quick || report.packs_checked == report.packs_total, "not everything was read");
    Ok(())
}
