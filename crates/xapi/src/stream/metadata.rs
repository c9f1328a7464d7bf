//! Metadata of VMs: a tar with `ova.xml` alone, small enough for memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::head::{Answer, Head};
use super::request::Opened;
use super::upload::flag;
use crate::{Error, Pool, Result, TaskRef, TaskResult, VmRef};

/// Metadata of one VM takes some tens of KB, of all VMs of a large pool some tens of MB.
const METADATA_BYTES_MAX: u64 = 256 << 20;
const PATH: &str = "/export_metadata";

/// What metadata to export.
#[derive(Debug, Clone)]
pub struct ExportMetadata {
    /// The VM, in any power state.
    pub vm: VmRef,
    /// Records of its snapshots too.
    pub snapshots: bool,
    /// A task made by [`Pool::task_create`]; without it one is made.
    pub task: Option<TaskRef>,
}

impl ExportMetadata {
    /// Of `vm` alone.
    #[must_use]
    pub fn new(vm: VmRef) -> Self {
        Self { vm, snapshots: false, task: None }
    }
}

/// How metadata is to be imported.
#[derive(Debug, Clone, Default)]
pub struct ImportMetadata {
    /// Keep uuid, MACs and seed of the VM.
    pub restore: bool,
    /// Skip some checks, undo nothing after a failure.
    pub force: bool,
    /// Only check.
    pub dry_run: bool,
    /// Which disk stands for which: uuid in the file → uuid of one that exists. Some ten fit into a request.
    pub vdis: BTreeMap<String, String>,
    /// A task made by [`Pool::task_create`]; without it one is made.
    pub task: Option<TaskRef>,
}

impl Pool {
    /// Fetches metadata as a tar.
    ///
    /// # Errors
    /// Why the pool refused.
    pub async fn export_metadata(&self, export: ExportMetadata) -> Result<Bytes> {
        let task = match export.task {
            Some(task) => task,
            None => self.task_create("xenkeep metadata", "Export of the metadata of a VM").await?,
        };
        let query = vec![
            ("ref".to_owned(), export.vm.to_string()),
            ("export_snapshots".to_owned(), export.snapshots.to_string()),
            ("task_id".to_owned(), task.to_string()),
        ];
        let head = Head { method: "GET", path: PATH, query, content_length: None };
        let tar = match self.open(&head).await {
            Ok(opened) => self.read_all(opened).await,
            Err(cause) => Err(cause),
        };
        match tar {
            Ok(tar) => {
                self.task(task).wait(&CancellationToken::new(), |_| {}).await?;
                Ok(tar)
            }
            Err(cause) => Err(self.task(task).explain(cause).await),
        }
    }

    /// Makes VM records of a metadata tar, over disks that exist. Returns references of the VMs.
    ///
    /// # Errors
    /// Why the pool refused; [`Error::HeadTooLong`] with too many disks.
    pub async fn import_metadata(&self, tar: &[u8], import: ImportMetadata) -> Result<TaskResult> {
        let task = match import.task {
            Some(task) => task,
            None => self.task_create("xenkeep metadata", "Import of the metadata of a VM").await?,
        };
        let mut query = Vec::new();
        flag(&mut query, "restore", import.restore);
        flag(&mut query, "force", import.force);
        flag(&mut query, "dry_run", import.dry_run);
        query.extend(import.vdis.into_iter().map(|(from, to)| (format!("vdi:{from}"), to)));
        let mut upload = self.upload("/import_metadata", query, task, Some(tar.len() as u64)).await?;
        if let Err(error) = upload.write_all(tar).await {
            let cause = Error::from_io(error, upload.address());
            return Err(upload.explain(cause).await);
        }
        upload.finish(&CancellationToken::new(), |_| {}).await
    }

    /// The whole body: as long as was said, or to the end of the connection.
    async fn read_all(&self, opened: Opened) -> Result<Bytes> {
        let length = opened.answer.as_ref().and_then(Answer::content_length);
        let Opened { mut io, begun, address, .. } = opened;
        let too_long =
            |address| Error::Protocol { address, what: format!("more than {METADATA_BYTES_MAX} bytes of metadata") };
        if length.is_some_and(|length| length > METADATA_BYTES_MAX) {
            return Err(too_long(address));
        }
        let limit = length.unwrap_or(METADATA_BYTES_MAX + 1);
        let mut body = begun.to_vec();
        let rest = limit.saturating_sub(body.len() as u64);
        let patience = self.options().timeouts.quiet;
        let mut rest = (&mut io).take(rest);
        match tokio::time::timeout(patience, rest.read_to_end(&mut body)).await {
            Err(_) => return Err(Error::Silent { address, what: "the end of the metadata", after: patience }),
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Ok(Err(source)) => return Err(Error::Lost { address, source }),
            Ok(Ok(_)) => {}
        }
        match length {
            Some(length) if (body.len() as u64) < length => Err(Error::ClosedEarly { address, what: "the metadata" }),
            None if body.len() as u64 > METADATA_BYTES_MAX => Err(too_long(address)),
            _ => {
                body.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                Ok(Bytes::from(body))
            }
        }
    }
}
