//! What a restore will do: SRs of single disks, networks, versions; refused before a byte is sent, or done as planned.

use xapi::params;
use xenkeep_api::*;
use xensim::{
    config::{SrConfig, SrKind},
    fault::{Fault, FaultKind},
};

use crate::rig::{Rig, code_of, config, vm_of};

const LAN: &str = "Pool-wide network associated with eth0";

fn with(mut spec: JobSpec, change: impl FnOnce(&mut RestorePlaces)) -> JobSpec {
    if let JobSpec::Restore { places, .. } = &mut spec {
        change(places);
    }
    spec
}

fn planned(spec: JobSpec) -> JobSpec {
    match spec {
        JobSpec::Restore { client, datastore, point, placement, places, start, .. } => {
            JobSpec::PlanRestore { client, datastore, point, placement, places, start }
        }
        other => other,
    }
}

async fn plan(rig: &Rig, spec: JobSpec) -> RestorePlan {
    let (id, report) = rig.run(planned(spec)).await;
    match report.result {
        Some(JobResult::RestorePlan { plan }) => *plan,
        other => panic!("{other:?} {:#?}", rig.desk.log(id)),
    }
}

/// name-labels of the SRs of a VM's disks, by position.
async fn srs_of(rig: &Rig, uuid: &str) -> Vec<String> {
    let admin = rig.admin().await;
    let (_, vm) = admin.vm_by_uuid(uuid).await.unwrap();
    let mut names = Vec::new();
    for (_, _, vdi) in admin.vm_disks(&vm).await.unwrap() {
        names.push(admin.sr(&vdi.unwrap().1.sr).await.unwrap().name_label);
    }
    admin.logout().await;
    names
}

/// uuids of the networks of a VM's cards.
async fn networks_of(rig: &Rig, uuid: &str) -> Vec<String> {
    let admin = rig.admin().await;
    let (_, vm) = admin.vm_by_uuid(uuid).await.unwrap();
    let mut uuids = Vec::new();
    for vif in &vm.vifs {
        let network = admin.vif(vif).await.unwrap().network;
        uuids.push(admin.network(&network).await.unwrap().uuid);
    }
    admin.logout().await;
    uuids
}

/// Makes a network, and says its uuid.
async fn network(rig: &Rig, name: &str) -> String {
    let admin = rig.admin().await;
    let record = serde_json::json!({"name_label": name, "name_description": "", "MTU": 1500, "other_config": {},
        "bridge": "", "managed": true, "tags": []});
    let network: xapi::NetworkRef = admin.call("network.create", params![record]).await.unwrap();
    let uuid = admin.network(&network).await.unwrap().uuid;
    admin.logout().await;
    uuid
}

