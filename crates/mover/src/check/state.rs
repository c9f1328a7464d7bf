//! What the pool says of itself, and whether backups and restores can live with it.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use xapi::Address;
use xenkeep_api::{Check, PoolInventory, PoolSummary};

use crate::{
    context::Stop,
    inventory::Hosts,
    problem::{bytes, chain},
    session::{OrStop, Session},
};

/// A difference of clocks that is worth a word.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(60);
/// A licence that ends within this time is worth a word.
const LICENCE_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The port on which hosts serve NBD.
const NBD_PORT: u16 = 10809;
const PATIENCE: Duration = Duration::from_secs(5);

/// Restrictions that take something from backups, and what.
const RESTRICTIONS: [(&str, &str); 5] = [
    ("restrict_cbt", "no changed-block tracking: every backup reads whole disks"),
    ("restrict_export_resource_data", "no export of resource data"),
    ("restrict_checkpoint", "no backup with memory"),
    ("restrict_vss", "no quiesced snapshots"),
    ("restrict_vtpm", "no VMs with a virtual TPM can be restored"),
];

/// All hosts are up, reachable from here, and of one version.
pub(super) async fn hosts(session: &Session, pool: &PoolSummary) -> Check {
    const ID: &str = "hosts";
    let named: Vec<String> = pool
        .members
        .iter()
        .map(|host| {
            let management: Vec<String> = host
                .interfaces
                .iter()
                .filter(|card| card.management)
                .map(|card| format!("{} {}", card.device, card.address))
                .collect();
            let role = if host.master { "master" } else { "member" };
            let management = if management.is_empty() { host.address.clone() } else { management.join(" + ") };
            format!("{} ({role}, {management})", host.name)
        })
        .collect();
    let down: Vec<&str> = pool.members.iter().filter(|host| !host.live).map(|host| host.name.as_str()).collect();
    if !down.is_empty() {
        return Check::warning(
            ID,
            format!("{} of {} host(s) are down: {}", down.len(), pool.members.len(), down.join(", ")),
        )
        .because("VMs and local SRs of a host that is down can't be read")
        .cure("start the host, or look at its console");
    }
    let default = if session.pool.address().ends_with(":80") { 80 } else { 443 };
    let port = Address::parse(&session.pool.address(), default).map_or(default, |address| address.port);
    let mut unreachable = Vec::new();
    for host in pool.members.iter().filter(|host| !host.master) {
        let Ok(address) = Address::parse(&host.address, port) else { continue };
        if let Err(error) = xapi::route(&address, PATIENCE).await {
            unreachable.push(format!("{}: {}", host.name, chain(&error)));
        }
    }
    if !unreachable.is_empty() {
        return Check::failed(
            ID,
            format!("hosts that the master hears from can't be reached from here: {}", unreachable.join("; ")),
        )
        .because("exports of disks on their local SRs are read from them directly")
        .cure("let this machine through to the management address of every host");
    }
    let versions: BTreeSet<&str> = pool.members.iter().map(|host| host.product.as_str()).collect();
    if versions.len() > 1 {
        let versions: Vec<&str> = versions.into_iter().collect();
        return Check::warning(ID, format!("hosts run different versions: {}", versions.join(", ")))
            .because("in a rolling pool upgrade imports are refused")
            .cure("finish the upgrade");
    }
    Check::ok(ID, named.join(", "))
}

/// The pool's clock and ours.
pub(super) async fn clock(session: &Session, now: Timestamp) -> Result<Check, Stop> {
    let (master, record) = session.pool.master().await.or_stop(session)?;
    let theirs = session.pool.servertime(&master).await.or_stop(session)?;
    Ok(judge_clock(&record.name_label, theirs, now))
}

fn judge_clock(master: &str, theirs: Timestamp, ours: Timestamp) -> Check {
    const ID: &str = "clock";
    let skew = theirs.duration_since(ours);
    let seconds = skew.as_secs().abs();
    let way = if skew.is_negative() { "behind" } else { "ahead of" };
    let text = format!("the clock of {master} is {seconds} s {way} this machine's");
    if skew.abs() > SKEW_MAX {
        return Check::warning(ID, text)
            .because("restore points bear the pool's time, schedules and retention go by ours")
            .cure("set both clocks by NTP");
    }
    Check::ok(ID, text)
}

