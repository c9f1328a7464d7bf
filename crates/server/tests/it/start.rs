use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use xenkeep_api::{Client, JobState};
use xenkeep_server::{Error, Server, ServerConfig};

use crate::fixture::Rig;

#[tokio::test]
async fn one_server_a_data_directory() {
    let rig = Rig::start().await;
    let second = Server::start(ServerConfig::new(rig.dir.path(), "127.0.0.1:0".parse().unwrap())).await;
    let error = second.unwrap_err();
    assert!(matches!(error, Error::DataDirInUse { .. }), "{error:?}");
    assert_eq!(error.problem().code, "server.data_dir_in_use");
    let _: Vec<Client> = rig.get("/clients").await;
    rig.restart().await.shutdown().await;
}

#[tokio::test]
async fn says_where_it_is_while_it_is_there() {
    let rig = Rig::start().await;
    let path = rig.dir.path().join("server.json");
    let told: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(told["url"], rig.server().url());
    assert_eq!(told["pid"], std::process::id());
    assert_eq!(told["certificate_sha256"], Value::Null);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let dir = rig.dir.clone();
    rig.shutdown().await;
    assert!(!dir.path().join("server.json").exists());
}

#[tokio::test]
async fn makes_a_private_directory() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("deep/data");
    let server = Server::start(ServerConfig::new(&dir, "127.0.0.1:0".parse().unwrap())).await.unwrap();
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    server.shutdown().await.unwrap();
    let error = Server::start(ServerConfig::new("/dev/null/x", "127.0.0.1:0".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.problem().code, "server.data_dir");
}

#[tokio::test]
async fn a_taken_port_changes_nothing_in_the_catalogue() {
    let rig = Rig::start().await;
    rig.furnish().await;
    rig.queue_backup("web").await;
    let job = rig.lease().await;
    let copy = tempfile::tempdir().unwrap();
    for name in ["xenkeep.db", "xenkeep.db-wal", "key", "token"] {
        std::fs::copy(rig.dir.path().join(name), copy.path().join(name)).unwrap();
    }
    let taken = rig.server().local_addr();
    let error = Server::start(ServerConfig::new(copy.path(), taken)).await.unwrap_err();
    assert!(matches!(error, Error::Listen { .. }), "{error:?}");
    let catalog = xenkeep_catalog::Catalog::open(copy.path()).await.unwrap();
    assert_eq!(catalog.job(job.id).await.unwrap().state, JobState::Running);
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let rig = Rig::start().await;
    rig.furnish().await;
    let job = rig.queue_backup("web").await;
    let rig = rig.restart().await;
    assert_eq!(rig.get::<Vec<Client>>("/clients").await.len(), 1);
    assert_eq!(rig.job(job.id).await, job);
    let leased = rig.lease().await;
    assert_eq!(leased.client.unwrap().password.expose(), "secret-of-the-pool");
}
