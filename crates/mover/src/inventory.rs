//! What is on a client's pool: its hosts, SRs, networks and VMs.

use std::collections::{BTreeSet, HashMap};

use xapi::record::{Certificate, Host, HostMetrics, Network, Pbd, Pif, Sr, Vbd, VbdType, Vdi, Vm, VmGuestMetrics};
use xapi::{
    CertificateRef, HostMetricsRef, HostRef, NetworkRef, PifRef, SrRef, VbdRef, VdiRef, VmGuestMetricsRef, VmRef,
};
use xenkeep_api::{
    ClientAccess, JobResult, PoolDisk, PoolHost, PoolInterface, PoolInventory, PoolNetwork, PoolSr, PoolSummary,
    PoolVm, PowerState, TransferNetwork,
};

use crate::{
    context::{JobContext, Stop},
    point::PoolFile,
    session::{OrStop, Session},
};

/// Lists what is on a client's pool.
pub(crate) async fn browse(cx: &JobContext, client: &ClientAccess) -> Result<JobResult, Stop> {
    cx.step("browse");
    let session = Session::open(cx, client, None).await?;
    let inventory = cx.or_cancelled(inventory(&session)).await;
    session.close().await;
    Ok(JobResult::Inventory { inventory: Box::new(inventory?) })
}

/// Everything, read in one go a class.
pub(crate) async fn inventory(session: &Session) -> Result<PoolInventory, Stop> {
    let pool = &session.pool;
    let hosts = Hosts::of(session).await?;
    let summary = hosts.summary(session).await?;
    let networks: HashMap<NetworkRef, Network> = pool.records().await.or_stop(session)?;
    let vms: HashMap<VmRef, Vm> = pool.records().await.or_stop(session)?;
    let disks = Disks {
        vbds: pool.records().await.or_stop(session)?,
        vdis: pool.records().await.or_stop(session)?,
        srs: pool.records().await.or_stop(session)?,
        guests: pool.records().await.or_stop(session)?,
    };
    let pbds: HashMap<_, Pbd> = pool.records().await.or_stop(session)?;
    let mut srs: Vec<PoolSr> = disks
        .srs
        .iter()
        .filter(|(_, sr)| sr.holds_disks())
        .map(|(reference, sr)| PoolSr {
            uuid: sr.uuid.clone(),
            name: sr.name_label.clone(),
            kind: sr.kind.clone(),
            shared: sr.shared,
            default: *reference == hosts.pool.default_sr,
            attached: pbds.values().any(|pbd| pbd.sr == *reference && pbd.currently_attached),
            size_bytes: u64::try_from(sr.physical_size).ok().filter(|size| *size > 0),
            free_bytes: sr.free_bytes(),
        })
        .collect();
    srs.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    let mut networks: Vec<PoolNetwork> = networks
        .into_iter()
        .map(|(reference, network)| PoolNetwork {
            management: hosts.pifs.values().any(|pif| pif.network == reference && pif.management),
            uuid: network.uuid,
            name: network.name_label,
            bridge: network.bridge,
            purpose: network.purpose,
        })
        .collect();
    networks.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    let mut vms: Vec<PoolVm> = vms
        .into_values()
        .filter(|vm| vm.is_backup_source() && !vm.is_a_template)
        .map(|vm| disks.vm(vm, &hosts.hosts))
        .collect();
    vms.sort_by(|a, b| (&a.name, &a.uuid).cmp(&(&b.name, &b.uuid)));
    Ok(PoolInventory { pool: summary, srs, networks, vms })
}

/// Which pool it is, for a restore point.
pub(crate) async fn pool_file(session: &Session) -> Result<PoolFile, Stop> {
    let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
    let master = session.pool.host(&pool.master).await.or_stop(session)?;
    Ok(PoolFile {
        uuid: pool.uuid,
        product: master.product(),
        name: if pool.name_label.is_empty() { master.name_label } else { pool.name_label },
    })
}