async fn rename_lan(rig: &Rig, name: &str) {
    let admin = rig.admin().await;
    for (network, _) in admin.find_networks(LAN).await.unwrap() {
        admin.set_name_label(&network, name).await.unwrap();
    }
    admin.logout().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_disk_goes_to_the_sr_that_was_chosen_for_it() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let read = rig.contents(&point.source_uuid).await;
    let to_second = |spec| with(spec, |places| drop(places.disk_srs.insert("1".into(), "Second storage".into())));
    let vm = rig.restore(to_second(rig.beside(&point, "copy"))).await;
    assert_eq!(srs_of(&rig, &vm.uuid).await, ["Shared storage", "Second storage"]);
    assert_eq!(rig.contents(&vm.uuid).await, read);
    let after = rig.state().await;
    assert_eq!(after.ours(), Vec::<String>::new());
    assert_eq!(after.vms().len(), 2, "no carrier is left");
    // over the original, too
    rig.scribble(&point.source_uuid, 1, 5).await;
    let vm = rig.restore(to_second(rig.restore_spec(&point, Placement::overwrite()))).await;
    assert_eq!(vm.uuid, point.source_uuid);
    assert_eq!(srs_of(&rig, &vm.uuid).await, ["Shared storage", "Second storage"]);
    assert_eq!(rig.contents(&vm.uuid).await, read);
    let after = rig.state().await;
    assert_eq!((after.vms().len(), after.ours()), (2, Vec::<String>::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_the_second_sr_leaves_nothing_of_the_first() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    let mut fault = Fault { at_byte: 1 << 20, ..Fault::new(FaultKind::CutImport) };
    fault.skip = 1;
    rig.sim.faults().arm(fault);
    let spec = with(rig.beside(&point, "copy"), |places| {
        places.disk_srs.insert("1".into(), "Second storage".into());
    });
    let (id, report) = rig.run(spec).await;
    assert_eq!(report.state, JobState::Failed, "{report:#?}");
    assert_eq!(rig.desk.journal(id), []);
    rig.state().await.assert_same_as(&before, "after the second import failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_missing_is_said_before_a_byte_is_sent() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    // The same network under another name is found by its uuid.
    rename_lan(&rig, "Renamed").await;
    let vm = rig.restore(rig.beside(&point, "by-uuid")).await;
    assert_eq!(networks_of(&rig, &vm.uuid).await, networks_of(&rig, &point.source_uuid).await);
    // As on another pool: neither uuid nor name.
    let world = rig.sim.world();
    for network in world.db.read(|t| t.by_name(xensim::model::Class::Network, "Renamed")) {
        world.db.write(|t| t.set(&network, "uuid", "11111111-2222-3333-4444-555555555555"));
    }
    let before = rig.state().await;
    let (_, report) = rig.run(rig.beside(&point, "copy")).await;
    assert_eq!((code_of(&report), report.progress.moved_bytes), ("network.not_found", 0));
    let problem = report.problem.unwrap();
    assert!(problem.message.contains(LAN) && problem.hint.unwrap().contains("Renamed"));
    rig.state().await.assert_same_as(&before, "after the refusal");
    // Chosen, or left out.
    let lab = network(&rig, "Lab").await;
    let chosen = with(rig.beside(&point, "chosen"), |places| drop(places.networks.insert(LAN.into(), "Lab".into())));
    assert_eq!(plan(&rig, chosen.clone()).await.networks[0].by, NetworkMatch::Choice);
    let vm = rig.restore(chosen).await;
    assert_eq!(networks_of(&rig, &vm.uuid).await, [lab]);
    let left_out = with(rig.beside(&point, "bare"), |places| places.unmapped_networks = UnmappedNetworks::LeaveOut);
    let (_, report) = rig.run(left_out).await;
    assert_eq!(report.warnings[0].code, "network.card_left_out");
    assert_eq!(networks_of(&rig, &vm_of(&report).unwrap().uuid).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_networks_of_one_name_the_chosen_one_is_taken() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let twins = [network(&rig, "Twin").await, network(&rig, "Twin").await];
    let to = |name: &str| {
        let name = name.to_owned();
        move |places: &mut RestorePlaces| drop(places.networks.insert("device:0".into(), name))
    };
    let (_, report) = rig.run(with(rig.beside(&point, "copy"), to("Twin"))).await;
    assert_eq!(code_of(&report), "network.name_ambiguous");
    for (number, twin) in twins.iter().enumerate() {
        let vm = rig.restore(with(rig.beside(&point, &format!("copy-{number}")), to(twin))).await;
        assert_eq!(networks_of(&rig, &vm.uuid).await, std::slice::from_ref(twin));
        let over = rig.restore_spec(&point, Placement::overwrite());
        let vm = rig.restore(with(over, to(twin))).await;
        assert_eq!(networks_of(&rig, &vm.uuid).await, std::slice::from_ref(twin), "over the original");
    }
    let nowhere = with(rig.beside(&point, "x"), |places| drop(places.networks.insert("Nowhere".into(), "Twin".into())));
    let (_, report) = rig.run(nowhere).await;
    assert_eq!(code_of(&report), "network.not_in_point");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_it_all_and_changes_nothing() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let before = rig.state().await;
    let over = plan(&rig, rig.restore_spec(&point, Placement::overwrite())).await;
    assert!(over.ok && over.refusals.is_empty(), "{over:#?}");
    let replaced = over.replaced.unwrap();
    assert_eq!((replaced.uuid.as_str(), replaced.disks.len()), (point.source_uuid.as_str(), 2));
    assert_eq!(over.disks.len(), 2);
    assert!(over.srs[0].free_bytes.unwrap() > over.srs[0].needed_bytes && over.srs[0].needed_bytes > 0);
    assert_eq!(over.networks[0].by, NetworkMatch::Uuid);
    assert!(over.networks[0].mac.is_some());
    let refused = with(rig.beside(&point, "web1"), |places| places.sr = Some("Tiny".into()));
    let refused = plan(&rig, refused).await;
    let codes: Vec<&str> = refused.refusals.iter().map(|refusal| refusal.code.as_str()).collect();
    assert_eq!((codes, refused.ok), (vec!["vm.name_taken", "sr.too_small"], false));
    rig.state().await.assert_same_as(&before, "after plans");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_pool_is_said_to_be_too_old_before_a_byte_is_sent() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let world = rig.sim.world();
    world.db.write(|t| t.map_insert(world.master(), "software_version", "xapi", "1.249"));
    let before = rig.state().await;
    let (_, report) = rig.run(rig.beside(&point, "copy")).await;
    assert_eq!((code_of(&report), report.progress.moved_bytes), ("pool.too_old", 0));
    assert!(report.problem.unwrap().message.contains("xapi 1.249"));
    rig.state().await.assert_same_as(&before, "after the refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_goes_first_only_when_asked_and_needed() {
    let rig = Rig::with(|dir| {
        let mut config = config(dir);
        config.srs = vec![SrConfig { default: true, ..SrConfig::new("Shared storage", SrKind::Nfs, 9 << 20) }];
        config
    })
    .await;
    let point = rig.backup("web1").await;
    let read = rig.contents(&point.source_uuid).await;
    let before = rig.state().await;
    let (_, report) = rig.run(rig.restore_spec(&point, Placement::overwrite())).await;
    assert_eq!(code_of(&report), "sr.too_small");
    assert!(report.problem.unwrap().hint.unwrap().contains("--destroy-first"), "offered");
    rig.state().await.assert_same_as(&before, "after the refusal");
    let first = Placement::Overwrite { destroy_first: Some(point.source_uuid.clone()) };
    assert!(plan(&rig, rig.restore_spec(&point, first.clone())).await.replaced.unwrap().destroyed_first);
    rig.state().await.assert_same_as(&before, "after the plan");
    let vm = rig.restore(rig.restore_spec(&point, first)).await;
    assert_eq!(vm.uuid, point.source_uuid);
    assert_eq!(rig.contents(&vm.uuid).await, read);
    let after = rig.state().await;
    assert_eq!((after.vms(), after.vdis().len(), after.ours()), (before.vms(), before.vdis().len(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_room_for_both_nothing_goes_first_whatever_was_asked() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    let (before, content) = (rig.state().await, rig.contents(&point.source_uuid).await);
    rig.sim.faults().arm(Fault::new(FaultKind::FailImportTask));
    let first = Placement::Overwrite { destroy_first: Some(point.source_uuid.clone()) };
    let (_, report) = rig.run(rig.restore_spec(&point, first)).await;
    assert_eq!(report.state, JobState::Failed);
    rig.state().await.assert_same_as(&before, "after the failure");
    assert_eq!(rig.contents(&point.source_uuid).await, content, "the original stands");
}

/// The old product destroyed the original when "overwrite" was chosen, although the VM was to go to another name.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_under_another_name_never_touches_the_original() {
    let rig = Rig::new().await;
    let point = rig.backup("web1").await;
    rig.scribble(&point.source_uuid, 0, 9).await;
    let (before, content) = (rig.state().await, rig.contents(&point.source_uuid).await);
    let contradiction = serde_json::json!({"mode": "overwrite", "name": "other"});
    assert!(serde_json::from_value::<Placement>(contradiction).is_err(), "it can't even be said");
    let vm = rig.restore(rig.beside(&point, "other")).await;
    assert_ne!(vm.uuid, point.source_uuid);
    let after = rig.state().await;
    let (old, new) = (before.vm(&point.source_uuid).unwrap(), after.vm(&point.source_uuid).unwrap());
    assert_eq!((old.name(), old.disks(), old.macs()), (new.name(), new.disks(), new.macs()));
    assert_eq!(rig.contents(&point.source_uuid).await, content, "what was written since the backup is still there");
}
