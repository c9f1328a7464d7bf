//! Is everything still there, and is it what was written?
//!
//! A verification takes no lock: it may last for days, and shall neither wait for a prune nor keep one waiting. So all that
//! it finds is looked at once more, by the index files that are there then, before it counts as damage: what was pruned,
//! moved or removed meanwhile is not named by them any more.
//!
//! | step | reads | finds |
//! |------|-------|-------|
//! | `small` | config, keys, snapshots, files of ours | what does not match its name or its seal |
//! | `packs` | all index files, one after the other | the same; keeps of each pack its length, and a digest of its blobs |
//! | `run`   | the list of packs; of a full one, packs whose turn it is | packs that are missing, too long, too short, or of which any byte is wrong: *suspects* |
//! | `suspects` | suspects, and packs that are recorded as damaged | which blobs are harmed. Recorded at once, so that backups store them again |
//! | `trace` | every directory of every point | what points need that is lost or that no index file names |

use crate::{Error, Repo, Result};

mod examine;
mod options;
mod packs;
mod reader;
mod report;
mod run;
mod small;
mod suspects;
#[cfg(test)]
mod tests;
mod trace;
mod verdict;
mod verified;

pub use options::{Depth, VerifyOptions, VerifyProgress};
pub use report::{AffectedPoint, DamagedFile, FileKind, UndecidedFile, VerifyReport};

impl Repo {
    /// Looks at the repository as closely as the options say, and goes on to the end whatever it finds.
    ///
    /// What is damaged is recorded in the repository: later backups do not count it as present, so that they store it
    /// again where they read it. Runs beside backups and prunes, and may be dropped at any time. Fails where the
    /// repository cannot be reached any more; what was verified until then is kept.
    pub async fn verify(&self, options: VerifyOptions) -> Result<VerifyReport> {
        if options.share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(Error::Invalid("a share of a repository lies between 0 and 1".to_owned()));
        }
        Box::pin(run::Run::run(&self.0, &options)).await
    }
}
