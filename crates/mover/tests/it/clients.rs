//! Clients: checking and listing a pool, and what a person is told when it can't be had.

use xenkeep_api::*;

use crate::rig::{Rig, code_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_described_and_its_certificate_pinned() {
    let mut rig = Rig::new().await;
    rig.client.transport = Transport::Https;
    rig.client.address = rig.sim.host_https(0).to_string();
    let (_, report) = rig.run(JobSpec::CheckClient { client: rig.client.id }).await;
    let Some(JobResult::Pool { pool: Some(pool), .. }) = report.result else { panic!("{report:#?}") };
    assert_eq!(pool.certificate_sha256.as_deref(), Some(rig.sim.certificate_sha256()));
    assert_eq!((pool.hosts, pool.master.as_str()), (1, "host-1"));
    assert!(!pool.name.is_empty() && !pool.product.is_empty());
    rig.client.certificate_sha256 = pool.certificate_sha256;
    let (_, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(report.state, JobState::Success, "{report:#?}");
    // A pool that shows another certificate is not talked to.
    let pinned = "00".repeat(32);
    rig.client.certificate_sha256 = Some(pinned.clone());
    let (_, report) = rig.run(rig.backup_spec("web1")).await;
    assert_eq!(code_of(&report), "pool.certificate_changed");
    let message = report.problem.unwrap().message;
    assert!(message.contains(&pinned) && message.contains(rig.sim.certificate_sha256()), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_said_to_be_one() {
    let mut rig = Rig::new().await;
    rig.client.password = Secret::new("guess");
    let (id, report) = rig.run(JobSpec::CheckClient { client: rig.client.id }).await;
    assert_eq!(code_of(&report), "pool.wrong_password");
    assert!(!format!("{report:?} {:?}", rig.desk.log(id)).contains("guess"));
}

#[tokio::test(flavor = "multi_thread")]
async fn vms_are_listed_with_their_disks() {
    let rig = Rig::new().await;
    let (_, report) = rig.run(JobSpec::BrowseClient { client: rig.client.id }).await;
    let Some(JobResult::Inventory { inventory }) = report.result else { panic!("{report:#?}") };
    let vms = inventory.vms;
    let [vm] = vms.as_slice() else { panic!("templates or domain 0 are listed: {vms:#?}") };
    assert_eq!((vm.name.as_str(), vm.power_state, vm.disks.len()), ("web1", PowerState::Halted, 2));
    assert_eq!((vm.disks[1].position.as_str(), vm.disks[1].size_bytes), ("1", 4 << 20));
    assert_eq!(vm.disks[0].sr, "Shared storage");
}