/// The pool, if its hosts are not those that the job was told of. The pool is looked for at them when the client's own
/// address does not answer, so a change of them must not go unnoticed until then.
pub(crate) async fn moved(session: &Session) -> Result<Option<PoolSummary>, Stop> {
    let hosts: HashMap<HostRef, Host> = session.pool.records().await.or_stop(session)?;
    let certificates = certificates(session).await?;
    let now: BTreeSet<_> =
        hosts.iter().map(|(host, record)| (record.address.clone(), print(&certificates, host))).collect();
    let told = session.client.members.iter().map(|member| (member.address.clone(), member.certificate_sha256.clone()));
    if now == told.collect() {
        return Ok(None);
    }
    Hosts::of(session).await?.summary(session).await.map(Some)
}

/// What the pool says of its hosts' certificates. Releases before 8.2 have no such class.
async fn certificates(session: &Session) -> Result<HashMap<CertificateRef, Certificate>, Stop> {
    match session.pool.records::<Certificate>().await {
        Err(error) if error.is_unsupported() => Ok(HashMap::new()),
        other => other.or_stop(session),
    }
}

/// The certificate that a host shows: the one that ends last.
fn certificate<'a>(certificates: &'a HashMap<CertificateRef, Certificate>, host: &HostRef) -> Option<&'a Certificate> {
    let own = certificates.values().filter(|certificate| certificate.host == *host && certificate.kind == "host");
    own.max_by_key(|certificate| certificate.not_after)
}

/// Its fingerprint: SHA-256, lower-case hex.
fn print(certificates: &HashMap<CertificateRef, Certificate>, host: &HostRef) -> Option<String> {
    let certificate = certificate(certificates, host)?;
    let parsed: Result<xapi::Fingerprint, _> = certificate.fingerprint_sha256.parse();
    parsed.or_else(|_| certificate.fingerprint.parse()).ok().map(|print| print.to_string())
}

/// The pool's hosts with all that belongs to them.
pub(crate) struct Hosts {
    pub(crate) pool: xapi::record::Pool,
    pub(crate) hosts: HashMap<HostRef, Host>,
    metrics: HashMap<HostMetricsRef, HostMetrics>,
    pub(crate) pifs: HashMap<PifRef, Pif>,
    networks: HashMap<NetworkRef, Network>,
    certificates: HashMap<CertificateRef, Certificate>,
}

impl Hosts {
    /// Reads them.
    pub(crate) async fn of(session: &Session) -> Result<Self, Stop> {
        let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
        let certificates = certificates(session).await?;
        Ok(Self {
            pool,
            hosts: session.pool.records().await.or_stop(session)?,
            metrics: session.pool.records().await.or_stop(session)?,
            pifs: session.pool.records().await.or_stop(session)?,
            networks: session.pool.records().await.or_stop(session)?,
            certificates,
        })
    }

    /// What they say.
    pub(crate) async fn summary(&self, session: &Session) -> Result<PoolSummary, Stop> {
        let master = self.hosts.get(&self.pool.master);
        let master_name = master.map(|host| host.name_label.clone()).unwrap_or_default();
        let mut members: Vec<PoolHost> =
            self.hosts.iter().map(|(reference, host)| self.member(reference, host)).collect();
        members.sort_by(|a, b| (!a.master, &a.name, &a.uuid).cmp(&(!b.master, &b.name, &b.uuid)));
        let transfer = self.transfer(session).await;
        Ok(PoolSummary {
            uuid: self.pool.uuid.clone(),
            name: if self.pool.name_label.is_empty() { master_name.clone() } else { self.pool.name_label.clone() },
            master: master_name,
            product: master.map(Host::product).unwrap_or_default(),
            hosts: u32::try_from(self.hosts.len()).unwrap_or(u32::MAX),
            certificate_sha256: session.certificate().map(|certificate| certificate.to_string()),
            members,
            transfer,
        })
    }