/// Where restores go that name no SR.
pub(super) fn default_sr(inventory: &PoolInventory) -> Check {
    const ID: &str = "default-sr";
    const REASON: &str = "restores that name no SR go there";
    let others: Vec<&str> = inventory.srs.iter().filter(|sr| sr.attached).map(|sr| sr.name.as_str()).collect();
    let Some(sr) = inventory.srs.iter().find(|sr| sr.default) else {
        return Check::warning(ID, "the pool has no default SR").because(REASON).cure(format!(
            "set one (xe pool-param-set default-SR=UUID), or restore with --sr: there are {}",
            others.join(", ")
        ));
    };
    if !sr.attached {
        return Check::warning(ID, format!("the default SR {} is not attached to any host", sr.name))
            .because(REASON)
            .cure(format!("plug it (xe pbd-plug), or restore with --sr: there are {}", others.join(", ")));
    }
    match (sr.free_bytes, sr.size_bytes) {
        (Some(free), Some(size)) => {
            Check::ok(ID, format!("{} ({}), {} of {} free", sr.name, sr.kind, bytes(free), bytes(size)))
        }
        _ => Check::ok(ID, format!("{} ({})", sr.name, sr.kind)),
    }
}

/// A network that hosts serve NBD on.
pub(super) fn nbd_network(inventory: &PoolInventory) -> Check {
    const ID: &str = "nbd-network";
    let of = |purpose: &str| -> Vec<&str> {
        let fits = inventory.networks.iter().filter(|network| network.purpose.iter().any(|known| known == purpose));
        fits.map(|network| network.name.as_str()).collect()
    };
    let (secure, insecure) = (of("nbd"), of("insecure_nbd"));
    if !secure.is_empty() {
        return Check::ok(ID, format!("hosts serve NBD over TLS on {}", secure.join(", ")));
    }
    if !insecure.is_empty() {
        return Check::warning(ID, format!("hosts serve NBD in the clear on {}", insecure.join(", ")))
            .because("xenkeep reads NBD over TLS only")
            .cure("xe network-param-remove uuid=UUID param-name=purpose param-key=insecure_nbd, then xe network-param-add … param-key=nbd");
    }
    Check::warning(ID, "no network has the purpose nbd")
        .because("changed blocks are read over NBD; without it whole disks are read through exports")
        .cure("xe network-param-add uuid=UUID param-name=purpose param-key=nbd, for the management network or one that this machine reaches")
}

/// The port of NBD at the master, if a network is meant for it.
pub(super) async fn nbd_port(session: &Session, inventory: &PoolInventory) -> Check {
    const ID: &str = "port-10809";
    if !inventory.networks.iter().any(|network| network.purpose.iter().any(|purpose| purpose == "nbd")) {
        return Check::skipped(ID, "no network has the purpose nbd, so nobody listens there");
    }
    let Ok(master) = Address::parse(&session.pool.address(), 443) else {
        return Check::skipped(ID, "the master has no address");
    };
    let address = Address { port: NBD_PORT, ..master };
    match xapi::route(&address, PATIENCE).await {
        Ok(_) => Check::ok(ID, format!("{address} answers")),
        Err(error) => Check::warning(ID, chain(&error))
            .because("changed blocks are read over NBD")
            .cure("let this machine through to port 10809 of every host, on a network with the purpose nbd"),
    }
}

/// Which network the data really use.
pub(super) fn transfer(pool: &PoolSummary) -> Check {
    const ID: &str = "transfer-network";
    let Some(way) = &pool.transfer else {
        return Check::skipped(ID, "the connection to the master could not be looked at");
    };
    let ends = format!("from {} here to {} of {}", way.mover_address, way.host_address, way.host);
    if way.device.is_empty() {
        return Check::warning(ID, format!("data travel {ends}, which is the address of none of its interfaces"))
            .because("addresses are translated on the way, so the pool can't say which network that is");
    }
    let which = if way.management { "the management network" } else { "not the management network" };
    Check::ok(ID, format!("data travel {ends} ({}): {:?}, {which}", way.device, way.network))
}

