//! Datastores that can't be had.

use xenkeep_api::*;

use crate::rig::{Rig, code_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_datastore_that_is_not_there_or_locked_up_is_named_before_the_pool_is_touched() {
    let mut rig = Rig::new().await;
    let before = rig.state().await;
    rig.datastore.password = Secret::new("guess");
    let (_, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(code_of(&report), "datastore.wrong_password");
    rig.datastore.path = rig.dir.path().join("nowhere").to_str().unwrap().into();
    let (_, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(code_of(&report), "datastore.not_a_repository");
    rig.state().await.assert_same_as(&before, "after refusals");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_point_is_not_restored_and_leaves_nothing() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    for pack in packs(std::path::Path::new(&rig.datastore.path).join("data")) {
        let mut bytes = std::fs::read(&pack).unwrap();
        // In the middle of the largest packs: disks, not descriptions.
        if bytes.len() > 1 << 20 {
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            std::fs::set_permissions(&pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::write(&pack, bytes).unwrap();
        }
    }
    let (_, report) = rig.run(rig.beside(&point, "copy")).await;
    assert_eq!(code_of(&report), "datastore.damaged", "{report:#?}");
    rig.state().await.assert_same_as(&before, "after the damage was found");
}

fn packs(dir: std::path::PathBuf) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(packs(path)) } else { files.push(path) }
    }
    files
}
