use xenkeep_api::Drive;
use xenkeep_catalog::{Catalog, Error, NewJob};

use super::fixture::{any_backup, at, catalog, new_job, ready_datastore};

fn drive(number: u32, datastore: xenkeep_api::DatastoreId, name: Option<&str>) -> Drive {
    Drive {
        number,
        name: name.map(str::to_owned),
        datastore,
        datastore_name: "store".to_owned(),
        channels: 8,
        created_at: at(0),
    }
}

async fn code(outcome: Result<(), Error>) -> String {
    outcome.unwrap_err().problem().code
}

#[tokio::test]
async fn are_made_changed_and_removed() {
    let (catalog, _dir) = catalog().await;
    let store = ready_datastore(&catalog, "store").await;
    let (thirteen, two) = (drive(13, store, Some("nightly")), drive(2, store, None));
    for drive in [&thirteen, &two] {
        catalog.insert_drive(drive).await.unwrap();
    }
    assert_eq!(catalog.drives().await.unwrap(), [two.clone(), thirteen.clone()]);
    assert_eq!(catalog.drive(13).await.unwrap(), thirteen);
    assert_eq!(code(catalog.insert_drive(&drive(13, store, None)).await).await, "drive.exists");
    assert_eq!(code(catalog.insert_drive(&drive(14, store, Some("nightly"))).await).await, "drive.exists");
    assert_eq!(code(catalog.set_drive(2, Some("nightly"), 1).await).await, "drive.exists");

    catalog.set_drive(13, None, 3).await.unwrap();
    assert_eq!(catalog.drive(13).await.unwrap(), Drive { name: None, channels: 3, ..thirteen });
    catalog.remove_drive(13).await.unwrap();
    let Err(Error::NotFound(problem)) = catalog.drive(13).await else { panic!() };
    assert_eq!((problem.code.as_str(), problem.hint.as_deref()), ("drive.not_found", Some("there are: 2")));
}

#[tokio::test]
async fn stay_while_a_job_needs_them_and_keep_their_datastore() {
    let (catalog, _dir) = catalog().await;
    let store = ready_datastore(&catalog, "store").await;
    catalog.insert_drive(&drive(13, store, None)).await.unwrap();
    let job = NewJob { drive: Some(13), ..new_job(any_backup()) };
    catalog.insert_job(&job, at(0)).await.unwrap();
    assert_eq!(code(catalog.remove_drive(13).await).await, "drive.in_use");
    catalog.cancel_job(job.id, at(1)).await.unwrap();
    let remove = async |catalog: &Catalog| catalog.remove_datastore(&catalog.datastore("store").await.unwrap()).await;
    assert_eq!(code(remove(&catalog).await).await, "datastore.in_use");
    catalog.remove_drive(13).await.unwrap();
    remove(&catalog).await.unwrap();
}
