//! Datastores: their repositories are made and opened here.

use std::path::Path;

use secrecy::SecretString;
use xenkeep_api::{DatastoreAccess, JobResult};
use xenkeep_repo::{CreateOptions, OpenOptions, Repo};

use crate::{
    context::{JobContext, Stop},
    problem,
};

/// Makes the repository of a datastore.
pub(crate) async fn create(cx: &JobContext, datastore: &DatastoreAccess) -> Result<JobResult, Stop> {
    cx.step("create");
    let made = Repo::create(Path::new(&datastore.path), &password(datastore), CreateOptions::default()).await;
    let repo = made.map_err(|error| problem::repo(datastore, &error))?;
    cx.info(format!("repository {} made in {}", repo.id(), datastore.path));
    Ok(JobResult::Datastore { repository_id: repo.id().to_owned() })
}

/// Opens the repository of a datastore.
pub(crate) async fn open(cx: &JobContext, datastore: &DatastoreAccess) -> Result<Repo, Stop> {
    let password = password(datastore);
    let open = Repo::open(Path::new(&datastore.path), &password, OpenOptions::default());
    cx.or_cancelled(async { open.await.map_err(|error| problem::repo(datastore, &error)) }).await
}

fn password(datastore: &DatastoreAccess) -> SecretString {
    SecretString::from(datastore.password.expose())
}
