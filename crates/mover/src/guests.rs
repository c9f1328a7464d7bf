//! A hook in a guest that freezes its file systems for a snapshot, asked and heard through XAPI alone.
//!
//! We ask through `VM.xenstore_data`, which the pool writes into the guest's part of xenstore, and hear through
//! `VM_guest_metrics.other`, of which every key that a guest writes to `control/` is an entry. Why just these two:
//! `docs/decisions/0009-consistency-and-guest-hooks.md`, with the protocol itself.
//!
//! The guest thaws by itself when the time is up that comes with each request. So whatever becomes of us, of the pool or of
//! the way between, it is never frozen for longer.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use uuid::Uuid;
use xapi::{
    VmRef,
    record::{PowerState, Vm},
};
use xenkeep_api::Problem;

use crate::{
    context::{JobContext, Stop},
    journal::{FrozenMade, Made},
    session::{OrStop, Session},
    undo,
};

/// What all our keys in `VM.xenstore_data` begin with.
const KEYS: &str = "vm-data/xenkeep";
/// Where a request stands: `freeze NONCE SECONDS` or `thaw NONCE`.
const REQUEST_KEY: &str = "vm-data/xenkeep/request";
/// Where the guest's state shows: `1 ready`, `1 frozen NONCE` …
const STATE_KEY: &str = "xenkeep";
/// The protocol that we speak: the first word of a state.
const PROTOCOL: &str = "1";
/// Between two looks at the state.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What a guest may need beyond its time limit, until the pool shows that it has thawed.
const SLACK: Duration = Duration::from_secs(10);
/// How long a guest that is not frozen, as far as can be seen, is waited for.
const GRACE: Duration = Duration::from_secs(5);

/// What a hook says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It is there, and nothing is frozen.
    Ready,
    /// Frozen for the request of that nonce.
    Frozen(String),
    /// Could not freeze, and why.
    Failed(String, String),
    /// Frozen no more: as it was asked, or since the time was up.
    Thawed(String),
    /// It speaks another protocol.
    Foreign,
}

impl State {
    /// None from a hook that says that it has gone.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (protocol, state) = (words.next(), words.next());
        let nonce = words.next().unwrap_or_default().to_owned();
        Some(match (protocol, state) {
            (Some(PROTOCOL), Some("gone")) => return None,
            (Some(PROTOCOL), Some("ready")) => Self::Ready,
            (Some(PROTOCOL), Some("frozen")) => Self::Frozen(nonce),
            (Some(PROTOCOL), Some("failed")) => {
                let why: Vec<&str> = words.collect();
                let why: String = why.join(" ").chars().filter(|c| !c.is_control()).take(200).collect();
                Self::Failed(nonce, why)
            }
            (Some(PROTOCOL), Some("thawed" | "expired")) => Self::Thawed(nonce),
            _ => Self::Foreign,
        })
    }
}

/// A guest that is frozen for us.
#[derive(Debug)]
pub(crate) struct Hold {
    entry: Uuid,
    made: FrozenMade,
    /// Before we asked: the guest's own time limit ends later than this plus the limit.
    since: Instant,
}

/// Has the guest freeze its file systems, for at most `limit_seconds`. The inner error says why it does not, and nothing is
/// frozen then.
pub(crate) async fn freeze(
    cx: &JobContext,
    session: &Session,
    (vm_ref, vm): &(VmRef, Vm),
    limit_seconds: u32,
) -> Result<Result<Hold, String>, Stop> {
    match cx.or_cancelled(state(session, vm_ref)).await? {
        None => return Ok(Err("its guest has no hook that would freeze its file systems".to_owned())),
        Some(State::Foreign) => return Ok(Err("the hook in its guest speaks another protocol".to_owned())),
        Some(State::Frozen(_)) => return Ok(Err("its guest is frozen for somebody else".to_owned())),
        Some(_) => {}
    }
    let made = FrozenMade {
        job: cx.job,
        vm_uuid: vm.uuid.clone(),
        vm_name: vm.name_label.clone(),
        nonce: Uuid::new_v4().simple().to_string()[..16].to_owned(),
        limit_seconds,
    };
    let entry = cx.journal.write(&Made::Frozen(made.clone())).await?;
    let hold = Hold { entry, made, since: Instant::now() };
    cx.info(format!("asking the guest to freeze its file systems, for at most {limit_seconds} s"));
    match cx.or_cancelled(wait_until_frozen(session, vm_ref, &hold)).await {
        Ok(Ok(())) => {
            cx.info("the guest has frozen its file systems");
            Ok(Ok(hold))
        }
        Ok(Err(why)) => {
            hold.thaw(cx, session).await;
            Ok(Err(why))
        }
        Err(stop) => {
            hold.thaw(cx, session).await;
            Err(stop)
        }
    }
}

