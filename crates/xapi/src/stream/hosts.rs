//! Control domains of hosts. Each host answers for itself alone, so it is asked at its own address.

use std::sync::Arc;

use super::download::Download;
use super::head::Head;
use super::upload::Upload;
use crate::connect::Connector;
use crate::{HostRef, Pool, Result, TaskRef, record};

impl Pool {
    /// Begins to read the root file system of a host: a tar archive in gzip.
    ///
    /// # Errors
    /// Why the host refused, or that it can't be reached; the task is destroyed then.
    pub async fn host_backup(&self, host: &HostRef, task: TaskRef) -> Result<Download> {
        match self.way_to(host).await {
            Ok(way) => self.download_at(way, "/host_backup", Vec::new(), task).await,
            Err(cause) => Err(self.task(task).explain(cause).await),
        }
    }

    /// Begins to send such an archive of `bytes` bytes to a host, which formats its backup partition and unpacks it there.
    ///
    /// # Errors
    /// As [`Pool::host_backup`].
    pub async fn host_restore(&self, host: &HostRef, bytes: u64, task: TaskRef) -> Result<Upload> {
        match self.way_to(host).await {
            Ok(way) => self.upload_at(way, "/host_restore", Vec::new(), task, Some(bytes)).await,
            Err(cause) => Err(self.task(task).explain(cause).await),
        }
    }

    /// The way to a host of the pool. The master is where we are already.
    async fn way_to(&self, host: &HostRef) -> Result<Arc<dyn Connector>> {
        let (_, pool) = self.pool_record().await?;
        if pool.master == *host {
            return Ok(self.master_connector());
        }
        let record: record::Host = self.record(host).await?;
        let address = match record.address.parse::<std::net::Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => record.address,
        };
        self.member(&format!("https://{address}")).await
    }

    pub(super) async fn download_at(
        &self,
        way: Arc<dyn Connector>,
        path: &'static str,
        mut query: Vec<(String, String)>,
        task: TaskRef,
    ) -> Result<Download> {
        query.push(("task_id".to_owned(), task.to_string()));
        let head = Head { method: "GET", path, query, content_length: None };
        match self.open_at(&head, way).await {
            Ok(opened) => Ok(Download::new(self.clone(), opened, task)),
            Err(cause) => Err(self.task(task).explain(cause).await),
        }
    }

    pub(super) async fn upload_at(
        &self,
        way: Arc<dyn Connector>,
        path: &'static str,
        mut query: Vec<(String, String)>,
        task: TaskRef,
        content_length: Option<u64>,
    ) -> Result<Upload> {
        query.push(("task_id".to_owned(), task.to_string()));
        let head = Head { method: "PUT", path, query, content_length };
        match self.open_at(&head, way).await {
            Ok(opened) => Ok(Upload::new(self.clone(), opened, task, path)),
            Err(cause) => Err(self.task(task).explain(cause).await),
        }
    }
}
