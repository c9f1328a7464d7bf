//! VMs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::record::{Vbd, Vdi, Vm, VmGuestMetrics};
use crate::{Error, Pool, Result, TaskRef, VbdRef, VdiRef, VmRef, params};

impl Pool {
    /// VMs, and custom templates, with a name or with a uuid. Snapshots, control domains and templates of the product are
    /// left out. Names are not unique: who asked decides what several mean.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn find_vms(&self, name_or_uuid: &str) -> Result<Vec<(VmRef, Vm)>> {
        let mut found = self.by_name_or_uuid::<Vm>(name_or_uuid).await?;
        found.retain(|(_, vm)| vm.is_backup_source());
        found.sort_by(|(_, a), (_, b)| a.uuid.cmp(&b.uuid));
        Ok(found)
    }

    /// VMs, snapshots and templates that bear `key` in `other_config`.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vms_marked(&self, key: &str) -> Result<Vec<(VmRef, Vm)>> {
        let all = self.vms().await?;
        Ok(all.into_iter().filter(|(_, vm)| vm.other_config.contains_key(key)).collect())
    }

    /// Disk places of a VM with what stands in them, by position; empty ones and CDs too.
    ///
    /// # Errors
    /// As [`Pool::call`]. Places and disks that vanish meanwhile are left out.
    pub async fn vm_disks(&self, vm: &Vm) -> Result<Vec<(VbdRef, Vbd, Option<(VdiRef, Vdi)>)>> {
        let mut found = Vec::with_capacity(vm.vbds.len());
        for reference in &vm.vbds {
            let Some(vbd) = gone(self.vbd(reference).await)? else { continue };
            let vdi = if vbd.vdi.is_null() { None } else { gone(self.vdi(&vbd.vdi).await)? };
            let vdi = vdi.map(|vdi| (vbd.vdi.clone(), vdi));
            found.push((reference.clone(), vbd, vdi));
        }
        found.sort_by_key(|(_, vbd, _)| (vbd.userdevice.parse::<u32>().unwrap_or(u32::MAX), vbd.userdevice.clone()));
        Ok(found)
    }

    /// Begins a snapshot; the result is its [`VmRef`]. `ignore_vdis` are left out, where the release can
    /// ([`Error::is_unsupported`] where not).
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_snapshot(&self, vm: &VmRef, name: &str, ignore_vdis: &[VdiRef]) -> Result<TaskRef> {
        let mut params = params![vm, name];
        // older releases refuse a third parameter, so it goes along only when it says something
        if !ignore_vdis.is_empty() {
            params.push(crate::json(ignore_vdis));
        }
        self.start("VM.snapshot", params).await
    }

    /// Begins a snapshot for which the guest writes out what it holds (VSS); the result is its [`VmRef`]. Releases since 8.1
    /// have it no more ([`Error::is_unsupported`]).
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_snapshot_with_quiesce(&self, vm: &VmRef, name: &str) -> Result<TaskRef> {
        self.start("VM.snapshot_with_quiesce", params![vm, name]).await
    }

    /// Begins a snapshot with the memory, for which a VM that runs is suspended and resumed; the result is its [`VmRef`].
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_checkpoint(&self, vm: &VmRef, name: &str) -> Result<TaskRef> {
        self.start("VM.checkpoint", params![vm, name]).await
    }

    /// Writes all of `xenstore_data`. Where the VM runs, its guest finds it in its part of xenstore at once, as far as the keys
    /// begin with `vm-data/`; setting single keys changes the record alone (xapi: message_forwarding.ml, xenopsd domain.ml).
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn set_xenstore_data(&self, vm: &VmRef, data: &BTreeMap<String, String>) -> Result<()> {
        self.run("VM.set_xenstore_data", params![vm, data]).await
    }

    /// Begins a fast clone; the result is its [`VmRef`].
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_clone(&self, vm: &VmRef, name: &str) -> Result<TaskRef> {
        self.start("VM.clone", params![vm, name]).await
    }

    /// Removes the record with its VBDs and VIFs. Not its disks, not its snapshots.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_destroy(&self, vm: &VmRef) -> Result<()> {
        self.run("VM.destroy", params![vm]).await
    }

    /// Begins a start.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_start(&self, vm: &VmRef) -> Result<TaskRef> {
        self.start("VM.start", params![vm, false, false]).await
    }

    /// Begins to resume a suspended VM.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_resume(&self, vm: &VmRef) -> Result<TaskRef> {
        self.start("VM.resume", params![vm, false, false]).await
    }

    /// Begins a shutdown by the guest; needs its tools, and may take 20 minutes.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_clean_shutdown(&self, vm: &VmRef) -> Result<TaskRef> {
        self.start("VM.clean_shutdown", params![vm]).await
    }

    /// Begins a shutdown as if by pulling the plug.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vm_hard_shutdown(&self, vm: &VmRef) -> Result<TaskRef> {
        self.start("VM.hard_shutdown", params![vm]).await
    }

    /// Makes it a template, or a VM again.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn set_is_a_template(&self, vm: &VmRef, template: bool) -> Result<()> {
        self.run("VM.set_is_a_template", params![vm, template]).await
    }

    /// Sets the priority under high availability; empty for none.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn set_ha_restart_priority(&self, vm: &VmRef, priority: &str) -> Result<()> {
        self.run("VM.set_ha_restart_priority", params![vm, priority]).await
    }

    /// Blocks an operation; who tries it hears `OPERATION_BLOCKED` with `reason`.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn block_operation(&self, vm: &VmRef, operation: &str, reason: &str) -> Result<()> {
        self.unblock_operation(vm, operation).await?;
        self.run("VM.add_to_blocked_operations", params![vm, operation, reason]).await
    }

    /// Allows an operation again.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn unblock_operation(&self, vm: &VmRef, operation: &str) -> Result<()> {
        self.run("VM.remove_from_blocked_operations", params![vm, operation]).await
    }

    /// Would the pool do `operation` (such as `snapshot`) now?
    ///
    /// # Errors
    /// The very error that the operation would give.
    pub async fn assert_operation_valid(&self, vm: &VmRef, operation: &str) -> Result<()> {
        self.run("VM.assert_operation_valid", params![vm, operation]).await
    }

    /// What the guest's tools say; none while they say nothing.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn guest_metrics(&self, vm: &VmRef) -> Result<Option<VmGuestMetrics>> {
        let metrics = self.vm(vm).await?.guest_metrics;
        if metrics.is_null() { Ok(None) } else { gone(self.record(&metrics).await) }
    }

    /// Addresses of the guest, as its tools tell; empty while they don't.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn guest_addresses(&self, vm: &VmRef) -> Result<Vec<IpAddr>> {
        Ok(self.guest_metrics(vm).await?.map(|metrics| metrics.addresses()).unwrap_or_default())
    }
}

/// Dangling references are normal: none for an object that is gone.
pub(super) fn gone<T>(outcome: Result<T, Error>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}
