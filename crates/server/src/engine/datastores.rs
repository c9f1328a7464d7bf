//! Datastores: created, with a key of their own, by a mover; forgotten when they are empty.

use rand::TryRngCore;
use rand::rngs::OsRng;
use xenkeep_api::{Datastore, DatastoreId, JobSpec, NewDatastore, RecoverySheet, Secret};

use super::{Engine, names};
use crate::Error;

/// Random bytes in the password of a repository.
const KEY_BYTES: usize = 32;

impl Engine {
    /// All datastores, by name.
    pub async fn datastores(&self) -> Result<Vec<Datastore>, Error> {
        Ok(self.0.catalog.datastores().await?)
    }

    /// The datastore of a name or an id.
    pub async fn datastore(&self, name_or_id: &str) -> Result<Datastore, Error> {
        Ok(self.0.catalog.datastore(name_or_id).await?)
    }

    /// Creates a datastore: a mover makes the repository; if that fails, it is forgotten.
    pub async fn create_datastore(&self, new: NewDatastore) -> Result<Datastore, Error> {
        let mut new = names::new_datastore(new)?;
        new.movers = self.movers_for(&new).await?;
        let engine = self.clone();
        self.detached(async move {
            let id = DatastoreId::random();
            let password = random_password()?;
            engine.0.catalog.insert_datastore(id, &new, &password, engine.0.clock.now()).await?;
            engine.forget_roster();
            match engine.run_short(JobSpec::CreateDatastore { datastore: id }, &new.name).await {
                Ok(_) => engine.datastore(&id.to_string()).await,
                Err(error) => {
                    engine.0.catalog.discard_datastore(id).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Forgets a datastore; its files stay. Refused while it holds restore points or a job uses it.
    pub async fn remove_datastore(&self, name_or_id: &str) -> Result<(), Error> {
        let datastore = self.datastore(name_or_id).await?;
        Ok(self.0.catalog.remove_datastore(&datastore).await?)
    }

    /// What an administrator keeps in a safe: with it, restic reads everything back when xenkeep is gone.
    pub async fn recovery_sheet(&self, name_or_id: &str) -> Result<RecoverySheet, Error> {
        let datastore = self.datastore(name_or_id).await?;
        let password = self.0.catalog.datastore_access(datastore.id).await?.password;
        tracing::info!(datastore = %datastore.name, "the recovery sheet was handed out");
        let Datastore { name, path, s3, repository_id, .. } = datastore;
        Ok(RecoverySheet { datastore: name, path, s3, repository_id, password })
    }
}

fn random_password() -> Result<Secret, Error> {
    let mut key = [0; KEY_BYTES];
    OsRng.try_fill_bytes(&mut key).map_err(|error| Error::Random(error.to_string()))?;
    Ok(Secret::new(hex::encode(key)))
}
