//! What PostgreSQL is there for: several servers on one database.

use std::fs;

use xenkeep_api::{JobSpec, Secret};
use xenkeep_catalog::{Catalog, Error};

use crate::postgres::fixture::{PASSWORD, any_backup, at, claim_any, database, new_job, ready_client};

#[tokio::test]
async fn two_servers_see_the_same_and_take_no_job_twice() {
    let (url, dir, other_dir) = (database().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let one = Catalog::connect(dir.path(), &url).await.unwrap();
    // The key is what a server must be given.
    let error = Catalog::connect(other_dir.path(), &url).await.unwrap_err();
    assert!(matches!(error, Error::KeyMissing(_)), "{error:?}");
    fs::copy(dir.path().join("key"), other_dir.path().join("key")).unwrap();
    let other = Catalog::connect(other_dir.path(), &url).await.unwrap();
    let lab = ready_client(&one, "lab").await;
    assert_eq!(other.client_access(lab.id).await.unwrap().password.expose(), PASSWORD);

    for _ in 0..40 {
        one.insert_job(&new_job(any_backup()), at(0)).await.unwrap();
    }
    let asking: Vec<_> = (0..8)
        .map(|n| {
            let catalog = if n % 2 == 0 { one.clone() } else { other.clone() };
            tokio::spawn(async move {
                let mut got = Vec::new();
                while let Some(claimed) = claim_any(&catalog, 1).await {
                    got.push(claimed.id);
                }
                got
            })
        })
        .collect();
    let mut all = Vec::new();
    for asked in asking {
        all.extend(asked.await.unwrap());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 40);
}

#[tokio::test]
async fn what_a_server_is_adding_is_left_alone_by_the_start_of_another() {
    let (url, dir) = (database().await, tempfile::tempdir().unwrap());
    let catalog = Catalog::connect(dir.path(), &url).await.unwrap();
    let client = crate::postgres::fixture::client("new");
    catalog.insert_client(&client, &Secret::new(PASSWORD)).await.unwrap();
    catalog.discard_unready(at(60)).await.unwrap();
    catalog.client_access(client.id).await.unwrap();
    catalog.discard_unready(at(3600)).await.unwrap();
    assert!(matches!(catalog.client_access(client.id).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn its_address_is_told_to_nobody() {
    const SECRET: &str = "password-in-the-address";
    let dir = tempfile::tempdir().unwrap();
    for url in
        ["mysql://u:password-in-the-address@h/d", "postgres://u:password-in-the-address@127.0.0.1:1/d", "sqlite:x"]
    {
        let error = Catalog::connect(dir.path(), &Secret::new(url)).await.unwrap_err();
        for shown in [format!("{error:?}"), format!("{error}"), format!("{:?}", error.problem())] {
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
    let catalog = Catalog::connect(dir.path(), &database().await).await.unwrap();
    let spec = JobSpec::CheckClient { client: xenkeep_api::ClientId::random() };
    catalog.insert_job(&new_job(spec), at(0)).await.unwrap();
    assert!(!format!("{catalog:?}").contains("postgres://"), "{catalog:?}");
}
