//! What a backup and a restore do, on the simulated pool.

use std::collections::BTreeMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;
use xapi::record::{self, PowerState, VbdType};
use xapi::{
    Backoff, Compression, Endpoint, Error, Export, ExportMetadata, Import, ImportMetadata, NewVbd, NewVdi, NewVif,
    Pool, Tls, VmRef, retry,
};

use crate::sim::{MIB, Rig, snapshot, the_vm, unpack, wait};

#[tokio::test]
async fn logs_in_in_every_way_and_out() {
    let rig = Rig::start().await;
    let master = rig.sim.host_certificate_sha256(0).parse().unwrap();
    for endpoint in [rig.plain(0), rig.pinned(0), rig.plain(1), rig.pinned(1)] {
        let pool = rig.login(endpoint.clone()).await;
        assert!(!pool.vms().await.unwrap().is_empty());
        if endpoint.tls.is_on() {
            assert_eq!(pool.master_certificate(), Some(master));
            let Tls::Pinned(own) = endpoint.tls else { unreachable!() };
            assert_eq!(pool.certificate(), Some(own));
        }
        pool.logout().await;
        let error = pool.vms().await.unwrap_err();
        assert!(error.is_session_invalid(), "{error:?}");
    }
}

#[tokio::test]
async fn wrong_passwords_and_certificates_are_told_apart() {
    let rig = Rig::start().await;
    for endpoint in [rig.plain(0), rig.pinned(0), rig.plain(1)] {
        let error = Pool::login(endpoint, "root", &"wrong".to_string().into()).await.unwrap_err();
        assert!(matches!(error, Error::WrongPassword { .. }), "{error:?}");
    }
    let changed = Endpoint { address: rig.sim.host_https(0).to_string(), tls: rig.pinned(1).tls };
    let error = Pool::login(changed, "root", &"xensim".to_string().into()).await.unwrap_err();
    assert!(matches!(error, Error::CertificateChanged { .. }), "{error:?}");
}

#[tokio::test]
async fn every_record_can_be_read() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let vms = pool.vms().await.unwrap();
    assert!(vms.values().any(|vm| vm.is_control_domain) && vms.values().any(record::Vm::is_default));
    let web = pool.vm(&the_vm(&pool, "web").await).await.unwrap();
    assert_eq!(web.power_state, PowerState::Running);
    let disks = pool.vm_disks(&web).await.unwrap();
    let sizes = disks.iter().filter(|(_, vbd, _)| vbd.kind == VbdType::Disk);
    let sizes = sizes.map(|(_, _, vdi)| vdi.as_ref().map_or(0, |(_, vdi)| vdi.virtual_bytes()));
    assert_eq!(sizes.collect::<Vec<_>>(), [6 << 20, 2 << 20]);
    assert!(!pool.vdis().await.unwrap().is_empty() && !pool.vbds().await.unwrap().is_empty());
    assert!(pool.vifs().await.unwrap().values().all(|vif| vif.mac.len() == 17));
    assert!(!pool.pbds().await.unwrap().is_empty() && !pool.networks().await.unwrap().is_empty());
    assert_eq!(pool.records::<record::Pif>().await.unwrap().len(), 2);
    assert_eq!(pool.records::<record::HostMetrics>().await.unwrap().len(), 2);
    assert!(!pool.records::<record::VmMetrics>().await.unwrap().is_empty());
    pool.records::<record::VmGuestMetrics>().await.unwrap();
    pool.records::<record::Vtpm>().await.unwrap();
    pool.tasks().await.unwrap();
    assert_eq!(pool.hosts().await.unwrap().len(), 2);
    let (_, master) = pool.master().await.unwrap();
    assert!(!master.product().is_empty() && master.api_version_major == 2);
    assert_eq!(master.address, rig.sim.host_https(0).to_string());
    let known = pool.host_certificates().await.unwrap();
    assert_eq!(known.len(), 2);
    assert!(known.values().flatten().any(|print| print.to_string() == rig.sim.host_certificate_sha256(1)));
}

#[tokio::test]
async fn storage_and_clocks() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let (sr, record) = pool.default_sr().await.unwrap().unwrap();
    assert_eq!(pool.find_srs(&record.name_label).await.unwrap().len(), 1);
    assert_eq!(pool.find_srs(&record.uuid).await.unwrap()[0].0, sr);
    assert_eq!(pool.sr_hosts(&record).await.unwrap().len(), 2);
    let fresh = pool.sr_refreshed(&sr).await.unwrap();
    assert!(fresh.holds_disks() && fresh.free_bytes().unwrap() > 1 << 30);
    assert!(pool.srs().await.unwrap().values().any(|sr| !sr.holds_disks()));
    let (host, _) = pool.master().await.unwrap();
    let apart = pool.servertime(&host).await.unwrap().duration_since(jiff::Timestamp::now());
    assert!(apart.abs() < jiff::SignedDuration::from_secs(60));
}

