//! Movers: added with a token, heard of when they ask for jobs, and which of them may do what.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use xenkeep_api::{
    ANY_MOVER, AddedMover, Client, Datastore, Job, JobId, Mover, MoverChoice, MoverHello, MoverWelcome, NewDatastore,
    NewMover, Problem,
};

use super::roster::Roster;
use super::{Engine, names};
use crate::{Error, auth};

/// A mover that has not asked for a job, and not kept a lease, for so long is not connected.
const SILENT: Duration = Duration::from_secs(60);
/// What a mover says of itself is written down this often though nothing has changed.
const WRITE_EVERY: Duration = Duration::from_secs(15);
/// How long a picture of the movers is good; other servers may change the same database.
const ROSTER_GOOD: Duration = Duration::from_secs(1);
/// Longest version of a mover that is looked at.
const MAX_VERSION: usize = 32;
/// Most addresses of a mover that are looked at.
const MAX_ADDRESSES: usize = 64;

/// What is known of movers in memory alone.
#[derive(Debug, Default)]
pub(super) struct Movers {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// How often each of them waits for a job right now.
    waiting: HashMap<String, u32>,
    /// What each said last, when it was written down, and when it was heard of last.
    heard: HashMap<String, Heard>,
    roster: Option<(tokio::time::Instant, Arc<Roster>)>,
}

#[derive(Debug)]
struct Heard {
    hello: MoverHello,
    written: tokio::time::Instant,
    at: Timestamp,
}

impl Movers {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// That a mover waits for a job; it does so until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting {
    engine: Engine,
    mover: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut inner = self.engine.0.movers.lock();
        let left = inner.waiting.get(&self.mover).copied().unwrap_or_default().saturating_sub(1);
        match left {
            0 => inner.waiting.remove(&self.mover),
            left => inner.waiting.insert(self.mover.clone(), left),
        };
        drop(inner);
        // Others may have left a job to it.
        self.engine.0.work.notify_waiters();
    }
}

impl Engine {
    /// Adds a mover. Its token is told this once, and kept as a hash alone.
    pub async fn add_mover(&self, new: NewMover) -> Result<AddedMover, Error> {
        names::check_name("mover", &new.name)?;
        if new.name == ANY_MOVER || new.name == self.0.mover {
            let problem =
                Problem::new("mover.bad_name", format!("no mover can be called {}: the word is taken", new.name));
            return Err(Error::Invalid(problem.hint("choose another name").about(new.name)));
        }
        let token = auth::random_token(auth::MOVER_PREFIX)?;
        self.0.catalog.insert_mover(&new.name, &auth::hashed(token.expose()), self.0.clock.now()).await?;
        self.forget_roster();
        let mover = self.movers().await?.into_iter().find(|mover| mover.name == new.name);
        let mover = mover.ok_or_else(|| Error::NotFound(Problem::new("mover.not_found", "the mover is gone again")))?;
        Ok(AddedMover { mover, token })
    }

    /// All movers, by name.
    pub async fn movers(&self) -> Result<Vec<Mover>, Error> {
        let roster = self.fresh_roster().await?;
        let running = self.0.catalog.running_by_mover().await?;
        let stored = self.0.catalog.movers().await?;
        Ok(stored
            .into_iter()
            .map(|mover| Mover {
                built_in: !mover.remote,
                connected: roster.is_connected(&mover.name),
                refused: roster.refusal(&mover.name),
                running: running.get(&mover.name).copied().unwrap_or_default(),
                last_seen: roster.last_seen(&mover.name),
                name: mover.name,
                version: mover.version,
                addresses: mover.addresses,
                capacity: mover.capacity,
                created_at: mover.created_at,
            })
            .collect())
    }

    /// Removes a mover. Its token opens nothing from now on; what it runs is taken over when its leases run out.
    pub async fn remove_mover(&self, name: &str) -> Result<(), Error> {
        self.0.catalog.remove_mover(name).await?;
        self.forget_roster();
        Ok(())
    }

    /// Which mover does the jobs of a client.
    pub async fn set_client_mover(&self, name_or_id: &str, choice: &MoverChoice) -> Result<Client, Error> {
        let client = self.client(name_or_id).await?;
        let movers = self.chosen(choice).await?;
        if movers.len() > 1 {
            let problem = Problem::new("client.movers", "a client has one mover, or any");
            return Err(Error::Invalid(problem.hint("name one, or `any`")));
        }
        let mover = movers.first().map(String::as_str);
        self.0.catalog.set_client_mover(client.id, mover).await?;
        self.forget_roster();
        self.0.work.notify_waiters();
        self.client(&client.id.to_string()).await
    }

    /// Which movers reach a datastore.
    pub async fn set_datastore_movers(&self, name_or_id: &str, choice: &MoverChoice) -> Result<Datastore, Error> {
        let datastore = self.datastore(name_or_id).await?;
        let movers = self.chosen(choice).await?;
        self.0.catalog.set_datastore_movers(datastore.id, &movers).await?;
        self.forget_roster();
        self.0.work.notify_waiters();
        self.datastore(&datastore.id.to_string()).await
    }