async fn wait_until_frozen(session: &Session, vm: &VmRef, hold: &Hold) -> Result<Result<(), String>, Stop> {
    let FrozenMade { nonce, limit_seconds, .. } = &hold.made;
    write(session, vm, Some(&format!("freeze {nonce} {limit_seconds}"))).await?;
    let mut last = None;
    while hold.since.elapsed() < hold.limit() {
        last = state(session, vm).await?;
        match &last {
            Some(State::Frozen(by)) if by == nonce => return Ok(Ok(())),
            Some(State::Failed(of, why)) if of == nonce => {
                return Ok(Err(format!("its guest could not freeze: {why}")));
            }
            Some(State::Thawed(of)) if of == nonce => break,
            _ => {}
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let how = if last.is_none() { "is gone" } else { "did not freeze" };
    Ok(Err(format!("the hook in its guest {how} within {limit_seconds} s")))
}

impl Hold {
    fn limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.made.limit_seconds))
    }

    /// Thaws the guest, whatever has happened and whoever has cancelled. True if it was frozen until now.
    pub(crate) async fn thaw(self, cx: &JobContext, session: &Session) -> bool {
        let still = match session.pool.vm_by_uuid(&self.made.vm_uuid).await {
            Ok((vm, _)) => matches!(state(session, &vm).await, Ok(Some(State::Frozen(by))) if by == self.made.nonce),
            Err(_) => false,
        };
        // What the pool shows may be late; by our own clock the guest can't have thawed before this.
        let held = still && self.since.elapsed() < self.limit();
        let name = self.made.vm_name.clone();
        match undo::frozen(cx, session, self.made, Some(self.entry)).await {
            Ok(lines) => lines.into_iter().for_each(|line| cx.info(line)),
            Err(stop) => cx.warn(
                Problem::new(
                    "vm.not_thawed",
                    format!("the guest of VM {name} was not heard to thaw its file systems: {}", stop.text()),
                )
                .hint("it thaws by itself when its time is up; look whether it works")
                .about(name),
            ),
        }
        held
    }
}

/// Has the guest thaw and waits until it has, or must have by itself; then takes our keys away. Says what was done.
pub(crate) async fn thaw(session: &Session, made: &FrozenMade) -> Result<Vec<String>, Stop> {
    let limit = Duration::from_secs(u64::from(made.limit_seconds));
    let mut asked: Option<Instant> = None;
    loop {
        let (vm, record) = match session.pool.by_uuid::<Vm>(&made.vm_uuid).await {
            Ok(found) => found,
            Err(error) if error.is_gone() => return Ok(Vec::new()),
            Err(error) => return Err(session.stop(&error)),
        };
        if !record.xenstore_data.get(REQUEST_KEY).is_some_and(|request| request.contains(&made.nonce)) {
            return Ok(Vec::new());
        }
        if !matches!(record.power_state, PowerState::Running | PowerState::Paused) {
            // A guest that is off is not frozen, and must not find the request when it is started.
            write(session, &vm, None).await?;
            return Ok(Vec::new());
        }
        let Some(since) = asked else {
            write(session, &vm, Some(&format!("thaw {}", made.nonce))).await?;
            asked = Some(Instant::now());
            continue;
        };
        let thawed = match state(session, &vm).await? {
            Some(State::Frozen(by)) if by == made.nonce => {
                if since.elapsed() > limit + SLACK {
                    let text = format!("it says that it is frozen, {} s after its time was up", SLACK.as_secs());
                    return Err(Problem::new("vm.not_thawed", text).about(&made.vm_uuid).into());
                }
                false
            }
            Some(State::Failed(of, _) | State::Thawed(of)) if of == made.nonce => true,
            // It has not heard anything, or is about to freeze: it thaws when it finds no request.
            _ if since.elapsed() > GRACE.min(limit) => true,
            _ => false,
        };
        if thawed {
            write(session, &vm, None).await?;
            return Ok(vec![format!("guest of VM {} thawed", made.vm_name)]);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What the hook in a guest says; none if there is none.
async fn state(session: &Session, vm: &VmRef) -> Result<Option<State>, Stop> {
    let metrics = session.pool.guest_metrics(vm).await.or_gone(session)?.flatten();
    Ok(metrics.and_then(|metrics| State::parse(metrics.other.get(STATE_KEY)?)))
}

/// Writes a request into the guest's part of xenstore, or takes ours away. All other keys stay.
async fn write(session: &Session, vm: &VmRef, request: Option<&str>) -> Result<(), Stop> {
    let mut data = session.pool.vm(vm).await.or_stop(session)?.xenstore_data;
    strip(&mut data);
    data.extend(request.map(|request| (REQUEST_KEY.to_owned(), request.to_owned())));
    session.pool.set_xenstore_data(vm, &data).await.or_stop(session)
}

/// Takes our keys out of what a guest finds in xenstore.
fn strip(data: &mut BTreeMap<String, String>) {
    data.retain(|key, _| !is_ours(key));
}

/// A key of `VM.xenstore_data` that is ours: no restored VM may find a request in it.
pub(crate) fn is_ours(key: &str) -> bool {
    key.strip_prefix(KEYS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_as_guests_write_them() {
        for (text, state) in [
            ("1 ready", State::Ready),
            ("1 frozen ab12", State::Frozen("ab12".to_owned())),
            ("1 failed ab12 /var is\u{7} busy\n", State::Failed("ab12".to_owned(), "/var is busy".to_owned())),
            ("1 thawed ab12", State::Thawed("ab12".to_owned())),
            ("1 expired ab12", State::Thawed("ab12".to_owned())),
            ("2 ready", State::Foreign),
            ("frozen ab12", State::Foreign),
            ("", State::Foreign),
        ] {
            assert_eq!(State::parse(text), Some(state), "{text:?}");
        }
        assert_eq!(State::parse("1 gone"), None);
    }

    #[test]
    fn only_our_keys_are_taken_away() {
        let data = ["vm-data", "vm-data/xenkeep", "vm-data/xenkeep/request", "vm-data/xenkeeper", "vm-data/other"];
        let mut data: BTreeMap<String, String> = data.map(|key| (key.to_owned(), String::new())).into();
        strip(&mut data);
        assert_eq!(data.into_keys().collect::<Vec<_>>(), ["vm-data", "vm-data/other", "vm-data/xenkeeper"]);
    }
}