#[tokio::test]
async fn a_snapshot_is_made_marked_found_exported_and_removed() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let web = the_vm(&pool, "web").await;
    let snap = snapshot(&pool, &web).await;
    pool.set_other_config(&snap, "xenkeep:job", "old").await.unwrap();
    pool.set_other_config(&snap, "xenkeep:job", "j1").await.unwrap();
    let (found, record) = pool.vms_marked("xenkeep:job").await.unwrap().remove(0);
    assert_eq!((found, record.other_config["xenkeep:job"].as_str()), (snap.clone(), "j1"));
    assert!(record.is_a_snapshot && record.snapshot_of == web && !record.is_backup_source());
    assert_eq!(pool.find_vms("a snapshot").await.unwrap().len(), 0);
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let mut export = pool.export(Export { compression, ..Export::new(snap.clone()) }).await.unwrap();
        assert!(unpack(&mut export).await.unwrap() == rig.web, "{compression:?}");
        assert_eq!(export.finish(&CancellationToken::new()).await.unwrap().text(), "");
    }
    let disks = pool.vm_disks(&record).await.unwrap();
    pool.vm_destroy(&snap).await.unwrap();
    for (vdi, _) in disks.into_iter().filter_map(|(_, _, vdi)| vdi) {
        retry(Backoff::default(), &CancellationToken::new(), || pool.vdi_destroy(&vdi)).await.unwrap();
    }
    assert!(pool.vms_marked("xenkeep:job").await.unwrap().is_empty());
    assert!(pool.vdis().await.unwrap().values().all(|vdi| !vdi.is_a_snapshot));
    assert!(pool.tasks().await.unwrap().is_empty(), "tasks are destroyed after use");
}

#[tokio::test]
async fn a_member_serves_what_the_master_does_not_see() {
    let rig = Rig::start().await;
    for endpoint in [rig.pinned(0), rig.plain(0)] {
        let pool = rig.login(endpoint).await;
        let far = the_vm(&pool, "far").await;
        let mut export = pool.export(Export::new(far)).await.unwrap();
        assert_eq!(export.address(), rig.sim.host_https(1).to_string());
        let disks = unpack(&mut export).await.unwrap();
        export.finish(&CancellationToken::new()).await.unwrap();
        assert!(disks == [crate::sim::content(2, 3)]);
    }
}