    /// That movers of these names are there; none stands for any.
    async fn chosen(&self, choice: &MoverChoice) -> Result<Vec<String>, Error> {
        if choice.movers.is_empty() {
            let problem = Problem::new("mover.none_named", "no mover is named");
            return Err(Error::Invalid(problem.hint("name one or more, or `any`")));
        }
        if choice.movers == [ANY_MOVER] {
            return Ok(Vec::new());
        }
        self.check_movers(&choice.movers).await?;
        let mut movers = choice.movers.clone();
        movers.sort_unstable();
        movers.dedup();
        Ok(movers)
    }

    /// After the check of a client, which tells the addresses of its hosts: the mover that did it must be none of them.
    pub(super) async fn refuse_mover_on_host(&self, check: &Job) -> Result<(), Error> {
        let roster = self.fresh_roster().await?;
        match check.mover.as_deref().and_then(|mover| roster.refusal(mover)) {
            Some(problem) => Err(Error::Conflict(problem)),
            None => Ok(()),
        }
    }

    /// The movers of a datastore that is to be: named ones, or what is meant when none are.
    pub(super) async fn movers_for(&self, new: &NewDatastore) -> Result<Vec<String>, Error> {
        let all = new.movers == [ANY_MOVER];
        if !new.movers.is_empty() && !all {
            self.check_movers(&new.movers).await?;
            return Ok(new.movers.clone());
        }
        if new.s3.is_some() || all {
            return Ok(Vec::new());
        }
        if self.0.has_local_mover {
            return Ok(vec![self.0.mover.clone()]);
        }
        let problem =
            Problem::new("datastore.no_mover", "this server has no mover of its own: on which one is the directory?");
        Err(Error::Invalid(
            problem.hint("name it, or all that reach it: --mover NAME; `xenkeep mover list` shows them"),
        ))
    }

    /// Refuses names that no mover bears.
    pub(super) async fn check_movers(&self, movers: &[String]) -> Result<(), Error> {
        let known = self.0.catalog.movers().await?;
        for name in movers {
            if !known.iter().any(|mover| mover.name == *name) && *name != self.0.mover {
                return Err(Error::NotFound(self.0.catalog.no_mover(name).await?));
            }
        }
        Ok(())
    }

    /// Name of the mover that bears a token.
    pub(crate) async fn mover_of_token(&self, token: &str) -> Result<Option<String>, Error> {
        if token.len() > auth::MAX_LEN {
            return Ok(None);
        }
        Ok(self.0.catalog.mover_of_token(&auth::hashed(token)).await?)
    }

    /// Hears what a mover says of itself; `seen_at` is where its connection comes from.
    pub async fn hear_mover(
        &self,
        mover: &str,
        hello: MoverHello,
        seen_at: Option<IpAddr>,
    ) -> Result<MoverWelcome, Error> {
        let hello = sane(hello, seen_at);
        check_version(mover, &hello.version)?;
        let (now, instant) = (self.0.clock.now(), tokio::time::Instant::now());
        let (changed, due) = {
            let mut inner = self.0.movers.lock();
            match inner.heard.get_mut(mover) {
                Some(heard) => {
                    heard.at = now;
                    (heard.hello != hello, instant - heard.written > WRITE_EVERY)
                }
                None => (true, true),
            }
        };
        if changed || due {
            self.0.catalog.mover_seen(mover, &hello, mover == self.0.mover, now).await?;
            let heard = Heard { hello, written: instant, at: now };
            self.0.movers.lock().heard.insert(mover.to_owned(), heard);
        }
        if changed {
            self.forget_roster();
        }
        if let Some(problem) = self.roster().await?.refusal(mover) {
            return Err(Error::Refused(problem));
        }
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Ok(MoverWelcome {
            name: mover.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lease_ms: millis(self.0.limits.lease),
            wait_ms: millis(self.0.limits.longest_wait()),
        })
    }

    /// That a job is this mover's: its fencing number alone could be guessed by another.
    pub(crate) async fn check_holder(&self, mover: &str, job: JobId, fence: i64) -> Result<(), Error> {
        Ok(self.0.catalog.holds_as(job, fence, mover).await?)
    }

    /// From now on until what is returned is dropped, a mover waits for a job.
    pub(super) fn mover_waits(&self, mover: &str) -> Waiting {
        let mut inner = self.0.movers.lock();
        *inner.waiting.entry(mover.to_owned()).or_default() += 1;
        if let Some(heard) = inner.heard.get_mut(mover) {
            heard.at = self.0.clock.now();
        }
        Waiting { engine: self.clone(), mover: mover.to_owned() }
    }

    /// The movers that wait for a job right now.
    pub(super) fn waiting_movers(&self) -> Vec<String> {
        self.0.movers.lock().waiting.keys().cloned().collect()
    }

