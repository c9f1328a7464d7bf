//! A small program in a guest that freezes its file systems when a backup asks for it, as `contrib/guest` has it for real ones.
//!
//! What it is asked stands in `VM.xenstore_data`, which XAPI writes into the guest's part of xenstore (`vm-data/…`, xapi:
//! xapi_xenops.ml set_xenstore_data). What it answers it writes to `control/xenkeep`, of which XAPI makes an entry of
//! `VM_guest_metrics.other` (xapi: xapi_guest_agent.ml).

use std::time::Duration;

use crate::{
    model::{Class, Map, Ref, Tables, Value},
    world::World,
};

/// A machine has a hook in its guest if it has this in `other_config`: a word for how it behaves.
///
/// `answers`: as it should; `refuses`: can't freeze; `silent`: was there at boot, and says nothing any more; `hasty`: thaws
/// long before its time; `deaf`: hears no thaw, and thaws when its time is up.
pub const HOOK_KEY: &str = "xensim-guest-hook";

/// Where the request of a backup stands.
const REQUEST_KEY: &str = "vm-data/xenkeep/request";
/// Where the answer shows.
const ANSWER_KEY: &str = "xenkeep";
/// The parts of xenstore that are for clients to write (xapi: xenopsd domain.ml).
const CLIENT_PARTS: [&str; 2] = ["vm-data/", "FIST/"];
/// How long a hasty one stays frozen.
const HASTE: Duration = Duration::from_secs(1);
/// What freezing takes.
const FREEZE_TIME: Duration = Duration::from_millis(20);

impl World {
    /// What the hook in a guest says.
    pub fn guest_says(&self, vm: &Ref) -> Option<String> {
        self.db.read(|t| t.entry(&t.reference(vm, "guest_metrics"), "other", ANSWER_KEY))
    }
}

/// What a guest with a hook says once it is up. A request that stands there already is none: it was for somebody else.
pub(crate) fn greeting(world: &World, t: &Tables, vm: &Ref) -> Option<(&'static str, &'static str)> {
    t.entry(vm, "other_config", HOOK_KEY)?;
    let request = t.entry(vm, "xenstore_data", REQUEST_KEY).unwrap_or_default();
    world.domains.change(vm, |domain| domain.request = request);
    Some((ANSWER_KEY, "1 ready"))
}

/// All of `VM.xenstore_data` was written: where the machine runs its guest sees that, and XAPI shows what it then has.
pub(crate) fn written(world: &World, vm: &Ref) {
    let seen = world.db.write(|t| {
        if t.str(vm, "power_state") != "Running" {
            return false;
        }
        let tree = as_tree(&t.map(vm, "xenstore_data"));
        t.set(vm, "xenstore_data", tree);
        true
    });
    if seen {
        let (world, vm) = (world.clone(), vm.clone());
        world.clone().spawn(async move { obey(&world, &vm).await });
    }
}

/// As it comes back from xenstore: only what is for clients, with an empty entry for each directory.
fn as_tree(data: &Map) -> Map {
    let mut tree = Map::from([("vm-data".to_owned(), Value::from(""))]);
    for (key, value) in data.iter().filter(|(key, _)| CLIENT_PARTS.iter().any(|part| key.starts_with(part))) {
        for (end, _) in key.match_indices('/') {
            tree.entry(key[..end].to_owned()).or_insert_with(|| Value::from(""));
        }
        tree.insert(key.clone(), value.clone());
    }
    tree
}

async fn obey(world: &World, vm: &Ref) {
    let (behaviour, request) = world.db.read(|t| {
        let up = t.entry(&t.reference(vm, "guest_metrics"), "other", ANSWER_KEY).is_some();
        let behaviour = t.entry(vm, "other_config", HOOK_KEY).filter(|_| up).unwrap_or_default();
        (behaviour, t.entry(vm, "xenstore_data", REQUEST_KEY).unwrap_or_default())
    });
    let is_new = world.domains.change(vm, |domain| std::mem::replace(&mut domain.request, request.clone()) != request);
    if is_new != Some(true) || matches!(behaviour.as_str(), "" | "silent") {
        return;
    }
    let words: Vec<&str> = request.split_whitespace().collect();
    let hasty = behaviour == "hasty";
    match (words.as_slice(), behaviour.as_str()) {
        (["freeze", nonce, _], "refuses") => answer(world, vm, &format!("1 failed {nonce} /var is busy")),
        (["freeze", nonce, seconds], _) => {
            let limit = Duration::from_secs(seconds.parse().unwrap_or(0));
            freeze(world, vm, nonce, if hasty { limit.min(HASTE) } else { limit }).await;
        }
        (_, "deaf") => {}
        (["thaw", nonce], _) => {
            thaw(world, vm, nonce, "thawed");
            answer(world, vm, &format!("1 thawed {nonce}"));
        }
        // No request is none to stay frozen for.
        _ => {
            let held = world.domains.get(vm).and_then(|domain| domain.frozen_by);
            held.iter().for_each(|nonce| thaw(world, vm, nonce, "thawed"));
        }
    }
}

async fn freeze(world: &World, vm: &Ref, nonce: &str, limit: Duration) {
    tokio::time::sleep(FREEZE_TIME).await;
    world.domains.change(vm, |domain| domain.frozen_by = Some(nonce.to_owned()));
    answer(world, vm, &format!("1 frozen {nonce}"));
    tokio::time::sleep(limit).await;
    thaw(world, vm, nonce, "expired");
}

/// Thaws what was frozen for `nonce`; nothing, if that has been thawed already.
fn thaw(world: &World, vm: &Ref, nonce: &str, how: &str) {
    let thawed = world.domains.change(vm, |domain| domain.frozen_by.take_if(|by| by == nonce).is_some());
    if thawed == Some(true) {
        answer(world, vm, &format!("1 {how} {nonce}"));
    }
}

fn answer(world: &World, vm: &Ref, text: &str) {
    world.db.write(|t| {
        let metrics = t.reference(vm, "guest_metrics");
        if t.has(Class::VmGuestMetrics, &metrics) {
            t.map_insert(&metrics, "other", ANSWER_KEY, text);
        }
    });
}
