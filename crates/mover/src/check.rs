//! `client check`: whether a pool can be reached and used, and what to do where not.
//!
//! The checks go from the outside in: names and ports ([`reach`]), certificate and login, then what the pool says of
//! itself ([`state`]). Where one of them makes later ones pointless these are said to be skipped, so that the list is
//! always complete. Only a login that fails makes the job fail; its checks are told all the same.

use jiff::{SignedDuration, Timestamp};
use xenkeep_api::{Check, CheckOutcome, ClientAccess, JobId, JobResult, PoolSummary, Problem, Transport};

use crate::{
    context::{JobContext, Stop, now},
    inventory::{self, Hosts},
    session::Session,
};

mod leftovers;
mod reach;
mod rights;
mod state;

/// What is looked at once somebody has logged in.
const AFTER_LOGIN: [&str; 9] =
    ["role", "hosts", "clock", "default-sr", "nbd-network", "port-10809", "transfer-network", "licence", "leftovers"];

/// A certificate that ends within this time is worth a word.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Checks a client's pool. `unfinished` are its jobs that may be at work on it.
pub(crate) async fn check(cx: &JobContext, client: &ClientAccess, unfinished: &[JobId]) -> Result<JobResult, Stop> {
    cx.step("check");
    let mut checks = cx.or_cancelled(async { Ok::<_, Stop>(reach::look(client).await) }).await?;
    let session = match Session::open(cx, client, None).await {
        Ok(session) => session,
        Err(Stop::Cancelled) => return Err(Stop::Cancelled),
        Err(Stop::Problem(problem)) => {
            checks.extend(refused(&problem));
            cx.so_far(|kept| *kept = Some(JobResult::Pool { pool: None, checks }));
            return Err(Stop::Problem(problem));
        }
    };
    let looked = cx.or_cancelled(inside(cx, &session, unfinished)).await;
    session.close().await;
    let (pool, inside) = looked?;
    checks.extend(inside);
    for check in &checks {
        say(cx, check);
    }
    cx.info(format!("{} of {} host(s), {}", pool.name, pool.hosts, pool.product));
    Ok(JobResult::Pool { pool: Some(pool), checks })
}

/// What the pool itself says.
async fn inside(cx: &JobContext, session: &Session, unfinished: &[JobId]) -> Result<(PoolSummary, Vec<Check>), Stop> {
    let hosts = Hosts::of(session).await?;
    let pool = hosts.summary(session).await?;
    let inventory = inventory::inventory(session).await?;
    let checks = vec![
        certificate(session, &pool),
        login(session, &pool),
        rights::role(session).await?,
        state::hosts(session, &pool).await,
        state::clock(session, now()).await?,
        state::default_sr(&inventory),
        state::nbd_network(&inventory),
        state::nbd_port(session, &inventory).await,
        state::transfer(&pool),
        state::licence(session, &hosts, now()),
        leftovers::look(cx, session, unfinished).await?,
    ];
    Ok((pool, checks))
}

fn say(cx: &JobContext, check: &Check) {
    match check.outcome {
        CheckOutcome::Ok | CheckOutcome::Skipped => cx.info(format!("{}: {}", check.id, check.result)),
        CheckOutcome::Warning => cx.note(format!("{}: {}", check.id, check.result)),
        CheckOutcome::Failed => {
            let mut problem = Problem::new(format!("client.check.{}", check.id), check.result.clone());
            problem.hint.clone_from(&check.cure);
            cx.warn(problem);
        }
    }
}

/// The checks from the certificate on, when nobody could log in.
fn refused(problem: &Problem) -> Vec<Check> {
    let failed = |id| {
        let mut check = Check::failed(id, problem.message.clone());
        check.cure.clone_from(&problem.hint);
        check
    };
    let mut checks = if problem.code.starts_with("pool.certificate") || problem.code == "pool.tls" {
        vec![
            failed("certificate"),
            Check::skipped("login", "the certificate was not accepted, so no password was sent"),
        ]
    } else {
        vec![Check::skipped("certificate", "there was no login"), failed("login")]
    };
    checks.extend(AFTER_LOGIN.map(|id| Check::skipped(id, "nobody could log in")));
    checks
}

fn certificate(session: &Session, pool: &PoolSummary) -> Check {
    const ID: &str = "certificate";
    if session.client.transport == Transport::Http {
        return Check::skipped(ID, "data travel in the clear, over http: there is none");
    }
    let Some(shown) = session.pool.certificate() else {
        return Check::skipped(ID, "the host showed none");
    };
    let shown = shown.to_string();
    let pinned = if session.client.certificate_sha256.is_some() { "as it was pinned" } else { "pinned from now on" };
    let host = pool.members.iter().find(|host| host.certificate_sha256.as_deref() == Some(&shown));
    match host.and_then(|host| Some((host, host.certificate_expires?))) {
        None => Check::ok(ID, format!("SHA-256 {shown}, {pinned}")),
        Some((host, expires)) => expiry(&host.name, &shown, pinned, expires, now()),
    }
}

fn expiry(host: &str, shown: &str, pinned: &str, expires: Timestamp, now: Timestamp) -> Check {
    const ID: &str = "certificate";
    const REASON: &str = "xenkeep goes by the pinned fingerprint and goes on; other programs refuse the host";
    const CURE: &str =
        "renew it (xe host-refresh-server-certificate, or an own one), then `xenkeep client set NAME --pin-anew`";
    let day = expires.strftime("%Y-%m-%d");
    if expires <= now {
        return Check::warning(ID, format!("the certificate of {host} expired on {day} (SHA-256 {shown}, {pinned})"))
            .because(REASON)
            .cure(CURE);
    }
    let left = expires.duration_since(now);
    if left < EXPIRES_SOON {
        let days = left.as_hours() / 24;
        return Check::warning(
            ID,
            format!("the certificate of {host} expires on {day}, in {days} day(s) (SHA-256 {shown})"),
        )
        .because(REASON)
        .cure(CURE);
    }
    Check::ok(ID, format!("SHA-256 {shown}, {pinned}, of {host}, valid until {day}"))
}

fn login(session: &Session, pool: &PoolSummary) -> Check {
    const ID: &str = "login";
    let user = &session.client.user;
    let at = session.pool.address();
    if session.by_member() {
        return Check::warning(
            ID,
            format!(
                "{} does not answer; user {user} is logged in at the master {} ({at})",
                session.client.address, pool.master
            ),
        )
        .because("the pool was found through another host that it had named before")
        .cure(format!("name a host that is up: `xenkeep client set {} --address {at}`", session.client.name));
    }
    Check::ok(ID, format!("user {user} is logged in at the master {} ({at})", pool.master))
}

#[cfg(test)]
mod tests;