    /// Who may do what, as it was at most a second ago.
    pub(super) async fn roster(&self) -> Result<Arc<Roster>, Error> {
        if let Some((made, roster)) = &self.0.movers.lock().roster
            && made.elapsed() < ROSTER_GOOD
        {
            return Ok(Arc::clone(roster));
        }
        self.fresh_roster().await
    }

    async fn fresh_roster(&self) -> Result<Arc<Roster>, Error> {
        let catalog = &self.0.catalog;
        let made = tokio::time::Instant::now();
        let (clients, datastores) = (catalog.clients_reach().await?, catalog.datastores_reach().await?);
        let stored = catalog.movers().await?;
        let now = self.0.clock.now();
        let roster = {
            let inner = self.0.movers.lock();
            let seen = stored.into_iter().map(|mut mover| {
                let here = inner.heard.get(&mover.name).map(|heard| heard.at);
                mover.last_seen = mover.last_seen.max(here);
                let silent = mover.last_seen.is_none_or(|at| now.duration_since(at).unsigned_abs() > SILENT);
                let connected = inner.waiting.contains_key(&mover.name) || !silent;
                (mover, connected)
            });
            Arc::new(Roster::new(seen, clients, datastores))
        };
        self.0.movers.lock().roster = Some((made, Arc::clone(&roster)));
        Ok(roster)
    }

    /// Something about movers, clients or datastores has changed.
    pub(super) fn forget_roster(&self) {
        self.0.movers.lock().roster = None;
    }
}

/// What a mover says, without what can't be: nobody has a thousand addresses.
fn sane(hello: MoverHello, seen_at: Option<IpAddr>) -> MoverHello {
    let own = |ip: &IpAddr| !ip.is_loopback() && !ip.is_unspecified();
    let said = hello.addresses.into_iter().take(MAX_ADDRESSES).chain(seen_at);
    let mut addresses: Vec<IpAddr> = said.map(|ip| ip.to_canonical()).filter(own).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let version = hello.version.chars().filter(|c| !c.is_control()).take(MAX_VERSION).collect();
    MoverHello { version, addresses, capacity: hello.capacity.min(1000) }
}

/// A mover works with a server of its own version, and of the one before or after.
fn check_version(mover: &str, theirs: &str) -> Result<(), Error> {
    let ours = env!("CARGO_PKG_VERSION");
    let parse = |version: &str| {
        let mut parts = version.split(['.', '-', '+']).map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    };
    let fits = match (parse(ours), parse(theirs)) {
        (Some((major, minor)), Some((their_major, their_minor))) => {
            major == their_major && minor.abs_diff(their_minor) <= 1
        }
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let message = format!("mover {mover} is xenkeep {theirs}, this server is xenkeep {ours}: they are too far apart");
    Err(Error::Refused(
        Problem::new("mover.version", message)
            .hint("give both the same version; while you update, the one before or after will do")
            .about(mover),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minor_version_apart_is_near_enough() {
        let ours = env!("CARGO_PKG_VERSION");
        let mut parts = ours.split('.').map(|part| part.parse::<u32>().unwrap());
        let (major, minor) = (parts.next().unwrap(), parts.next().unwrap());
        for near in [ours.to_owned(), format!("{major}.{}.7", minor + 1), format!("{major}.{minor}.99-beta.1")] {
            assert!(check_version("m", &near).is_ok(), "{near}");
        }
        let far = [format!("{major}.{}.0", minor + 2), format!("{}.{minor}.0", major + 1)];
        for far in far.iter().map(String::as_str).chain(["", "x", "1", "1.", "-1.2", "99999999999.1", "1.2.3\u{0}"]) {
            let problem = check_version("m", far).unwrap_err().problem();
            assert_eq!(problem.code, "mover.version", "{far}");
            assert!(problem.message.contains(ours), "{problem}");
        }
    }

    #[test]
    fn what_a_mover_says_is_bounded() {
        let many = (0..10_000u32).map(|n| IpAddr::from((0x0a00_0000 + n).to_be_bytes())).collect();
        let hello = MoverHello { version: "9\n".repeat(1000), addresses: many, capacity: u32::MAX };
        let hello = sane(hello, Some("::ffff:192.0.2.1".parse().unwrap()));
        assert_eq!(hello.addresses.len(), MAX_ADDRESSES + 1);
        assert!(hello.addresses.contains(&IpAddr::from([192, 0, 2, 1])), "as the server sees it");
        assert!(hello.version.len() <= MAX_VERSION && !hello.version.contains('\n') && hello.capacity <= 1000);
        let local = vec!["127.0.0.1".parse().unwrap(), "::1".parse().unwrap(), "0.0.0.0".parse().unwrap()];
        assert!(sane(MoverHello { version: String::new(), addresses: local, capacity: 1 }, None).addresses.is_empty());
    }
}
