//! Repositories that are there already: attached, rescanned; and the passwords of all.

use xenkeep_api::{
    AttachRequest, Attached, DatastoreId, DatastoreKey, Job, JobResult, JobSpec, KeyChange, KnownPoint, NewKey,
    Problem, Secret,
};
use xenkeep_catalog::{NewJob, PointQuery};

use super::{Engine, names};
use crate::Error;

/// Shortest password that a person may add: it is tried at leisure by whoever steals the repository.
const MIN_PASSWORD: usize = 8;

impl Engine {
    /// Makes a repository that is there already known as a datastore, and queues the search for its points.
    pub async fn attach_datastore(&self, request: AttachRequest) -> Result<Attached, Error> {
        let mut new = names::new_datastore(request.datastore)?;
        new.movers = self.movers_for(&new).await?;
        let engine = self.clone();
        self.detached(async move {
            let id = DatastoreId::random();
            engine.0.catalog.insert_datastore(id, &new, &request.password, engine.0.clock.now()).await?;
            engine.forget_roster();
            let opened = engine.run_short(JobSpec::AttachDatastore { datastore: id }, &new.name).await;
            if let Err(error) = opened {
                engine.0.catalog.discard_datastore(id).await?;
                return Err(error);
            }
            let datastore = engine.datastore(&id.to_string()).await?;
            let same =
                |other: &xenkeep_api::Datastore| other.id != id && other.repository_id == datastore.repository_id;
            if let Some(other) = engine.datastores().await?.into_iter().find(same) {
                engine.0.catalog.remove_datastore(&datastore).await?;
                let message = format!("that repository is datastore {} already, at {}", other.name, other.path);
                let problem = Problem::new("datastore.attached_already", message).about(other.name);
                return Err(Error::Conflict(problem.hint("one repository is one datastore")));
            }
            let job = engine.queue(NewJob::new(JobSpec::RescanDatastore { datastore: id }, &new.name)).await?;
            Ok(Attached { datastore, job })
        })
        .await
    }

    /// Queues a comparison of catalogue and repository.
    pub async fn rescan_datastore(&self, name_or_id: &str) -> Result<Job, Error> {
        let datastore = self.datastore(name_or_id).await?;
        self.queue(NewJob::new(JobSpec::RescanDatastore { datastore: datastore.id }, &datastore.name)).await
    }

    /// The passwords of a repository.
    pub async fn datastore_keys(&self, name_or_id: &str) -> Result<Vec<DatastoreKey>, Error> {
        self.change_keys(name_or_id, KeyChange::List, None).await
    }

    /// Adds a password; tells all that there are then.
    pub async fn add_datastore_key(&self, name_or_id: &str, new: NewKey) -> Result<Vec<DatastoreKey>, Error> {
        names::check_label("the name of a key", &new.name)?;
        if new.password.expose().chars().count() < MIN_PASSWORD {
            let message = format!("a password for a datastore must have at least {MIN_PASSWORD} characters");
            let problem = Problem::new("key.too_short", message);
            return Err(Error::Invalid(problem.hint("whoever steals the repository can try passwords at leisure")));
        }
        self.change_keys(name_or_id, KeyChange::Add { name: new.name }, Some(&new.password)).await
    }

    /// Removes a password. Refused for the one that xenkeep itself uses.
    pub async fn remove_datastore_key(&self, name_or_id: &str, key: &str) -> Result<(), Error> {
        let hex = !key.is_empty() && key.len() <= 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex {
            let problem = Problem::new("key.not_found", "that is not the id of a key, nor the beginning of one");
            return Err(Error::Invalid(problem.hint("`xenkeep datastore key list` shows them")));
        }
        self.change_keys(name_or_id, KeyChange::Remove { key: key.to_ascii_lowercase() }, None).await.map(drop)
    }

    async fn change_keys(
        &self,
        name_or_id: &str,
        change: KeyChange,
        secret: Option<&Secret>,
    ) -> Result<Vec<DatastoreKey>, Error> {
        let datastore = self.datastore(name_or_id).await?;
        let spec = JobSpec::DatastoreKeys { datastore: datastore.id, change };
        let job = match secret {
            None => self.run_short(spec, &datastore.name).await?,
            Some(secret) => {
                let new = NewJob::new(spec, &datastore.name);
                let id = new.id;
                self.0.catalog.insert_job_with(&new, secret, self.0.clock.now()).await?;
                self.changed(id);
                self.see_through(id).await?
            }
        };
        match job.result {
            Some(JobResult::Keys { keys }) => Ok(keys),
            _ => Err(Error::JobFailed(Problem::new("internal", "the job has not told which keys there are"))),
        }
    }

    /// What a rescan must know of the catalogue.
    pub(super) async fn known_points(&self, datastore: DatastoreId) -> Result<Vec<KnownPoint>, Error> {
        let query = PointQuery { datastore: Some(datastore), ..PointQuery::default() };
        let points = self.0.catalog.points(&query, u32::MAX).await?;
        Ok(points.into_iter().map(|point| KnownPoint { id: point.id, protection: point.protection }).collect())
    }
}
