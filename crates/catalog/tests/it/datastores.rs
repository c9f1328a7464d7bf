use xenkeep_api::{DatastoreId, NewDatastore, Secret};
use xenkeep_catalog::{Catalog, Error};

use super::fixture::{add_point, at, backup, catalog, new_job, ready_client, ready_datastore};

async fn insert(catalog: &Catalog, name: &str, path: &str) -> Result<DatastoreId, Error> {
    let id = DatastoreId::random();
    let new = NewDatastore::directory(name, path);
    catalog.insert_datastore(id, &new, &Secret::new("key"), at(0)).await.map(|()| id)
}

#[tokio::test]
async fn is_seen_once_its_repository_is_there() {
    let (catalog, _dir) = catalog().await;
    let id = insert(&catalog, "half", "/srv/half").await.unwrap();
    assert!(catalog.datastores().await.unwrap().is_empty());
    assert!(matches!(catalog.datastore("half").await, Err(Error::NotFound(_))));
    assert_eq!(catalog.datastore_access(id).await.unwrap().password.expose(), "key");
    let id = ready_datastore(&catalog, "store").await;
    let store = catalog.datastore("store").await.unwrap();
    assert_eq!((store.id, store.repository_id.as_str(), store.path.as_str()), (id, "repo-store", "/srv/store"));
    assert_eq!(catalog.datastore(&id.to_string()).await.unwrap(), store);
    assert_eq!(catalog.datastores().await.unwrap(), [store]);
}

#[tokio::test]
async fn shares_neither_name_nor_directory() {
    let (catalog, _dir) = catalog().await;
    insert(&catalog, "store", "/srv/backup/a").await.unwrap();
    for (name, path, code) in [
        ("store", "/other", "datastore.exists"),
        ("b", "/srv/backup/a", "datastore.path_taken"),
        ("b", "/srv/backup/a/below", "datastore.path_taken"),
        ("b", "/srv/backup", "datastore.path_taken"),
    ] {
        let Err(Error::Exists(problem)) = insert(&catalog, name, path).await else { panic!("{name} {path}") };
        assert_eq!(problem.code, code, "{name} {path}");
    }
    insert(&catalog, "b", "/srv/backup/ab").await.unwrap();
}

#[tokio::test]
async fn is_not_forgotten_with_points_or_under_a_job() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let (full, busy) = (ready_datastore(&catalog, "full").await, ready_datastore(&catalog, "busy").await);
    add_point(&catalog, "a", &lab, full, 5).await;
    let job = new_job(backup(lab.id, busy));
    catalog.insert_job(&job, at(0)).await.unwrap();
    for name in ["full", "busy"] {
        let store = catalog.datastore(name).await.unwrap();
        let Err(Error::InUse(problem)) = catalog.remove_datastore(&store).await else { panic!("{name}") };
        assert_eq!(problem.code, "datastore.in_use");
    }
    catalog.cancel_job(job.id, at(1)).await.unwrap();
    catalog.remove_datastore(&catalog.datastore("busy").await.unwrap()).await.unwrap();
    let Err(Error::NotFound(problem)) = catalog.datastore("busy").await else { panic!() };
    assert_eq!(problem.hint.as_deref(), Some("there are: full"));
}
