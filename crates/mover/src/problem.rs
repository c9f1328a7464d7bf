//! Errors of pool, disk and datastore, turned into what a person can act on.
//!
//! Codes are stable: user interfaces translate by them. The sentence says what is wrong with names and numbers, the hint
//! what to do. Nothing here may show a secret; the errors that come in show none.

use std::fmt::Display;

use xenkeep_api::{ClientAccess, DatastoreAccess, Problem};
use xenkeep_repo::Refusal;

mod api;
#[cfg(test)]
mod tests;

pub(crate) use api::api;

/// An error of a pool.
pub(crate) fn pool(client: &ClientAccess, error: &xapi::Error) -> Problem {
    use xapi::Error;
    let name = &client.name;
    match error {
        Error::BadAddress { address, reason } => {
            Problem::new("pool.bad_address", format!("{address:?} is not an address of a pool: {reason}"))
                .hint("give a host name or an IP address, with a port if it is not the usual one: HOST or HOST:PORT")
        }
        Error::Unreachable { address, source } => {
            Problem::new("pool.unreachable", format!("pool {name} can't be reached at {address}: {}", chain(source)))
                .hint("is the address right, does the pool master run, and does a firewall let this machine through?")
        }
        Error::Tls { address, source } => {
            Problem::new("pool.tls", format!("no TLS session with pool {name} at {address}: {}", chain(source)))
                .hint("does the pool speak TLS 1.2 on this port? A pool that is meant to be reached in the clear is added with --transport http")
        }
        Error::CertificateChanged { address, expected, found } => Problem::new(
            "pool.certificate_changed",
            format!("pool {name} shows another certificate at {address}: SHA-256 {found} instead of the pinned {expected}"),
        )
        .hint("if the certificate was renewed on purpose, compare the new fingerprint at the host's console, then pin it: xenkeep client set NAME --pin-anew; if not, someone may be listening in between"),
        Error::CertificateUnknown { address, found } => Problem::new(
            "pool.certificate_unknown",
            format!("a host of pool {name} shows a certificate at {address} that the pool does not know: SHA-256 {found}"),
        )
        .hint("was the host's certificate renewed a moment ago, or is the address another machine's?"),
        Error::WrongPassword { user } => {
            Problem::new("pool.wrong_password", format!("pool {name} refuses user {user} with this password"))
                .hint("check user name and password; an account of a pool needs the role pool-admin")
        }
        Error::Lost { address, source } => Problem::new(
            "pool.connection_lost",
            format!("the connection to pool {name} at {address} broke: {}", chain(source)),
        )
        .hint("look for a network fault or a restart of the host's toolstack, then start the job again"),
        Error::ClosedEarly { address, what } => Problem::new(
            "pool.connection_lost",
            format!("pool {name} closed the connection at {address} before the end of {what}"),
        )
        .hint("look for a network fault or a restart of the host's toolstack, then start the job again"),
        Error::Silent { .. } => Problem::new("pool.silent", format!("pool {name} does not answer: {error}"))
            .hint("is the host overloaded, or a firewall dropping idle connections?"),
        Error::TaskLost { .. } => Problem::new(
            "pool.task_lost",
            format!("pool {name} has forgotten a task of this job, so that nobody can say how it ended"),
        )
        .hint("the toolstack was probably restarted; start the job again"),
        Error::Api { code, params } => api(client, code, params),
        Error::Http { status: 401, .. } => {
            Problem::new("pool.session_lost", format!("pool {name} ended the session of this job")).hint("start the job again")
        }
        Error::Http { status: 403, .. } => {
            Problem::new("pool.forbidden", format!("user {} may not move these data on pool {name}", client.user))
                .hint("the account needs the role pool-admin")
        }
        _ => Problem::new("pool.error", format!("pool {name}: {}", chain(error))),
    }
    .about(name)
}

/// An error of a disk's stream. What the connection to a pool says of itself comes out of it again.
pub(crate) fn disk(client: Option<&ClientAccess>, what: impl Display, error: xenkeep_disk::Error) -> Problem {
    use xenkeep_disk::Error;
    let text = format!("{what}: {}", chain(&error));
    let again = "the data were damaged or cut off on their way; start the job again, and look at the network if it happens again";
    match error {
        Error::Stream(source) => match (client, xapi::Error::from_io(source, "")) {
            (
                Some(client),
                error @ (xapi::Error::Api { .. } | xapi::Error::ClosedEarly { .. } | xapi::Error::Silent { .. }),
            ) => pool(client, &error),
            _ => Problem::new("data.stream_broken", text).hint(again),
        },
        Error::Truncated { .. } => Problem::new("data.truncated", text).hint(again),
        Error::SenderFailed { .. } => {
            Problem::new("data.sender_failed", text).hint("the pool's log (xensource.log) says why it gave up")
        }
        Error::Checksum { .. } | Error::Gap { .. } | Error::Trailing | Error::Damaged(_) => {
            Problem::new("data.damaged", text).hint(again)
        }
        Error::Unsupported(_) | Error::TooLarge { .. } => Problem::new("data.unsupported", text),
        Error::Source(source) => match source.downcast::<xenkeep_repo::Error>() {
            Ok(error) => repo_error(None, &error),
            Err(_) => Problem::new("data.unreadable", text),
        },
        _ => Problem::new("data.unreadable", text),
    }
}

