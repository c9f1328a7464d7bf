//! Clients: pools that are backed up.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ClientId, PoolSummary, Secret};

/// How bulk data (exports, imports) travels between pool and mover. API calls use it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// In the clear: only for a management network that the administrator trusts.
    Http,
    /// TLS, with the certificate pinned at first contact.
    #[default]
    Https,
}

/// A XenServer / XCP-ng pool, reached through any of its hosts. Its password is never shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Client {
    /// Our id of it.
    pub id: ClientId,
    /// The administrator's name for it; unique.
    pub name: String,
    /// `host` or `host:port` of a host of the pool; the master is found from there.
    pub address: String,
    /// User name on the pool.
    pub user: String,
    /// How data travels.
    pub transport: Transport,
    /// SHA-256 of the certificate of the host at that address (lower-case hex), pinned at first contact; none with `http`.
    pub certificate_sha256: Option<String>,
    /// What the pool said of itself when it was added or last checked.
    pub pool: Option<PoolSummary>,
    /// The mover that does its jobs; without one, whichever is free.
    #[serde(default)]
    pub mover: Option<String>,
    /// How many jobs may work on it at once.
    #[serde(default)]
    pub limits: ClientLimits,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// How many jobs may work on a pool at once. What is absent is as the server is set: three a pool, and no limit for a
/// host or an SR.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientLimits {
    /// On the whole pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<u32>,
    /// With VMs of one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_per_host: Option<u32>,
    /// With disks on one SR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs_per_sr: Option<u32>,
}

/// What the administrator says to add a client.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// The administrator's name for it.
    pub name: String,
    /// `host` or `host:port` of any host of the pool; the port defaults to the transport's (80 or 443).
    pub address: String,
    /// User name on the pool; `root`, or one with the role `pool-admin`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// How data travels; https unless said otherwise.
    #[serde(default)]
    pub transport: Transport,
    /// The administrator says that the management network is trusted: `http` is refused without it, because the
    /// password and all disks travel in clear text then.
    #[serde(default)]
    pub trusted_network: bool,
    /// The certificate to expect, as SHA-256 in hex with or without colons; without it the first one seen is pinned.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// The mover that does its jobs; without one, whichever is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mover: Option<String>,
}

/// What is to change of a client; what is absent stays. The change is made only if a login with it works.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientChange {
    /// `host` or `host:port` of any host of the pool.
    #[serde(default)]
    pub address: Option<String>,
    /// User name on the pool.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// How data travels.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// As in a new client: needed to change to `http`.
    #[serde(default)]
    pub trusted_network: bool,
    /// The certificate to expect from now on. With another address or transport and without this, the one that is shown
    /// at the login is pinned anew.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
    /// Pin the certificate that is shown now, whatever was pinned: for a certificate that was renewed on purpose.
    #[serde(default)]
    pub pin_anew: bool,
}
