//! A repository in a bucket of an S3 server, laid out as restic lays it out there.
//!
//! Each file is one object. An object is there whole or not at all, so that nothing has to be moved into its place.
//! Nothing is tried twice here: whether a failure may pass is told by its error ([`Error::is_transient`]).

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig};
use secrecy::ExposeSecret;
use tokio::runtime::Handle;

use self::failure::Failure;
use self::service::{Connector, StoredChecksum};
use super::{Kind, Name, Store};
use crate::id::Id;
use crate::location::S3Location;
use crate::{Error, Result};

mod failure;
mod list;
mod prepare;
mod service;
#[cfg(test)]
mod tests;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A request is given this long, and as much longer as a slow line needs for its bytes.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

/// When a removal that nobody waits for is tried again.
const REMOVAL_PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// The region that requests are signed for where nobody cares.
const ANY_REGION: &str = "us-east-1";

#[derive(Clone)]
pub(crate) struct S3 {
    bucket: AmazonS3,
    /// As people know it.
    location: Arc<str>,
    prefix: Path,
    runtime: Handle,
}

impl S3 {
    /// Nothing is asked of the server yet. Must be called in a runtime.
    pub(crate) fn new(at: &S3Location) -> Result<Self> {
        at.check()?;
        let invalid =
            |error: &dyn std::fmt::Display| Error::Invalid(format!("{at} is no place for a repository: {error}"));
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&at.bucket)
            .with_region(at.region.as_deref().unwrap_or(ANY_REGION))
            .with_access_key_id(&at.access_key_id)
            .with_secret_access_key(at.secret_access_key.expose_secret())
            .with_checksum_algorithm(Checksum::SHA256)
            .with_disable_bulk_delete(true)
            // We retry ourselves: bodies that end early, too.
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(Connector(client(at).map_err(|error| invalid(&error))?));
        builder = match &at.endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint).with_allow_http(true),
            // A wildcard certificate stands for one label only.
            None => builder.with_virtual_hosted_style_request(!at.bucket.contains('.')),
        };
        Ok(S3 {
            bucket: builder.build().map_err(|error| invalid(&error))?,
            location: at.to_string().into(),
            prefix: Path::parse(at.prefix.trim_matches('/')).map_err(|error| invalid(&error))?,
            runtime: Handle::current(),
        })
    }

    fn path(&self, name: impl ToString) -> Path {
        name.to_string().split('/').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    /// Waits for the answer to a request that moves so many bytes, but not for ever.
    async fn ask<T, E>(&self, bytes: u64, request: impl Future<Output = Result<T, E>> + Send) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let timeout = REQUEST_TIMEOUT + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let late = || Failure::transient(format!("no answer within {} seconds", timeout.as_secs()));
        Ok(tokio::time::timeout(timeout, request).await.map_err(|_| late())??)
    }

    fn error(&self, failure: Failure, name: impl ToString) -> Error {
        failure.into_error(&self.location, &name.to_string())
    }

    /// Stores an object, and sees that what the server holds is what was sent: it is signed with its SHA-256, and a
    /// server that can tells what it has stored; of any other the length is asked.
    async fn put_object(&self, path: &Path, content: &Bytes, sha256: &Id) -> Result<(), Failure> {
        let len = content.len() as u64;
        let put = self.bucket.put(path, PutPayload::from_bytes(content.clone()));
        let put = self.ask(len, put).await?;
        match put.extensions.get::<StoredChecksum>() {
            Some(StoredChecksum(stored)) if *stored == BASE64_STANDARD.encode(sha256.as_bytes()) => Ok(()),
            Some(_) => Err(Failure::transient("the server stored something else than was sent")),
            None => {
                let stored = self.object_len(path).await?;
                let why = || format!("the server stored {stored} bytes of {len}");
                if stored == len { Ok(()) } else { Err(Failure::transient(why())) }
            }
        }
    }

    async fn object_len(&self, path: &Path) -> Result<u64, Failure> {
        Ok(self.ask(0, self.bucket.head(path)).await?.size)
    }

    async fn delete_object(&self, path: &Path) -> Result<(), Failure> {
        match self.ask(0, self.bucket.delete(path)).await {
            Err(Failure::NotFound) => Ok(()),
            other => other,
        }
    }

    /// Reads a part of an object into memory that it is given.
    async fn get_part(&self, path: &Path, offset: u64, len: usize, mut buffer: Vec<u8>) -> Result<Vec<u8>, Failure> {
        buffer.clear();
        if len == 0 {
            return Ok(buffer);
        }
        buffer.reserve_exact(len);
        let end = offset.checked_add(len as u64).ok_or(Failure::TooShort)?;
        let read = async {
            let range = Some(GetRange::Bounded(offset..end));
            let answer = self.bucket.get_opts(path, GetOptions { range, ..GetOptions::default() }).await?;
            if answer.range != (offset..end) {
                return Err(Failure::TooShort);
            }
            let mut body = answer.into_stream();
            while let Some(piece) = body.try_next().await? {
                if buffer.len() + piece.len() > len {
                    return Err(Failure::transient("more bytes came than were asked for"));
                }
                buffer.extend_from_slice(&piece);
            }
            if buffer.len() == len { Ok(()) } else { Err(Failure::transient("the answer ended early")) }
        };
        self.ask(len as u64, read).await?;
        Ok(buffer)
    }
}

