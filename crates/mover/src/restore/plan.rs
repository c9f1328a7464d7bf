//! What a restore will do, looked up before a byte is sent: the same for a dry run and for the restore itself.

use std::collections::HashMap;

use xapi::{
    HostRef, VmRef,
    record::{Host, Vif, Vm},
};
use xenkeep_api::{Placement, PlannedDisk, PoolDisk, Problem, ReplacedVm, RestorePlan};

use super::{RestoreSpec, beside, doomed, networks, overwrite, versions};
use crate::{
    context::{JobContext, Stop},
    inventory::power_state,
    journal::SwapDisk,
    open::OpenPoint,
    point::DiskFile,
    session::{OrStop, Session},
    sr,
};

/// A restore that was thought through.
pub(super) struct Planned {
    pub(super) plan: RestorePlan,
    pub(super) layout: sr::Layout,
    pub(super) networks: networks::Networks,
    /// The VM that is replaced.
    pub(super) old: Option<(VmRef, Vm)>,
    /// Disks of it that must go before the restore, because there is no room for both, and that was asked for.
    pub(super) first: Vec<String>,
}

/// Thinks it through.
pub(super) async fn make(
    cx: &JobContext,
    session: &Session,
    spec: &RestoreSpec,
    point: &OpenPoint,
) -> Result<Planned, Stop> {
    cx.step("preflight");
    let identity = point.identity();
    let mut refusals = Vec::new();
    let mut warnings = Vec::new();
    let (name, old) = match &spec.placement {
        Placement::Beside { name } => {
            keep(beside::check_name(session, name).await, &mut refusals)?;
            (name.clone(), None)
        }
        Placement::Overwrite { .. } => {
            let old = overwrite::original(session, &point.file.source().id).await?;
            if let Some((_, vm)) = &old {
                keep(overwrite::check(vm), &mut refusals)?;
            }
            warnings.extend(foreign(session, point, old.as_ref()).await?);
            keep(same_macs(session, point, old.as_ref(), &mut warnings).await, &mut refusals)?;
            (identity.name.clone(), old)
        }
    };
    let replaced = match &old {
        Some(old) => Some(replaced(session, old, point).await?),
        None => None,
    };
    let asked = matches!(&spec.placement, Placement::Overwrite { destroy_first: Some(_) });
    let freed = match &replaced {
        Some(replaced) => freed(session, replaced, asked).await?,
        None => sr::Freed::default(),
    };
    let images: Vec<DiskFile> = point.file.images().cloned().collect();
    let srs = sr::plan(session, &spec.places, &images, &freed).await?;
    let kept = matches!(spec.placement, Placement::Overwrite { .. }).then_some(&identity);
    let cards = networks::plan(session, &point.ova(), kept, &spec.places).await?;
    let versions = versions::look(session, point, spec.start).await?;
    if asked && !srs.needs_freed && srs.refusals.is_empty() && replaced.is_some() {
        warnings.push(Problem::new(
            "restore.room_for_both",
            "there is room for both: the original is removed after the restore, not before",
        ));
    }
    let first: Vec<String> = match &replaced {
        Some(replaced) if srs.needs_freed => replaced.disks.iter().map(|disk| disk.vdi_uuid.clone()).collect(),
        _ => Vec::new(),
    };
    refusals.extend(versions.refusals);
    refusals.extend(srs.refusals);
    refusals.extend(cards.refusals);
    warnings.extend(versions.warnings);
    warnings.extend(srs.warnings);
    warnings.extend(cards.warnings);
    warnings.extend(wakes_up(session, spec, point).await?);
    let disks = images.iter().map(|file| {
        let place = srs.by_position.get(&file.disk.position);
        PlannedDisk {
            position: file.disk.position.clone(),
            name: file.disk.name.clone(),
            size_bytes: file.disk.size_bytes,
            data_bytes: file.data_bytes,
            sr_uuid: place.map(|(uuid, _)| uuid.clone()),
            sr: place.map(|(_, name)| name.clone()),
        }
    });
    let plan = RestorePlan {
        point: spec.point.clone(),
        client: session.client.name.clone(),
        vm_name: name,
        vm_uuid: kept.map(|identity| identity.uuid.clone()),
        placement: spec.placement.clone(),
        replaced: replaced.map(|vm| ReplacedVm { destroyed_first: !first.is_empty(), ..vm }),
        disks: disks.collect(),
        srs: srs.srs,
        networks: cards.cards,
        point_version: versions.point,
        pool_version: versions.pool,
        start: spec.start,
        ok: refusals.is_empty(),
        warnings,
        refusals,
    };
    Ok(Planned { plan, layout: srs.layout, networks: cards.networks, old, first })
}

/// Puts what speaks against the restore to the rest; only a pool that does not answer ends the planning.
fn keep(checked: Result<(), Stop>, refusals: &mut Vec<Problem>) -> Result<(), Stop> {
    match checked {
        Err(Stop::Problem(problem)) if !problem.code.starts_with("pool.") => {
            refusals.push(*problem);
            Ok(())
        }
        other => other,
    }
}

