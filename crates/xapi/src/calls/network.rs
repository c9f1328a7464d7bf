//! Networks and network cards.

use std::collections::BTreeMap;

use serde_json::json;

use crate::record::{Network, Vif};
use crate::{NetworkRef, Pool, Result, VifRef, VmRef, params};

/// A network card to be made.
#[derive(Debug, Clone)]
pub struct NewVif {
    /// The VM.
    pub vm: VmRef,
    /// The network.
    pub network: NetworkRef,
    /// Position.
    pub device: String,
    /// Its address; empty for one computed from the VM's seed.
    pub mac: String,
    /// Largest packet.
    pub mtu: i64,
    /// `network_default`, `locked` …; empty for the default.
    pub locking_mode: String,
    /// Allowed addresses when locked.
    pub ipv4_allowed: Vec<String>,
    /// Allowed addresses when locked.
    pub ipv6_allowed: Vec<String>,
    /// Rate limit and the like.
    pub qos_algorithm_type: String,
    /// Its numbers.
    pub qos_algorithm_params: BTreeMap<String, String>,
    /// Keys of others and ours.
    pub other_config: BTreeMap<String, String>,
}

impl NewVif {
    /// One like `vif`, with its MAC, in another VM.
    #[must_use]
    pub fn like(vif: &Vif, vm: VmRef) -> Self {
        Self {
            vm,
            network: vif.network.clone(),
            device: vif.device.clone(),
            mac: vif.mac.clone(),
            mtu: vif.mtu,
            locking_mode: vif.locking_mode.clone(),
            ipv4_allowed: vif.ipv4_allowed.clone(),
            ipv6_allowed: vif.ipv6_allowed.clone(),
            qos_algorithm_type: vif.qos_algorithm_type.clone(),
            qos_algorithm_params: vif.qos_algorithm_params.clone(),
            other_config: vif.other_config.clone(),
        }
    }
}

impl Pool {
    /// Networks with a name or with a uuid; names are not unique.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn find_networks(&self, name_or_uuid: &str) -> Result<Vec<(NetworkRef, Network)>> {
        self.by_name_or_uuid(name_or_uuid).await
    }

    /// Makes a network card.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vif_create(&self, new: &NewVif) -> Result<VifRef> {
        let locking_mode = if new.locking_mode.is_empty() { "network_default" } else { &new.locking_mode };
        let record = json!({
            "VM": new.vm,
            "network": new.network,
            "device": new.device,
            "MAC": new.mac,
            "MTU": new.mtu,
            "locking_mode": locking_mode,
            "ipv4_allowed": new.ipv4_allowed,
            "ipv6_allowed": new.ipv6_allowed,
            "qos_algorithm_type": new.qos_algorithm_type,
            "qos_algorithm_params": new.qos_algorithm_params,
            "other_config": new.other_config,
        });
        self.call("VIF.create", params![record]).await
    }

    /// Removes a network card.
    ///
    /// # Errors
    /// As [`Pool::call`].
    pub async fn vif_destroy(&self, vif: &VifRef) -> Result<()> {
        self.run("VIF.destroy", params![vif]).await
    }
}
