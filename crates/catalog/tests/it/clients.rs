use xenkeep_api::{Client, JobSpec, PoolHost, PoolSummary, Secret, Transport};
use xenkeep_catalog::Error;

use super::fixture::{
    NO_RECOVERY, PASSWORD, add_point, any_backup, at, backup, catalog, client, failed, new_job, pool, ready_client,
    ready_datastore, run,
};

#[tokio::test]
async fn is_seen_once_its_check_has_succeeded() {
    let (catalog, _dir) = catalog().await;
    let lab = client("lab");
    catalog.insert_client(&lab, &Secret::new(PASSWORD)).await.unwrap();
    assert!(catalog.clients().await.unwrap().is_empty());
    assert!(matches!(catalog.client("lab").await, Err(Error::NotFound(_))));
    // The mover that checks it does see it.
    let access = catalog.client_access(lab.id).await.unwrap();
    assert_eq!((access.password.expose(), access.certificate_sha256), (PASSWORD, None));

    let lab = ready_client(&catalog, "lab2").await;
    assert_eq!(lab.pool, Some(pool()));
    assert_eq!(lab.certificate_sha256, pool().certificate_sha256, "the certificate of the first contact is pinned");
    assert_eq!(catalog.clients().await.unwrap(), std::slice::from_ref(&lab));
    assert_eq!(catalog.client("lab2").await.unwrap(), lab);
    assert_eq!(catalog.client(&lab.id.to_string().to_uppercase()).await.unwrap(), lab);
}

#[tokio::test]
async fn a_pinned_certificate_stays_pinned() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let check = run(&catalog, JobSpec::CheckClient { client: lab.id }).await;
    let mut changed = pool();
    changed.certificate_sha256 = Some("cd".repeat(32));
    changed.hosts = 3;
    let report = super::fixture::good(xenkeep_api::JobResult::Pool { pool: Some(changed), checks: Vec::new() });
    catalog.finish(check.id, check.fence, &report, at(3), NO_RECOVERY).await.unwrap();
    let lab = catalog.client("lab").await.unwrap();
    assert_eq!(lab.certificate_sha256, pool().certificate_sha256);
    assert_eq!(lab.pool.unwrap().hosts, 3);
}

#[tokio::test]
async fn any_job_tells_where_the_hosts_are_now() {
    let (catalog, _dir) = catalog().await;
    let (lab, store) = (ready_client(&catalog, "lab").await, ready_datastore(&catalog, "store").await);
    let job = run(&catalog, backup(lab.id, store)).await;
    let member = PoolHost { address: "10.0.0.7".to_owned(), ..PoolHost::default() };
    let moved = PoolSummary { members: vec![member], ..pool() };
    let report = xenkeep_api::JobReport { pool: Some(moved.clone()), ..failed() };
    catalog.finish(job.id, job.fence, &report, at(3), NO_RECOVERY).await.unwrap();
    let told = catalog.client("lab").await.unwrap();
    assert_eq!((told.pool, told.certificate_sha256), (Some(moved), lab.certificate_sha256));
    assert_eq!(catalog.client_access(lab.id).await.unwrap().members[0].address, "10.0.0.7");
}

#[tokio::test]
async fn names_are_unique_and_free_again() {
    let (catalog, _dir) = catalog().await;
    let first = client("lab");
    catalog.insert_client(&first, &Secret::new("a")).await.unwrap();
    let Err(Error::Exists(problem)) = catalog.insert_client(&client("lab"), &Secret::new("b")).await else { panic!() };
    assert_eq!(problem.code, "client.exists");
    assert!(problem.message.contains("being added"), "{problem}");
    catalog.discard_client(first.id).await.unwrap();
    let lab = ready_client(&catalog, "lab").await;
    let Err(Error::Exists(problem)) = catalog.insert_client(&client("lab"), &Secret::new("b")).await else { panic!() };
    assert!(problem.message.contains("already"), "{problem}");
    // Discarding is for those that never were.
    catalog.discard_client(lab.id).await.unwrap();
    assert_eq!(catalog.client("lab").await.unwrap(), lab);
}

#[tokio::test]
async fn who_is_not_found_is_told_who_there_is() {
    let (catalog, _dir) = catalog().await;
    let Err(Error::NotFound(problem)) = catalog.client("lob").await else { panic!() };
    assert_eq!(problem.hint.as_deref(), Some("xenkeep client add adds one"));
    ready_client(&catalog, "lab").await;
    ready_client(&catalog, "prod").await;
    let Err(Error::NotFound(problem)) = catalog.client("lob").await else { panic!() };
    assert_eq!(problem.hint.as_deref(), Some("there are: lab, prod"));
}

#[tokio::test]
async fn is_not_removed_under_a_job() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let store = ready_datastore(&catalog, "store").await;
    let point = add_point(&catalog, "a", &lab, store, 5).await;
    let job = new_job(backup(lab.id, store));
    catalog.insert_job(&job, at(0)).await.unwrap();
    for _ in ["queued", "running"] {
        let Err(Error::InUse(problem)) = catalog.remove_client(&lab).await else { panic!() };
        assert_eq!(problem.code, "client.in_use");
        assert!(problem.message.contains(&job.id.to_string()), "{problem}");
        super::fixture::claim_any(&catalog, 1).await;
    }
    catalog.finish(job.id, 1, &failed(), at(2), NO_RECOVERY).await.unwrap();
    catalog.remove_client(&lab).await.unwrap();
    assert!(catalog.clients().await.unwrap().is_empty());
    assert!(matches!(catalog.client_access(lab.id).await, Err(Error::NotFound(_))));
    assert_eq!(catalog.find_point(&point.id).await.unwrap(), point, "its points stay");
}

#[tokio::test]
async fn half_added_ones_can_be_swept_away() {
    let (catalog, _dir) = catalog().await;
    let kept = ready_client(&catalog, "kept").await;
    catalog.insert_client(&client("half"), &Secret::new("x")).await.unwrap();
    catalog.discard_unready(at(3600)).await.unwrap();
    ready_client(&catalog, "half").await;
    assert_eq!(catalog.client("kept").await.unwrap(), kept);
}

#[tokio::test]
async fn hostile_texts_are_only_texts() {
    let (catalog, _dir) = catalog().await;
    let name = "x'; DROP TABLE clients; --";
    let odd = Client { transport: Transport::Http, address: "ü\"\\".to_owned(), ..client(name) };
    catalog.insert_client(&odd, &Secret::new("'\"\u{0}")).await.unwrap();
    let access = catalog.client_access(odd.id).await.unwrap();
    assert_eq!((access.name.as_str(), access.address.as_str()), (name, "ü\"\\"));
    assert_eq!(access.password.expose(), "'\"\u{0}");
    assert_eq!(access.transport, Transport::Http);
    run(&catalog, any_backup()).await;
}