/// An error of a datastore.
pub(crate) fn repo(datastore: &DatastoreAccess, error: &xenkeep_repo::Error) -> Problem {
    repo_error(Some(datastore), error).about(&datastore.name)
}

fn repo_error(datastore: Option<&DatastoreAccess>, error: &xenkeep_repo::Error) -> Problem {
    use xenkeep_repo::Error;
    let store =
        datastore.map_or_else(|| "the datastore".to_owned(), |datastore| format!("datastore {}", datastore.name));
    match error {
        Error::NotARepository { location, why } => {
            Problem::new("datastore.not_a_repository", format!("{store}: {location} holds no repository: {why}"))
                .hint("is the file system mounted?")
        }
        Error::NotEmpty { location } => Problem::new("datastore.not_empty", format!("{location} is not empty"))
            .hint("a datastore is created in a directory that is empty or does not exist yet"),
        Error::WrongPassword { location } => Problem::new(
            "datastore.wrong_password",
            format!("{store}: its password opens none of the keys of {location}"),
        )
        .hint("is another repository mounted there, or was its key removed?"),
        Error::Damaged { what, why } => Problem::new("datastore.damaged", format!("{store}: {what} is damaged: {why}"))
            .hint("look after the disks that the datastore lies on; `xenkeep datastore verify NAME --full` names all that is damaged"),
        Error::Full { path, .. } => {
            Problem::new("datastore.full", format!("{store}: no space is left at {}", path.display()))
                .hint("free some space there, then start the job again; what was stored so far is used by the next backup")
        }
        Error::Refused { location, refusal, source } => refused(&store, location, refusal, &chain(&**source)),
        Error::Unreachable { location, source } => {
            Problem::new("datastore.unreachable", format!("{store}: {location} can't be reached: {}", chain(&**source)))
                .hint("is the address right, does the server run, and does a firewall let this machine through?")
        }
        Error::KeyInUse { id } => Problem::new("key.in_use", format!("{store}: key {id} is the one that xenkeep itself uses"))
            .hint("without it, xenkeep could not open the datastore any more"),
        Error::Locked { by } => Problem::new("datastore.locked", format!("{store}: the repository is locked by {by}"))
            .hint("wait until it is done; `restic unlock` removes a lock whose owner is gone"),
        Error::LockLost => Problem::new("datastore.lock_lost", format!("{store}: the lock on the repository was lost"))
            .hint("start the job again, and don't remove locks while jobs run"),
        Error::Protected { reason } => Problem::new("point.protected", format!("{store}: the point is protected: {reason}"))
            .hint("lift that with `xenkeep point unprotect` if the point shall really go"),
        Error::NotFound { what } => Problem::new("point.not_found", format!("{store}: there is no {what}"))
            .hint("xenkeep point list shows all points"),
        Error::Source(source) => Problem::new("data.unreadable", format!("what was to be stored can't be read: {}", chain(&**source))),
        Error::Io { .. } => Problem::new("datastore.unreachable", format!("{store}: {}", chain(error)))
            .hint("is the file system mounted, and may this machine write to it?"),
        _ => Problem::new("datastore.error", format!("{store}: {}", chain(error))),
    }
}

fn refused(store: &str, location: &str, refusal: &Refusal, said: &str) -> Problem {
    let (code, hint) = match refusal {
        Refusal::NoBucket => ("datastore.no_bucket", "make the bucket first, or correct its name".to_owned()),
        Refusal::Denied => (
            "datastore.denied",
            "the access key needs the rights to list the bucket and to read, write and delete its objects".to_owned(),
        ),
        Refusal::UnknownKey => ("datastore.unknown_access_key", "check the access key, or make a new one".to_owned()),
        Refusal::WrongSecret => ("datastore.wrong_secret", "check the secret of the access key".to_owned()),
        Refusal::WrongRegion { expected: Some(region) } => {
            ("datastore.wrong_region", format!("give the region {region}"))
        }
        Refusal::WrongRegion { expected: None } => {
            ("datastore.wrong_region", "give the region of the bucket".to_owned())
        }
        Refusal::ClockSkew => ("datastore.clock_skew", "set the clocks of both machines, as with NTP".to_owned()),
        Refusal::Tls => (
            "datastore.tls",
            "is the port one for https? A certificate of your own authority has to be made known".to_owned(),
        ),
        _ => ("datastore.refused", "the server's log may say more".to_owned()),
    };
    Problem::new(code, format!("{store}: {location} can't be used: {refusal} ({said})")).hint(hint)
}

/// An error with its causes, each of which says only its own part.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

/// Bytes for people: `3.5 GiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}
