use reqwest::{Method, StatusCode};
use serde_json::json;
use xenkeep_api::{Datastore, JobSpec, Problem, RecoverySheet};

use crate::fixture::{Rig, answer, refused};
use crate::mover;

#[tokio::test]
async fn is_created_with_a_key_of_its_own() {
    let rig = Rig::start().await;
    let keys = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = keys.clone();
    let mover = mover::FakeMover::start(rig.engine(), move |job| {
        assert!(matches!(job.spec, JobSpec::CreateDatastore { .. }) && job.client.is_none());
        let access = job.datastore.as_ref().unwrap();
        seen.lock().unwrap().push((access.path.clone(), access.password.expose().to_owned()));
        mover::good(mover::result(job))
    });
    for (name, path) in [("a", "/srv/./a/"), ("b", "/srv/b")] {
        let response = rig.post("/datastores", json!({"name": name, "path": path})).await;
        let created: Datastore = answer(response, StatusCode::CREATED).await;
        assert_eq!((created.path, created.repository_id.as_str()), (format!("/srv/{name}"), "repo"));
    }
    mover.stop().await;
    let keys = keys.lock().unwrap().clone();
    assert_eq!(keys[0].0, "/srv/a");
    assert_ne!(keys[0].1, keys[1].1);
    assert_eq!(keys[0].1.len(), 64);
    let sheet: RecoverySheet = rig.get("/datastores/a/recovery-sheet").await;
    assert_eq!((sheet.path.as_str(), sheet.password.expose()), ("/srv/a", keys[0].1.as_str()));
    let listed = rig.send(Method::GET, "/datastores").await.text().await.unwrap();
    assert!(!listed.contains(&keys[0].1), "{listed}");
    assert_eq!(rig.get::<Datastore>("/datastores/b").await.name, "b");

    assert_eq!(rig.send(Method::DELETE, "/datastores/b").await.status(), StatusCode::NO_CONTENT);
    let response = rig.send(Method::GET, "/datastores/b").await;
    let problem = refused(response, StatusCode::NOT_FOUND, "datastore.not_found").await;
    assert_eq!(problem.hint.as_deref(), Some("there are: a"));
}

#[tokio::test]
async fn a_failure_leaves_nothing() {
    let rig = Rig::start().await;
    let problem = Problem::new("datastore.not_empty", "/srv/a is not empty").hint("choose an empty directory");
    let mover = mover::failing(rig.engine(), problem.clone());
    for _ in ["once", "and again"] {
        let response = rig.post("/datastores", json!({"name": "a", "path": "/srv/a"})).await;
        assert_eq!(refused(response, StatusCode::UNPROCESSABLE_ENTITY, "datastore.not_empty").await, problem);
    }
    mover.stop().await;
    assert!(rig.get::<Vec<Datastore>>("/datastores").await.is_empty());
}

#[tokio::test]
async fn bad_names_and_paths_are_refused() {
    let rig = Rig::start().await;
    rig.furnish().await;
    for (name, path, status, code) in [
        ("../a", "/srv/a", StatusCode::UNPROCESSABLE_ENTITY, "datastore.bad_name"),
        ("a", "srv/a", StatusCode::UNPROCESSABLE_ENTITY, "datastore.bad_path"),
        ("a", "/srv/../etc", StatusCode::UNPROCESSABLE_ENTITY, "datastore.bad_path"),
        ("a", "/", StatusCode::UNPROCESSABLE_ENTITY, "datastore.bad_path"),
        ("a", "", StatusCode::UNPROCESSABLE_ENTITY, "datastore.bad_path"),
        ("a", "/srv/store/below", StatusCode::CONFLICT, "datastore.path_taken"),
        ("store", "/srv/a", StatusCode::CONFLICT, "datastore.exists"),
    ] {
        refused(rig.post("/datastores", json!({"name": name, "path": path})).await, status, code).await;
    }
}
