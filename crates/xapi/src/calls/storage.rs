//! SRs, disks and their places.

use std::collections::BTreeMap;

use serde_json::json;

use super::vm::gone;
use crate::record::{Sr, Vdi};
use crate::{HostRef, Pool, Result, SrRef, VbdRef, VdiRef, VmRef, params};

/// A disk to be made.
#[derive(Debug, Clone, Default)]
pub struct NewVdi {
    /// Where.
    pub sr: SrRef,
    /// Name.
    pub name_label: String,
    /// Description.
    pub name_description: String,
    /// Size, rounded up by the driver.
    pub virtual_size_bytes: u64,
    /// Keys of ours.
    pub other_config: BTreeMap<String, String>,
}

/// A place to be made.
#[derive(Debug, Clone)]
pub struct NewVbd {
    /// The VM.
    pub vm: VmRef,
    /// The disk.
    pub vdi: VdiRef,
    /// Position, or `autodetect`.
    pub userdevice: String,
    /// The guest boots from it.
    pub bootable: bool,
    /// Not to be written to.
    pub read_only: bool,
    /// Keys of ours.
    pub other_config: BTreeMap<String, String>,
}

impl Pool {
    /// SRs with a name or with a uuid; names are not unique.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn find_srs(&self, name_or_uuid: &str) -> Result<Vec<(SrRef, Sr)>> {
        self.by_name_or_uuid(name_or_uuid).await
    }

    /// The pool's default SR; none when it is not set, or is gone.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn default_sr(&self) -> Result<Option<(SrRef, Sr)>> {
        let (_, pool) = self.pool_record().await?;
        if pool.default_sr.is_null() {
            return Ok(None);
        }
        Ok(gone(self.sr(&pool.default_sr).await)?.map(|sr| (pool.default_sr, sr)))
    }

    /// Hosts that see the SR now.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn sr_hosts(&self, sr: &Sr) -> Result<Vec<HostRef>> {
        let mut hosts = Vec::new();
        for pbd in &sr.pbds {
            if let Some(pbd) = gone(self.pbd(pbd).await)?
                && pbd.currently_attached
            {
                hosts.push(pbd.host);
            }
        }
        Ok(hosts)
    }

    /// The record with sizes that the driver has just measured, where it can.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn sr_refreshed(&self, sr: &SrRef) -> Result<Sr> {
        if let Err(error) = self.run("SR.update", params![sr]).await {
            if error.is_connection() || error.is_gone() {
                return Err(error);
            }
            tracing::debug!(%sr, %error, "sizes are those of the last scan");
        }
        self.sr(sr).await
    }

    /// Disks that bear `key` in `other_config`.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vdis_marked(&self, key: &str) -> Result<Vec<(VdiRef, Vdi)>> {
        let all = self.vdis().await?;
        Ok(all.into_iter().filter(|(_, vdi)| vdi.other_config.contains_key(key)).collect())
    }

    /// Makes a disk.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vdi_create(&self, new: &NewVdi) -> Result<VdiRef> {
        let record = json!({
            "SR": new.sr,
            "name_label": new.name_label,
            "name_description": new.name_description,
            "virtual_size": new.virtual_size_bytes,
            "type": "user",
            "sharable": false,
            "read_only": false,
            "other_config": new.other_config,
            "xenstore_data": {},
            "sm_config": {},
            "tags": [],
        });
        self.call("VDI.create", params![record]).await
    }

    /// Destroys a disk. Right after an export it may still be in use for some seconds: see [`crate::retry()`].
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vdi_destroy(&self, vdi: &VdiRef) -> Result<()> {
        self.run("VDI.destroy", params![vdi]).await
    }

    /// Makes a place.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vbd_create(&self, new: &NewVbd) -> Result<VbdRef> {
        let record = json!({
            "VM": new.vm,
            "VDI": new.vdi,
            "userdevice": new.userdevice,
            "bootable": new.bootable,
            "mode": if new.read_only { "RO" } else { "RW" },
            "type": "Disk",
            "unpluggable": true,
            "empty": false,
            "other_config": new.other_config,
            "qos_algorithm_type": "",
            "qos_algorithm_params": {},
        });
        self.call("VBD.create", params![record]).await
    }

    /// Detaches a disk from a running VM, or from dom0.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vbd_unplug(&self, vbd: &VbdRef) -> Result<()> {
        self.run("VBD.unplug", params![vbd]).await
    }

    /// Removes a place; the disk stays.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vbd_destroy(&self, vbd: &VbdRef) -> Result<()> {
        self.run("VBD.destroy", params![vbd]).await
    }
}
