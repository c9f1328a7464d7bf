//! Which mover may do which job: a picture of movers, clients and datastores at one moment, and pure answers from it.
//!
//! A mover may do a job when it is no host of a pool, when the job's client names no other, and when it reaches the
//! datastores of the job. Of those that wait for work at the same moment, the one with the least to do takes it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use jiff::Timestamp;
use xenkeep_api::{ClientId, DatastoreId, Problem};
use xenkeep_catalog::{ClientReach, DatastoreReach, StoredMover};

/// What a job needs of a mover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    pub(crate) client: Option<ClientId>,
    pub(crate) datastore: Option<DatastoreId>,
    pub(crate) target: Option<DatastoreId>,
}

/// Movers, clients and datastores at one moment.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    movers: BTreeMap<String, Known>,
    clients: HashMap<ClientId, ClientReach>,
    datastores: HashMap<DatastoreId, DatastoreReach>,
}

#[derive(Debug)]
struct Known {
    connected: bool,
    last_seen: Option<Timestamp>,
    capacity: u32,
    /// Why it gets nothing at all.
    refusal: Option<Problem>,
}

impl Roster {
    pub(crate) fn new(
        movers: impl IntoIterator<Item = (StoredMover, bool)>,
        clients: Vec<ClientReach>,
        datastores: Vec<DatastoreReach>,
    ) -> Self {
        let hosts: Vec<(IpAddr, &ClientReach)> =
            clients.iter().flat_map(|client| hosts_of(client).into_iter().map(move |ip| (ip, client))).collect();
        let movers = movers
            .into_iter()
            .map(|(mover, connected)| {
                let on_host = hosts.iter().find(|(ip, _)| mover.addresses.contains(ip));
                let refusal = on_host.map(|(ip, client)| on_pool_host(&mover.name, *ip, &client.name));
                let known = Known { connected, last_seen: mover.last_seen, capacity: mover.capacity, refusal };
                (mover.name, known)
            })
            .collect();
        Self {
            movers,
            datastores: datastores.into_iter().map(|datastore| (datastore.id, datastore)).collect(),
            clients: clients.into_iter().map(|client| (client.id, client)).collect(),
        }
    }

    /// Whether a mover has been heard of a moment ago.
    pub(crate) fn is_connected(&self, mover: &str) -> bool {
        self.movers.get(mover).is_some_and(|known| known.connected)
    }

    pub(crate) fn last_seen(&self, mover: &str) -> Option<Timestamp> {
        self.movers.get(mover)?.last_seen
    }

    /// Why a mover gets no jobs at all.
    pub(crate) fn refusal(&self, mover: &str) -> Option<Problem> {
        self.movers.get(mover)?.refusal.clone()
    }

    /// Whether what a job needs was there when this picture was made.
    pub(crate) fn knows(&self, needs: Needs) -> bool {
        let store = |id: Option<DatastoreId>| id.is_none_or(|id| self.datastores.contains_key(&id));
        needs.client.is_none_or(|id| self.clients.contains_key(&id)) && store(needs.datastore) && store(needs.target)
    }

    /// Whether a mover may do a job, or why not.
    pub(crate) fn eligible(&self, mover: &str, needs: Needs) -> Result<(), Problem> {
        if let Some(problem) = self.refusal(mover) {
            return Err(problem);
        }
        if let Some(client) = needs.client.and_then(|id| self.clients.get(&id))
            && let Some(wanted) = client.mover.as_deref().filter(|wanted| *wanted != mover)
        {
            let message = format!("client {} is for mover {wanted}", client.name);
            return Err(Problem::new("queue.no_mover", message).about(wanted));
        }
        for datastore in [needs.datastore, needs.target].into_iter().flatten() {
            let Some(datastore) = self.datastores.get(&datastore) else { continue };
            if !datastore.movers.is_empty() && !datastore.movers.iter().any(|name| name == mover) {
                let message =
                    format!("datastore {} is reached by {} alone", datastore.name, datastore.movers.join(", "));
                return Err(Problem::new("queue.no_mover", message).about(datastore.name.clone()));
            }
        }
        Ok(())
    }

    /// Why nobody takes a job, if nobody who is connected may.
    pub(crate) fn nobody(&self, needs: Needs) -> Option<Problem> {
        let able: Vec<&String> = self.movers.keys().filter(|mover| self.eligible(mover, needs).is_ok()).collect();
        if able.iter().any(|mover| self.is_connected(mover)) {
            return None;
        }
        let (message, hint) = if able.is_empty() {
            let why: HashSet<String> =
                self.movers.keys().filter_map(|mover| self.eligible(mover, needs).err()).map(|no| no.message).collect();
            let mut why: Vec<String> = why.into_iter().collect();
            why.sort();
            let why = if why.is_empty() { "there is none".to_owned() } else { why.join("; ") };
            (
                format!("no mover may do this: {why}"),
                "choose others: xenkeep client set NAME --mover …, xenkeep datastore set NAME --mover …",
            )
        } else {
            let names: Vec<String> = able.iter().map(|mover| self.silent(mover)).collect();
            (
                format!("no mover that may do this is connected: {}", names.join(", ")),
                "start it: xenkeep mover --server URL --token-file FILE",
            )
        };
        Some(Problem::new("queue.no_mover", message).hint(hint))
    }

    fn silent(&self, mover: &str) -> String {
        match self.last_seen(mover) {
            Some(at) => format!("{mover} (last heard of {})", at.strftime("%F %T UTC")),
            None => format!("{mover} (never heard of)"),
        }
    }

    /// Whether `mover` should leave a job to another that waits as well and has less to do. `running` says how many jobs
    /// each runs.
    pub(crate) fn leaves(
        &self,
        mover: &str,
        needs: Needs,
        waiting: &[String],
        running: &dyn Fn(&str) -> usize,
    ) -> bool {
        let load = |name: &str| {
            let capacity = self.movers.get(name).map_or(1, |known| known.capacity.max(1)) as usize;
            // In thousandths of what it can do.
            running(name).saturating_mul(1000) / capacity
        };
        let own = load(mover);
        waiting.iter().any(|other| other != mover && load(other) < own && self.eligible(other, needs).is_ok())
    }
}

/// Addresses of a client's hosts, as far as they are numbers.
fn hosts_of(client: &ClientReach) -> Vec<IpAddr> {
    let typed = match client.address.rsplit_once(':') {
        Some((host, port))
            if port.parse::<u16>().is_ok() && !host.contains(':') || host_in_brackets(&client.address) =>
        {
            host
        }
        _ => client.address.as_str(),
    };
    let parse = |text: &str| {
        // Simulated pools name a port as well.
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().ok().or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()))
    };
    let own = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified();
    std::iter::once(typed).chain(client.hosts.iter().map(String::as_str)).filter_map(parse).filter(own).collect()
}

fn host_in_brackets(address: &str) -> bool {
    address.starts_with('[') && !address.ends_with(']')
}

/// That a mover runs on a host of a pool.
pub(crate) fn on_pool_host(mover: &str, ip: IpAddr, client: &str) -> Problem {
    let message = format!("mover {mover} runs on {ip}, which is a host of the pool {client}");
    Problem::new("mover.on_pool_host", message)
        .hint("run it on another machine: on a host it takes memory and time from the VMs, and goes down with them")
        .about(mover)
}

#[cfg(test)]
mod tests;