/// Reads a whole object.
async fn read_all(answer: GetResult, max_bytes: u64) -> Result<Bytes, Failure> {
    let size = answer.meta.size;
    if size > max_bytes {
        return Err(Failure::TooLong(max_bytes));
    }
    let mut body = answer.into_stream();
    let mut content = BytesMut::with_capacity(usize::try_from(size).map_err(|_| Failure::TooLong(max_bytes))?);
    while let Some(piece) = body.try_next().await? {
        if content.len() as u64 + piece.len() as u64 > size {
            return Err(Failure::transient("more bytes came than were announced"));
        }
        content.extend_from_slice(&piece);
    }
    if content.len() as u64 == size { Ok(content.freeze()) } else { Err(Failure::transient("the answer ended early")) }
}

fn client(at: &S3Location) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("xenkeep/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = &at.ca_certificate {
        builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
    }
    builder.build()
}

#[async_trait]
impl Store for S3 {
    async fn prepare(&self) -> Result<Vec<String>> {
        self.prepare_bucket().await
    }

    async fn sweep(&self) {}

    async fn put(&self, name: Name, content: Bytes) -> Result<()> {
        let (path, sha256) = (self.path(name), name.id().unwrap_or_else(|| Id::of(&content)));
        let stored = self.put_object(&path, &content, &sha256).await;
        stored.map_err(|failure| match failure {
            // A server that does not say which: it was the bucket that it did not find.
            Failure::NotFound => Failure::no_bucket().into_error(&self.location, ""),
            other => self.error(other, name),
        })
    }

    async fn get(&self, name: Name, max_bytes: u64) -> Result<Bytes> {
        let path = self.path(name);
        let read = async { read_all(self.bucket.get(&path).await?, max_bytes).await };
        self.ask(max_bytes, read).await.map_err(|failure| self.error(failure, name))
    }

    async fn get_range(&self, name: Name, offset: u64, len: usize, buffer: Vec<u8>) -> Result<Vec<u8>> {
        self.get_part(&self.path(name), offset, len, buffer).await.map_err(|failure| self.error(failure, name))
    }

    async fn len(&self, name: Name) -> Result<Option<u64>> {
        match self.object_len(&self.path(name)).await {
            Ok(len) => Ok(Some(len)),
            Err(Failure::NotFound) => Ok(None),
            Err(failure) => Err(self.error(failure, name)),
        }
    }

    async fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>> {
        self.list_kind(kind).await
    }

    async fn remove(&self, name: Name) -> Result<()> {
        self.delete_object(&self.path(name)).await.map_err(|failure| self.error(failure, name))
    }

    fn remove_now(&self, name: Name) {
        let this = self.clone();
        self.runtime.spawn(async move {
            let mut removed = this.remove(name).await;
            for pause in REMOVAL_PAUSES {
                match &removed {
                    Err(error) if error.is_transient() => tokio::time::sleep(pause).await,
                    _ => break,
                }
                removed = this.remove(name).await;
            }
            if let Err(error) = removed {
                tracing::warn!(file = %name, error = &error as &dyn std::error::Error, "cannot remove a file of the repository");
            }
        });
    }
}
