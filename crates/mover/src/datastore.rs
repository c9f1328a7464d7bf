//! Datastores: their repositories are made and opened here.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use secrecy::SecretString;
use xenkeep_api::{DatastoreAccess, DatastoreId, JobResult, Problem, Secret};
use xenkeep_repo::{CreateOptions, Location, OpenOptions, Repo, S3Location};

use crate::{
    context::{JobContext, Stop},
    problem,
};

/// The repositories that this mover has open: jobs on the same datastore share one, and with it index and packs.
#[derive(Debug, Default)]
pub(crate) struct Repos(Mutex<HashMap<DatastoreId, Shared>>);

/// A repository, once it is open, and how it was opened. Whoever opens it holds the lock.
type Shared = Arc<tokio::sync::Mutex<Option<(DatastoreAccess, Repo)>>>;

impl Repos {
    fn of(&self, datastore: DatastoreId) -> Shared {
        Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(datastore).or_default())
    }

    async fn open(&self, datastore: &DatastoreAccess, cache_dir: Option<PathBuf>) -> Result<Repo, Problem> {
        let shared = self.of(datastore.id);
        let mut open = shared.lock().await;
        if let Some((access, repo)) = open.take()
            && access == *datastore
            && repo.check_presence().await.is_ok()
        {
            *open = Some((access, repo.clone()));
            return Ok(repo);
        }
        let options = OpenOptions { cache_dir, ..OpenOptions::default() };
        let opened = Repo::open(location(datastore), &secret(&datastore.password), options).await;
        let repo = opened.map_err(|error| problem::repo(datastore, &error))?;
        *open = Some((datastore.clone(), repo.clone()));
        Ok(repo)
    }
}

/// Makes the repository of a datastore.
pub(crate) async fn create(cx: &JobContext, datastore: &DatastoreAccess) -> Result<JobResult, Stop> {
    cx.step("create");
    let made = Repo::create(location(datastore), &secret(&datastore.password), CreateOptions::default()).await;
    let repo = made.map_err(|error| problem::repo(datastore, &error))?;
    cx.info(format!("repository {} made in {}", repo.id(), datastore.path));
    for finding in repo.findings() {
        cx.warn(Problem::new("datastore.finding", finding.clone()).about(&datastore.name));
    }
    Ok(JobResult::Datastore { repository_id: repo.id().to_owned() })
}

/// Opens a repository that is there already.
pub(crate) async fn attach(cx: &JobContext, datastore: &DatastoreAccess) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = open(cx, datastore).await?;
    cx.info(format!("repository {} opened at {}", repo.id(), datastore.path));
    Ok(JobResult::Datastore { repository_id: repo.id().to_owned() })
}

/// Opens the repository of a datastore, unless it is open already.
pub(crate) async fn open(cx: &JobContext, datastore: &DatastoreAccess) -> Result<Repo, Stop> {
    cx.or_cancelled(cx.repos.open(datastore, cx.config.cache_dir.clone())).await
}

pub(crate) fn secret(secret: &Secret) -> SecretString {
    SecretString::from(secret.expose())
}

fn location(datastore: &DatastoreAccess) -> Location {
    let Some(s3) = &datastore.s3 else { return PathBuf::from(&datastore.path).into() };
    let nothing = Secret::new("");
    Location::S3(S3Location {
        endpoint: s3.endpoint.clone(),
        bucket: s3.bucket.clone(),
        prefix: s3.prefix.clone(),
        region: s3.region.clone(),
        access_key_id: s3.access_key_id.clone(),
        secret_access_key: secret(datastore.s3_secret_access_key.as_ref().unwrap_or(&nothing)),
        ca_certificate: s3.ca_certificate.clone(),
    })
}

#[cfg(test)]
mod tests;