/// What goes of the old VM, and what stays.
async fn replaced(session: &Session, old: &(VmRef, Vm), point: &OpenPoint) -> Result<ReplacedVm, Stop> {
    let (reference, vm) = old;
    let positions: Vec<SwapDisk> = point
        .file
        .disks
        .iter()
        .map(|file| SwapDisk { position: file.disk.position.clone(), vdi_uuid: String::new(), name: String::new() })
        .collect();
    let (mut disks, mut kept_disks) = (Vec::new(), Vec::new());
    for (_, vbd, vdi) in session.pool.vm_disks(vm).await.or_stop(session)? {
        let (xapi::record::VbdType::Disk, Some((_, vdi))) = (&vbd.kind, vdi) else { continue };
        let sr = session.pool.sr(&vdi.sr).await.or_gone(session)?;
        let disk = PoolDisk {
            position: vbd.userdevice.clone(),
            vdi_uuid: vdi.uuid.clone(),
            name: vdi.name_label.clone(),
            size_bytes: vdi.virtual_bytes(),
            sr: sr.map(|sr| sr.name_label).unwrap_or_default(),
        };
        match doomed::why_kept(session, reference, &disk.position, &disk.vdi_uuid, &positions).await? {
            None => disks.push(disk),
            Some(_) => kept_disks.push(disk),
        }
    }
    Ok(ReplacedVm {
        uuid: vm.uuid.clone(),
        name: vm.name_label.clone(),
        power_state: power_state(&vm.power_state),
        disks,
        kept_disks,
        destroyed_first: false,
    })
}

/// What the removal of these disks would free, by SR.
async fn freed(session: &Session, replaced: &ReplacedVm, asked: bool) -> Result<sr::Freed, Stop> {
    let mut freed = sr::Freed { asked, ..sr::Freed::default() };
    for disk in &replaced.disks {
        let Some((_, vdi)) = session.pool.vdi_by_uuid(&disk.vdi_uuid).await.or_gone(session)? else { continue };
        let takes = u64::try_from(vdi.physical_utilisation).unwrap_or(0);
        let sum = freed.by_sr.entry(vdi.sr).or_insert(0);
        *sum = sum.saturating_add(takes);
    }
    Ok(freed)
}

/// The identity goes to another pool than the one that it came from.
async fn foreign(session: &Session, point: &OpenPoint, old: Option<&(VmRef, Vm)>) -> Result<Option<Problem>, Stop> {
    let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
    if pool.uuid == point.file.pool.uuid || old.is_some() {
        return Ok(None);
    }
    let text = format!(
        "the VM gets the uuid and the MACs of the original on pool {}: never run both in one network",
        point.file.pool.name
    );
    Ok(Some(Problem::new("restore.identity_twice", text).hint("restore beside with --as for MACs of its own")))
}

/// A VM that is restored with its memory does not start, it goes on: what that means elsewhere than where it was.
async fn wakes_up(session: &Session, spec: &RestoreSpec, point: &OpenPoint) -> Result<Option<Problem>, Stop> {
    if point.file.memory.is_none() {
        return Ok(None);
    }
    let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
    let what = match &spec.placement {
        Placement::Beside { .. } => "goes on with the addresses that the original had",
        Placement::Overwrite { .. } if pool.uuid != point.file.pool.uuid => {
            "goes on only on processors like those it ran on"
        }
        Placement::Overwrite { .. } => return Ok(None),
    };
    let text = format!("the point holds the VM's memory: resumed, it {what}");
    Ok(Some(Problem::new("restore.memory", text).hint("--without-memory restores it switched off")))
}

/// XAPI refuses a second VM with the seed of the MACs; a single MAC twice is let through, and worth a word.
async fn same_macs(
    session: &Session,
    point: &OpenPoint,
    old: Option<&(VmRef, Vm)>,
    warnings: &mut Vec<Problem>,
) -> Result<(), Stop> {
    let identity = point.identity();
    let vms: HashMap<VmRef, Vm> = session.pool.records().await.or_stop(session)?;
    let is_old = |reference: &VmRef, vm: &Vm| {
        old.is_some_and(|(old, _)| old == reference || vm.snapshot_of == *old) || vm.uuid == identity.uuid
    };
    if let Some(seed) = identity.mac_seed() {
        let mut same: Vec<String> = vms
            .iter()
            .filter(|(reference, vm)| !is_old(reference, vm))
            .filter(|(_, vm)| vm.other_config.get("mac_seed").is_some_and(|other| other == seed))
            .map(|(_, vm)| format!("{} ({})", vm.name_label, vm.uuid))
            .collect();
        same.sort();
        if !same.is_empty() {
            let text =
                format!("pool {} has what would get the same MAC addresses: {}", session.client.name, same.join(", "));
            return Err(Problem::new("vm.duplicate_mac", text)
                .hint(
                    "snapshots of the lost VM, or a copy with its MACs kept: remove them, or restore beside with --as",
                )
                .about(&identity.uuid)
                .into());
        }
    }
    let vifs: HashMap<xapi::VifRef, Vif> = session.pool.records().await.or_stop(session)?;
    for (device, mac) in identity.macs() {
        let twin = vifs.values().filter(|vif| vif.mac.eq_ignore_ascii_case(mac)).find_map(|vif| {
            let vm = vms.get(&vif.vm)?;
            (!is_old(&vif.vm, vm) && !vm.is_a_snapshot && !vm.is_a_template).then_some(vm)
        });
        if let Some(vm) = twin {
            let text = format!("VM {} ({}) has the MAC {mac} of card {device}, too", vm.name_label, vm.uuid);
            warnings.push(Problem::new("restore.mac_twice", text).hint("never run both in one network"));
        }
    }
    Ok(())
}

/// Hosts that are up, with their memory that is free.
pub(super) async fn free_memory(session: &Session, hosts: &HashMap<HostRef, Host>) -> Option<i64> {
    let mut most = None;
    for (reference, _) in hosts.iter().filter(|(_, host)| host.enabled) {
        match session.pool.call::<i64>("host.compute_free_memory", xapi::params![reference]).await {
            Ok(free) => most = most.max(Some(free)),
            Err(error) => tracing::debug!(%error, "free memory unknown"),
        }
    }
    most
}