#[tokio::test]
async fn what_was_exported_is_imported_beside_and_on_a_member() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let web = the_vm(&pool, "web").await;
    let snap = snapshot(&pool, &web).await;
    let mut xva = Vec::new();
    pool.export(Export::new(snap)).await.unwrap().read_to_end(&mut xva).await.unwrap();
    for sr in [None, Some("far away")] {
        let sr = match sr {
            Some(name) => Some(pool.find_srs(name).await.unwrap().remove(0).0),
            None => None,
        };
        let mut upload = pool.import(Import { sr: sr.clone(), ..Import::default() }).await.unwrap();
        upload.write_all(&xva).await.unwrap();
        assert_eq!(upload.sent(), xva.len() as u64);
        let result = upload.finish(&CancellationToken::new(), |_| {}).await.unwrap();
        let [new] = &result.references::<VmRef>()[..] else { panic!("{result:?}") };
        let record = pool.vm(new).await.unwrap();
        assert!(record.is_a_template && !record.is_a_snapshot && record.version == 0);
        pool.set_is_a_template(new, false).await.unwrap();
        pool.set_name_label(new, "copy").await.unwrap();
        assert!(rig.contents(&pool, new).await == rig.web);
        if let Some(sr) = sr {
            let disks = pool.vm_disks(&record).await.unwrap();
            assert!(disks.iter().all(|(_, _, vdi)| vdi.as_ref().unwrap().1.sr == sr));
        }
    }
    assert_eq!(pool.find_vms("copy").await.unwrap().len(), 2);
    assert_eq!(pool.find_vms("web").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_vm_starts_tells_its_address_and_stops() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let web = the_vm(&pool, "web").await;
    wait(&pool, pool.vm_clean_shutdown(&web).await.unwrap()).await.unwrap();
    assert_eq!(pool.vm(&web).await.unwrap().power_state, PowerState::Halted);
    wait(&pool, pool.vm_start(&web).await.unwrap()).await.unwrap();
    let addresses = loop {
        let addresses = pool.guest_addresses(&web).await.unwrap();
        if !addresses.is_empty() {
            break addresses;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert!(addresses.iter().all(|address| !address.is_loopback()));
    wait(&pool, pool.vm_hard_shutdown(&web).await.unwrap()).await.unwrap();
    assert!(pool.guest_addresses(&web).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_operation_can_be_blocked() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let far = the_vm(&pool, "far").await;
    pool.block_operation(&far, "start", "being restored").await.unwrap();
    pool.block_operation(&far, "start", "being restored by xenkeep").await.unwrap();
    let error = pool.assert_operation_valid(&far, "start").await.unwrap_err();
    assert_eq!(
        (error.api_code(), error.api_params()[1].as_str()),
        (Some("OPERATION_BLOCKED"), "being restored by xenkeep")
    );
    pool.unblock_operation(&far, "start").await.unwrap();
    pool.assert_operation_valid(&far, "start").await.unwrap();
}

#[tokio::test]
async fn a_vm_comes_back_from_its_metadata_over_other_disks() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.pinned(0)).await;
    let web = the_vm(&pool, "web").await;
    wait(&pool, pool.vm_hard_shutdown(&web).await.unwrap()).await.unwrap();
    let before = pool.vm(&web).await.unwrap();
    let mac = pool.vif(&before.vifs[0]).await.unwrap().mac;
    let tar = pool.export_metadata(ExportMetadata::new(web.clone())).await.unwrap();
    // other disks of the same sizes stand for the old ones
    let mut vdis = BTreeMap::new();
    for (_, vdi) in pool.vm_disks(&before).await.unwrap().into_iter().filter_map(|(_, _, vdi)| vdi) {
        let new = NewVdi {
            sr: vdi.sr.clone(),
            name_label: "stand-in".to_owned(),
            virtual_size_bytes: vdi.virtual_bytes(),
            ..NewVdi::default()
        };
        let made = pool.vdi_create(&new).await.unwrap();
        vdis.insert(vdi.uuid, pool.vdi(&made).await.unwrap().uuid);
    }
    pool.vm_destroy(&web).await.unwrap();
    let dry = ImportMetadata { restore: true, dry_run: true, vdis: vdis.clone(), ..ImportMetadata::default() };
    pool.import_metadata(&tar, dry).await.unwrap();
    assert!(pool.find_vms("web").await.unwrap().is_empty());
    let import = ImportMetadata { restore: true, vdis: vdis.clone(), ..ImportMetadata::default() };
    let back: VmRef = pool.import_metadata(&tar, import).await.unwrap().reference().unwrap();
    let after = pool.vm(&back).await.unwrap();
    assert_eq!((&after.uuid, after.version), (&before.uuid, before.version + 1));
    assert_eq!(pool.vif(&after.vifs[0]).await.unwrap().mac, mac);
    let mut disks: Vec<_> = pool
        .vm_disks(&after)
        .await
        .unwrap()
        .into_iter()
        .filter_map(|(_, _, vdi)| vdi)
        .map(|(_, vdi)| vdi.uuid)
        .collect();
    disks.sort();
    let mut wanted: Vec<_> = vdis.into_values().collect();
    wanted.sort();
    assert_eq!(disks, wanted);
    assert!(pool.tasks().await.unwrap().is_empty());
}

#[tokio::test]
async fn disks_places_and_network_cards_come_and_go() {
    let rig = Rig::start().await;
    let pool = rig.login(rig.plain(0)).await;
    let far = the_vm(&pool, "far").await;
    let (sr, _) = pool.default_sr().await.unwrap().unwrap();
    let other_config = BTreeMap::from([("xenkeep:job".to_owned(), "j".to_owned())]);
    let new = NewVdi {
        sr,
        name_label: "new".to_owned(),
        virtual_size_bytes: 4 * MIB as u64,
        other_config: other_config.clone(),
        ..NewVdi::default()
    };
    let vdi = pool.vdi_create(&new).await.unwrap();
    assert_eq!(pool.vdis_marked("xenkeep:job").await.unwrap()[0].0, vdi);
    let vbd = NewVbd {
        vm: far.clone(),
        vdi: vdi.clone(),
        userdevice: "autodetect".to_owned(),
        bootable: false,
        read_only: true,
        other_config,
    };
    let vbd = pool.vbd_create(&vbd).await.unwrap();
    assert_eq!(pool.vbd(&vbd).await.unwrap().mode, "RO");
    pool.vbd_destroy(&vbd).await.unwrap();
    pool.vdi_destroy(&vdi).await.unwrap();
    assert!(pool.vdi(&vdi).await.unwrap_err().is_gone());
    let old = pool.vm(&far).await.unwrap().vifs.remove(0);
    let vif = pool.vif(&old).await.unwrap();
    pool.vif_destroy(&old).await.unwrap();
    let new = pool.vif_create(&NewVif::like(&vif, far)).await.unwrap();
    let new = pool.vif(&new).await.unwrap();
    assert_eq!((new.mac, new.network, new.device), (vif.mac, vif.network, vif.device));
}