/// What the licence leaves out, and until when it holds.
pub(super) fn licence(session: &Session, hosts: &Hosts, now: Timestamp) -> Check {
    const ID: &str = "licence";
    for host in hosts.hosts.values() {
        let expires = host.license_params.get("expiry").and_then(|text| xapi::record::parse_timestamp(text));
        let Some(expires) = expires.filter(|expires| expires.as_second() > 0) else { continue };
        let day = expires.strftime("%Y-%m-%d");
        let cure = "renew the licence of the host";
        if expires <= now {
            return Check::failed(ID, format!("the licence of {} expired on {day}", host.name_label))
                .because("a host without licence starts no VMs and may refuse exports")
                .cure(cure);
        }
        if expires.duration_since(now) < LICENCE_SOON {
            return Check::warning(ID, format!("the licence of {} expires on {day}", host.name_label)).cure(cure);
        }
    }
    let restricted = |name: &str| hosts.pool.restrictions.get(name).is_some_and(|value| value == "true");
    let found: Vec<String> = RESTRICTIONS
        .iter()
        .filter(|(name, _)| restricted(name))
        .map(|(name, what)| format!("{what} ({name})"))
        .collect();
    let editions: BTreeSet<&str> = hosts.hosts.values().map(|host| host.edition.as_str()).collect();
    let editions: Vec<&str> = editions.into_iter().collect();
    if found.is_empty() {
        return Check::ok(ID, format!("edition {}: nothing that backups use is left out", editions.join(", ")));
    }
    Check::warning(ID, format!("edition {} leaves out: {}", editions.join(", "), found.join("; ")))
        .because(format!("pool {} works all the same, but not with these", session.client.name))
        .cure("another edition has them")
}

#[cfg(test)]
mod tests {
    use xenkeep_api::{CheckOutcome, PoolNetwork, PoolSr};

    use super::*;

    #[test]
    fn a_skewed_clock_is_said_with_its_direction() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(judge_clock("xs1", at(1000), at(1059)).outcome, CheckOutcome::Ok);
        let check = judge_clock("xs1", at(1000), at(1100));
        assert_eq!(check.outcome, CheckOutcome::Warning);
        assert_eq!(check.result, "the clock of xs1 is 100 s behind this machine's");
        assert!(judge_clock("xs1", at(1100), at(1000)).result.contains("100 s ahead of"));
    }

    #[test]
    fn the_default_sr_must_be_there_and_attached() {
        let sr = |default, attached| PoolSr {
            uuid: "u".to_owned(),
            name: "Shared".to_owned(),
            kind: "nfs".to_owned(),
            shared: true,
            default,
            attached,
            size_bytes: Some(10 << 30),
            free_bytes: Some(4 << 30),
        };
        let judge = |srs| default_sr(&PoolInventory { srs, ..PoolInventory::default() });
        assert_eq!(judge(vec![sr(true, true)]).result, "Shared (nfs), 4.0 GiB of 10.0 GiB free");
        assert_eq!(judge(vec![sr(true, false)]).outcome, CheckOutcome::Warning);
        let none = judge(vec![sr(false, true)]);
        assert_eq!(none.outcome, CheckOutcome::Warning);
        assert!(none.cure.unwrap().contains("Shared"));
    }

    #[test]
    fn nbd_in_the_clear_is_not_enough() {
        let judge = |purpose: &[&str]| {
            let network = PoolNetwork {
                uuid: "n".to_owned(),
                name: "net".to_owned(),
                bridge: "xenbr0".to_owned(),
                purpose: purpose.iter().map(|purpose| (*purpose).to_owned()).collect(),
                management: true,
            };
            nbd_network(&PoolInventory { networks: vec![network], ..PoolInventory::default() }).outcome
        };
        assert_eq!(judge(&["nbd"]), CheckOutcome::Ok);
        assert_eq!(judge(&["insecure_nbd"]), CheckOutcome::Warning);
        assert_eq!(judge(&[]), CheckOutcome::Warning);
    }
}
