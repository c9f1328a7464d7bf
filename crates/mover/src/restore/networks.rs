//! Network cards of a restored VM: which network of the pool each is plugged into.
//!
//! XAPI's import has no mapping: it takes the first network with the name of the one in the archive, then one with its
//! bridge, and else makes a new, private one (xapi: import.ml). So the archive is given the names of the networks that were
//! found or chosen, before it is sent; where a name is not unique, cards that ended up elsewhere are moved afterwards.

use std::collections::{BTreeMap, HashMap};

use xapi::{
    NetworkRef, NewVif, VmRef,
    record::{Network, Vif},
};
use xenkeep_api::{NetworkMatch, PlannedNetwork, Problem, RestorePlaces, UnmappedNetworks};
use xenkeep_disk::xva::Ova;

use crate::{
    context::Stop,
    identity::Identity,
    session::{OrStop, Session},
};

/// How many networks of a pool a hint names.
const NAMED: usize = 20;

/// Where the cards go.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// By device.
    targets: BTreeMap<String, (NetworkRef, Network)>,
    /// Devices of cards that the VM does not get.
    left_out: Vec<String>,
}

/// The cards of a plan, and what speaks against it.
#[derive(Debug, Default)]
pub(super) struct Planned {
    pub(super) networks: Networks,
    pub(super) cards: Vec<PlannedNetwork>,
    pub(super) warnings: Vec<Problem>,
    pub(super) refusals: Vec<Problem>,
}

/// A card of the point.
struct Card {
    device: String,
    /// Name and uuid of its network.
    name: String,
    uuid: String,
}

/// Finds a network for each card: by choice, by uuid, by name.
pub(super) async fn plan(
    session: &Session,
    ova: &Ova,
    identity: Option<&Identity>,
    places: &RestorePlaces,
) -> Result<Planned, Stop> {
    let known: HashMap<NetworkRef, Network> = session.pool.records().await.or_stop(session)?;
    let cards = cards(ova);
    let mut planned = Planned::default();
    let mut used = Vec::new();
    for card in &cards {
        let (by, target) = match find(session, &known, card, places, &mut used) {
            Ok(found) => found,
            Err(refusal) => {
                if !planned.refusals.contains(&refusal) {
                    planned.refusals.push(refusal);
                }
                (NetworkMatch::Missing, None)
            }
        };
        if by == NetworkMatch::LeftOut {
            planned.warnings.push(
                Problem::new(
                    "network.card_left_out",
                    format!("network card {} is left out: the pool has no network {:?}", card.device, card.name),
                )
                .hint("add a card to the VM afterwards"),
            );
            planned.networks.left_out.push(card.device.clone());
        }
        let mac = identity.and_then(|identity| identity.macs().find(|(device, _)| *device == card.device));
        planned.cards.push(PlannedNetwork {
            device: card.device.clone(),
            from: card.name.clone(),
            from_uuid: card.uuid.clone(),
            to_uuid: target.as_ref().map(|(_, network)| network.uuid.clone()),
            to: target.as_ref().map(|(_, network)| network.name_label.clone()),
            by,
            mac: mac.map(|(_, mac)| mac.to_owned()),
        });
        if let Some(target) = target {
            planned.networks.targets.insert(card.device.clone(), target);
        }
    }
    for choice in places.networks.keys().filter(|choice| !used.contains(choice)) {
        let there: Vec<&str> = cards.iter().map(|card| card.name.as_str()).collect();
        planned.refusals.push(
            Problem::new("network.not_in_point", format!("the point has no network or card {choice:?}")).hint(format!(
                "its cards were on: {}",
                if there.is_empty() { "none".to_owned() } else { there.join(", ") }
            )),
        );
    }
    Ok(planned)
}

fn cards(ova: &Ova) -> Vec<Card> {
    let mut cards: Vec<Card> = ova
        .of_class("VIF")
        .map(|vif| {
            let network = ova.follow(vif, "network");
            let text = |field| network.map(|network| network.text(field).to_owned()).unwrap_or_default();
            Card { device: vif.text("device").to_owned(), name: text("name_label"), uuid: text("uuid") }
        })
        .collect();
    cards.sort_by_key(|card| (card.device.parse().unwrap_or(u32::MAX), card.device.clone()));
    cards
}

type Target = Option<(NetworkRef, Network)>;

