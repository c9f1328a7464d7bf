//! rustic beside us: the same format, another engine. Built only with the feature `rustic`, as `cargo xtask bench` does.

use std::path::Path;

use anyhow::Result;

use crate::measure::{Cost, run, succeed};
use crate::restore::this;

/// A fresh repository of rustic's.
pub(crate) fn create(repo: &Path) -> Result<()> {
    succeed(this()?.arg("rustic-create").arg(repo)).map(drop)
}

/// A backup into it.
pub(crate) fn back_up(disk: &Path, repo: &Path) -> Result<Cost> {
    run(this()?.arg("rustic-write").arg(disk).arg(repo))
}

#[cfg(feature = "rustic")]
pub(crate) mod rustic {
    //! What happens in processes of their own.

    use std::path::Path;

    use anyhow::{Context, Result};
    use rustic_backend::BackendOptions;
    use rustic_core::{
        BackupOptions, ConfigOptions, Credentials, KeyOptions, OpenStatus, PathList, Repository, RepositoryOptions,
        SnapshotOptions,
    };

    use crate::PASSWORD;

    /// The level that we write with; rustic's own choice is zstd's default, 3.
    const LEVEL: i32 = 1;

    fn at(repo: &Path) -> Result<(RepositoryOptions, rustic_core::RepositoryBackends)> {
        let path = repo.to_str().context("the path of a repository is no text")?;
        let backends = BackendOptions::default().repository(path).to_backends()?;
        Ok((RepositoryOptions::default().no_cache(true), backends))
    }

    /// Makes a repository.
    pub(crate) fn create(repo: &Path) -> Result<()> {
        let (options, backends) = at(repo)?;
        let config = ConfigOptions::default().set_compression(LEVEL);
        let repository = Repository::new(&options, &backends)?;
        repository.init(&Credentials::password(PASSWORD), &KeyOptions::default(), &config)?;
        Ok(())
    }

    /// Backs a file up.
    pub(crate) fn write(disk: &Path, repo: &Path) -> Result<()> {
        let (options, backends) = at(repo)?;
        let repository: Repository<OpenStatus> =
            Repository::new(&options, &backends)?.open(&Credentials::password(PASSWORD))?;
        let source = PathList::from_string(disk.to_str().context("the path of a disk is no text")?)?;
        let snapshot = SnapshotOptions::default().to_snapshot()?;
        repository.to_indexed_ids()?.backup(&BackupOptions::default(), &source, snapshot)?;
        Ok(())
    }
}
