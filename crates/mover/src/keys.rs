//! The passwords of a datastore's repository.

use xenkeep_api::{DatastoreAccess, DatastoreKey, JobResult, KeyChange, Problem, Secret};
use xenkeep_repo::{Kdf, KeyMeta, Repo};

use crate::{
    context::{JobContext, Stop},
    datastore, problem,
};

/// Lists, adds or removes; tells what there is afterwards.
pub(crate) async fn change(
    cx: &JobContext,
    datastore: &DatastoreAccess,
    change: KeyChange,
    password: Option<Secret>,
) -> Result<JobResult, Stop> {
    cx.step("open");
    let repo = datastore::open(cx, datastore).await?;
    let failed = |error: xenkeep_repo::Error| Stop::from(problem::repo(datastore, &error));
    cx.step("keys");
    match change {
        KeyChange::List => {}
        KeyChange::Add { name } => {
            let password = password.ok_or_else(|| Problem::new("internal", "the job came without its password"))?;
            let added = repo.add_key(&datastore::secret(&password), &name, Kdf::default()).await.map_err(failed)?;
            cx.info(format!("key {} added: {name}", added.id));
        }
        KeyChange::Remove { key } => {
            let key = find(&repo, datastore, &key).await?;
            repo.remove_key(&key.id).await.map_err(failed)?;
            cx.info(format!("key {} removed: {}", key.id, key.name));
        }
    }
    let keys = repo.keys().await.map_err(failed)?;
    Ok(JobResult::Keys { keys: keys.into_iter().map(described).collect() })
}

async fn find(repo: &Repo, datastore: &DatastoreAccess, prefix: &str) -> Result<KeyMeta, Stop> {
    let keys = repo.keys().await.map_err(|error| problem::repo(datastore, &error))?;
    let mut found = keys.into_iter().filter(|key| key.id.to_string().starts_with(prefix));
    let hint = "`xenkeep datastore key list` shows them";
    match (found.next(), found.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => {
            let message = format!("datastore {} has no key {prefix}", datastore.name);
            Err(Problem::new("key.not_found", message).hint(hint).into())
        }
        (Some(_), Some(_)) => {
            let message = format!("several keys of datastore {} begin with {prefix}", datastore.name);
            Err(Problem::new("key.ambiguous", message).hint(hint).into())
        }
    }
}

fn described(key: KeyMeta) -> DatastoreKey {
    let KeyMeta { id, name, host, created, in_use } = key;
    DatastoreKey { id: id.to_string(), name, host, created_at: created, in_use }
}