fn find<'a>(
    session: &Session,
    known: &HashMap<NetworkRef, Network>,
    card: &Card,
    places: &'a RestorePlaces,
    used: &mut Vec<&'a String>,
) -> Result<(NetworkMatch, Target), Problem> {
    let device = format!("device:{}", card.device);
    let choice = [device.as_str(), card.uuid.as_str(), card.name.as_str()]
        .into_iter()
        .find_map(|key| places.networks.get_key_value(key));
    // A choice for all cards of a network is used even where one card has its own.
    used.extend(places.networks.keys().filter(|key| [&device, &card.uuid, &card.name].contains(key)));
    if let Some((_, wanted)) = choice {
        return by_name_or_uuid(session, known, wanted).map(|target| (NetworkMatch::Choice, Some(target)));
    }
    if let Some(found) = known.iter().find(|(_, network)| network.uuid == card.uuid && !card.uuid.is_empty()) {
        return Ok((NetworkMatch::Uuid, Some((found.0.clone(), found.1.clone()))));
    }
    let same: Vec<_> = known.iter().filter(|(_, network)| network.name_label == card.name).collect();
    match (same.as_slice(), places.unmapped_networks) {
        ([(reference, network)], _) => Ok((NetworkMatch::Name, Some(((*reference).clone(), (*network).clone())))),
        ([], UnmappedNetworks::LeaveOut) => Ok((NetworkMatch::LeftOut, None)),
        ([], UnmappedNetworks::Refuse) => Err(Problem::new(
            "network.not_found",
            format!("pool {} has no network {:?}, which card {} was on", session.client.name, card.name, card.device),
        )
        .hint(format!(
            "choose one with --network {:?}, or leave such cards out with --leave-out-networks; there are: {}",
            format!("{}=NAME", card.name),
            names(known)
        ))
        .about(&card.uuid)),
        (several, _) => Err(ambiguous(session, &card.name, several.len(), known)
            .hint(format!("choose one by its uuid: --network {:?}", format!("{}=UUID", card.name)))),
    }
}

fn by_name_or_uuid(
    session: &Session,
    known: &HashMap<NetworkRef, Network>,
    wanted: &str,
) -> Result<(NetworkRef, Network), Problem> {
    let found: Vec<_> =
        known.iter().filter(|(_, network)| network.uuid == wanted || network.name_label == wanted).collect();
    match found.as_slice() {
        [(reference, network)] => Ok(((*reference).clone(), (*network).clone())),
        [] => Err(Problem::new("network.not_found", format!("pool {} has no network {wanted:?}", session.client.name))
            .hint(format!("choose one of: {}", names(known)))
            .about(wanted)),
        several => Err(ambiguous(session, wanted, several.len(), known).hint("name it by its uuid")),
    }
}

fn ambiguous(session: &Session, name: &str, count: usize, known: &HashMap<NetworkRef, Network>) -> Problem {
    let mut uuids: Vec<&str> =
        known.values().filter(|network| network.name_label == name).map(|network| network.uuid.as_str()).collect();
    uuids.sort_unstable();
    let text = format!("pool {} has {count} networks called {name:?}: {}", session.client.name, uuids.join(", "));
    Problem::new("network.name_ambiguous", text).about(name)
}

fn names(known: &HashMap<NetworkRef, Network>) -> String {
    let mut names: Vec<&str> = known.values().map(|network| network.name_label.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > NAMED { ", …" } else { "" };
    names.truncate(NAMED);
    format!("{}{more}", names.join(", "))
}

impl Networks {
    /// Gives the archive the names of the networks that the cards go to, and takes the cards out that go nowhere.
    pub(super) fn put_on(&self, ova: &mut Ova) {
        let gone: Vec<String> = ova
            .of_class("VIF")
            .filter(|vif| self.left_out.iter().any(|device| device == vif.text("device")))
            .map(|vif| vif.id.clone())
            .collect();
        ova.remove(&gone.iter().map(String::as_str).collect::<Vec<_>>());
        let mut made: BTreeMap<String, String> = BTreeMap::new();
        let moves: Vec<(String, String, &Network)> = ova
            .of_class("VIF")
            .filter_map(|vif| {
                let (_, target) = self.targets.get(vif.text("device"))?;
                Some((vif.id.clone(), vif.text("network").to_owned(), target))
            })
            .collect();
        let old: Vec<String> = ova.of_class("network").map(|network| network.id.clone()).collect();
        for (number, (vif, from, target)) in moves.into_iter().enumerate() {
            let id = made.entry(target.uuid.clone()).or_insert_with(|| format!("Ref:network{number}")).clone();
            if ova.object(&id).is_none()
                && let Some(network) = ova.object(&from)
            {
                let mut record = network.snapshot.clone();
                record.set("uuid", target.uuid.as_str());
                record.set("name_label", target.name_label.as_str());
                record.set("bridge", target.bridge.as_str());
                ova.push("network", id.as_str(), record);
            }
            if let Some(vif) = ova.object_mut(&vif) {
                vif.snapshot.set("network", id.as_str());
            }
        }
        let unused: Vec<&str> =
            old.iter().filter(|id| ova.referring("VIF", "network", id).next().is_none()).map(String::as_str).collect();
        ova.remove(&unused);
    }

    /// Moves cards that ended up on another network of the same name. The VM is halted.
    pub(super) async fn settle(&self, session: &Session, vm: &VmRef) -> Result<(), Stop> {
        let record = session.pool.vm(vm).await.or_stop(session)?;
        for reference in &record.vifs {
            let Some(vif) = session.pool.record::<Vif>(reference).await.or_gone(session)? else { continue };
            let Some((target, _)) = self.targets.get(&vif.device).filter(|(target, _)| *target != vif.network) else {
                continue;
            };
            session.pool.vif_destroy(reference).await.or_stop(session)?;
            let moved = NewVif { network: target.clone(), ..NewVif::like(&vif, vm.clone()) };
            session.pool.vif_create(&moved).await.or_stop(session)?;
        }
        Ok(())
    }
}