    fn member(&self, reference: &HostRef, host: &Host) -> PoolHost {
        let mut interfaces: Vec<PoolInterface> = self
            .pifs
            .values()
            .filter(|pif| pif.host == *reference && !pif.ip.is_empty())
            .map(|pif| PoolInterface {
                device: pif.device.clone(),
                network: self.network(pif),
                address: pif.ip.clone(),
                management: pif.management,
            })
            .collect();
        interfaces.sort_by(|a, b| (!a.management, &a.device, &a.address).cmp(&(!b.management, &b.device, &b.address)));
        let certificate = certificate(&self.certificates, reference);
        PoolHost {
            uuid: host.uuid.clone(),
            name: host.name_label.clone(),
            address: host.address.clone(),
            master: *reference == self.pool.master,
            enabled: host.enabled,
            live: self.metrics.get(&host.metrics).is_none_or(|metrics| metrics.live),
            product: host.product(),
            interfaces,
            certificate_sha256: print(&self.certificates, reference),
            certificate_expires: certificate.map(|certificate| certificate.not_after),
        }
    }

    fn network(&self, pif: &Pif) -> String {
        self.networks.get(&pif.network).map(|network| network.name_label.clone()).unwrap_or_default()
    }

    /// The network of the interface that a connection to the master really ends at.
    async fn transfer(&self, session: &Session) -> Option<TransferNetwork> {
        let (local, peer) = match session.pool.route().await {
            Ok(route) => route,
            Err(error) => {
                tracing::debug!(%error, "no route");
                return None;
            }
        };
        let peer = peer.ip().to_canonical();
        let mut cards: Vec<&Pif> =
            self.pifs.values().filter(|pif| pif.ip.parse::<std::net::IpAddr>() == Ok(peer)).collect();
        // Hosts of a simulated pool share an address: the master is the one that was connected to.
        cards.sort_by_key(|pif| (pif.host != self.pool.master, pif.device.clone()));
        let card = cards.first().copied();
        let host = card.map_or(&self.pool.master, |pif| &pif.host);
        Some(TransferNetwork {
            mover_address: local.ip().to_canonical().to_string(),
            host_address: peer.to_string(),
            host: self.hosts.get(host).map(|host| host.name_label.clone()).unwrap_or_default(),
            device: card.map(|pif| pif.device.clone()).unwrap_or_default(),
            network: card.map(|pif| self.network(pif)).unwrap_or_default(),
            management: card.is_some_and(|pif| pif.management),
        })
    }
}

/// What the list of VMs needs besides the VMs.
struct Disks {
    vbds: HashMap<VbdRef, Vbd>,
    vdis: HashMap<VdiRef, Vdi>,
    srs: HashMap<SrRef, Sr>,
    guests: HashMap<VmGuestMetricsRef, VmGuestMetrics>,
}

impl Disks {
    fn vm(&self, vm: Vm, hosts: &HashMap<HostRef, Host>) -> PoolVm {
        let mut disks: Vec<PoolDisk> = vm.vbds.iter().filter_map(|vbd| self.disk(vbd)).collect();
        disks.sort_by_key(|disk| (disk.position.parse().unwrap_or(u32::MAX), disk.position.clone()));
        PoolVm {
            power_state: power_state(&vm.power_state),
            host: hosts.get(&vm.resident_on).map(|host| host.name_label.clone()),
            tools: self.guests.get(&vm.guest_metrics).is_some_and(|guest| guest.pv_drivers_detected),
            disks,
            uuid: vm.uuid,
            name: vm.name_label,
            tags: vm.tags,
        }
    }

    fn disk(&self, vbd: &VbdRef) -> Option<PoolDisk> {
        let vbd = self.vbds.get(vbd).filter(|vbd| vbd.kind == VbdType::Disk)?;
        let vdi = self.vdis.get(&vbd.vdi)?;
        Some(PoolDisk {
            position: vbd.userdevice.clone(),
            vdi_uuid: vdi.uuid.clone(),
            name: vdi.name_label.clone(),
            size_bytes: vdi.virtual_bytes(),
            sr: self.srs.get(&vdi.sr).map(|sr| sr.name_label.clone()).unwrap_or_default(),
        })
    }
}

/// XAPI's power state as the API has it; an unknown one counts as running, which forbids most.
pub(crate) fn power_state(state: &xapi::record::PowerState) -> PowerState {
    match state {
        xapi::record::PowerState::Halted => PowerState::Halted,
        xapi::record::PowerState::Paused => PowerState::Paused,
        xapi::record::PowerState::Suspended => PowerState::Suspended,
        _ => PowerState::Running,
    }
}
