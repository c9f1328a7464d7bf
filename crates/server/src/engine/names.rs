//! What may be typed: checked once, before anything is written.

use std::path::{Component, Path};

use xenkeep_api::{NewDatastore, Problem, S3Place};

use crate::Error;

/// Longest name of a client or datastore.
const MAX_NAME: usize = 64;
/// Longest text that names something on a pool; XAPI itself sets no limit.
const MAX_LABEL: usize = 256;
/// Longest path of a repository.
const MAX_PATH: usize = 1024;

/// A name for a client or datastore. It becomes part of paths in the datastore and of file names of exports.
pub(crate) fn check_name(noun: &str, name: &str) -> Result<(), Error> {
    let fits = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if !fits {
        let problem = Problem::new(format!("{noun}.bad_name"), format!("{} is no name for a {noun}", shown(name)));
        return Err(Error::Invalid(problem.hint(format!(
            "use letters, digits, '.', '_' and '-', at most {MAX_NAME} of them, and begin with a letter or digit"
        ))));
    }
    // It would be taken for an id wherever a name or an id is asked for.
    if uuid::Uuid::try_parse(name).is_ok() {
        let problem = Problem::new(format!("{noun}.bad_name"), format!("{name} looks like an id, not like a name"));
        return Err(Error::Invalid(problem.hint("choose a name that people can say")));
    }
    Ok(())
}

/// A name-label, user name, uuid or the like.
pub(crate) fn check_label(what: &str, label: &str) -> Result<(), Error> {
    if label.is_empty() || label.chars().count() > MAX_LABEL || label.chars().any(char::is_control) {
        let message = format!("{what} must have 1 to {MAX_LABEL} characters, none of them a control character");
        return Err(Error::Invalid(Problem::new("request.invalid", message).about(shown(label))));
    }
    Ok(())
}

/// `host` or `host:port`, with IPv6 addresses in brackets when a port follows.
pub(crate) fn check_address(address: &str) -> Result<(), Error> {
    let bad = || {
        let problem = Problem::new("client.bad_address", format!("{} is no address of a pool master", shown(address)));
        Error::Invalid(problem.hint("give a host name or IP address, and a port after ':' if it is not the usual one"))
    };
    let (host, port) = match address.rsplit_once(':') {
        // Several colons without brackets: an IPv6 address without port.
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => (address, None),
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Err(bad());
    }
    let fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(ip) => ip.parse::<std::net::Ipv6Addr>().is_ok(),
        None if host.contains(':') => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&host.len())
                && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
                && !host.starts_with(['.', '-'])
        }
    };
    if fits { Ok(()) } else { Err(bad()) }
}

/// SHA-256 of a certificate in hex, with or without colons, as it is stored.
pub(crate) fn fingerprint(text: &str) -> Result<String, Error> {
    let hex: String = text.chars().filter(|c| *c != ':').take(65).collect::<String>().to_ascii_lowercase();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hex);
    }
    let problem = Problem::new("client.bad_fingerprint", "that is not the SHA-256 of a certificate");
    Err(Error::Invalid(problem.hint("give 64 hex digits, with or without colons")))
}

/// Absolute path of a repository, as it is stored: without `.`, `..` and trailing slashes.
pub(crate) fn repository_path(path: &str) -> Result<String, Error> {
    let bad = |message: String| Error::Invalid(Problem::new("datastore.bad_path", message).about(shown(path)));
    if path.len() > MAX_PATH || path.chars().any(char::is_control) {
        return Err(bad(format!("a path has at most {MAX_PATH} bytes, none of them a control character")));
    }
    let parsed = Path::new(path);
    if !parsed.is_absolute() {
        return Err(bad(format!("{} is not an absolute path", shown(path))));
    }
    if parsed.components().any(|part| matches!(part, Component::ParentDir)) {
        return Err(bad(format!("{} goes up with '..'", shown(path))));
    }
    let clean: std::path::PathBuf = parsed.components().collect();
    if clean == Path::new("/") {
        return Err(bad("the root directory is no place for a datastore".to_owned()));
    }
    Ok(clean.to_string_lossy().into_owned())
}

/// A datastore that is to be: its name and place checked, and `path` set to restic's address if it is on an S3 server.
pub(crate) fn new_datastore(new: NewDatastore) -> Result<NewDatastore, Error> {
    check_name("datastore", &new.name)?;
    match (&new.path, new.s3) {
        (Some(path), None) if new.s3_secret_access_key.is_none() => {
            let path = Some(repository_path(path)?);
            Ok(NewDatastore { path, s3: None, ..new })
        }
        (None, Some(s3)) => {
            let secret = new.s3_secret_access_key.filter(|secret| !secret.expose().is_empty());
            if secret.is_none() {
                let problem = Problem::new("datastore.no_secret", "the secret of the access key is missing");
                return Err(Error::Invalid(problem.hint("give access key and secret")));
            }
            let s3 = s3_place(s3)?;
            let (path, movers) = (Some(s3.address()), new.movers);
            Ok(NewDatastore { name: new.name, path, s3: Some(s3), s3_secret_access_key: secret, movers })
        }
        _ => {
            let problem = Problem::new("request.invalid", "a datastore lies either in a directory or on an S3 server");
            Err(Error::Invalid(problem.hint("give a path, or endpoint, bucket and access key")))
        }
    }
}

/// A place on an S3 server, as it is stored: without slashes around the prefix and behind the endpoint.
fn s3_place(place: S3Place) -> Result<S3Place, Error> {
    let bad = |what: &str, text: &str| {
        let problem = Problem::new("datastore.bad_place", format!("{} is no {what}", shown(text)));
        Error::Invalid(problem.about(shown(text)))
    };
    let fits = |text: &str, extra: &str| {
        text.len() <= MAX_PATH && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
    };
    let endpoint = place.endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_ascii_lowercase());
    if let Some(endpoint) = &endpoint {
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if !host.is_some_and(|host| !host.is_empty() && fits(host, ".-_:[]")) {
            let hint = "it is written https://HOST:PORT";
            return Err(match bad("address of an S3 server", endpoint) {
                Error::Invalid(problem) => Error::Invalid(problem.hint(hint)),
                other => other,
            });
        }
    }
    if place.bucket.len() < 3 || place.bucket.starts_with('.') || !fits(&place.bucket, ".-_") {
        return Err(bad("name of a bucket", &place.bucket));
    }
    let prefix = place.prefix.trim_matches('/').to_owned();
    let bad_part = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
    if prefix.len() > MAX_PATH / 2 || (!prefix.is_empty() && prefix.split('/').any(bad_part)) {
        return Err(bad("prefix for the names of objects", &prefix));
    }
    if place.region.as_deref().is_some_and(|region| region.is_empty() || !fits(region, "-_")) {
        return Err(bad("region", place.region.as_deref().unwrap_or_default()));
    }
    check_label("an access key", &place.access_key_id)?;
    Ok(S3Place { endpoint, prefix, ..place })
}

/// What somebody typed, fit for a sentence.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if text.chars().count() > 80 {
        shown.push('…');
    }
    if shown.is_empty() { "''".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_one_path_component() {
        for good in ["lab", "lab-2", "a.b_c", "9", &"x".repeat(64)] {
            assert!(check_name("client", good).is_ok(), "{good}");
        }
        let bad = ["", ".", "..", "../etc", "a/b", "a\\b", "-x", " x", "x y", "a\0b", "ü", "a\n", &"x".repeat(65)];
        for bad in bad.into_iter().chain(["6f1b1f1c-7a0a-4a0e-9a55-0a4c6f6a7b11"]) {
            let error = check_name("client", bad).unwrap_err();
            assert_eq!(error.problem().code, "client.bad_name", "{bad:?}");
        }
    }

    #[test]
    fn addresses() {
        for good in
            ["pool", "pool.example.org", "10.0.0.1", "10.0.0.1:8443", "pool:80", "fe80::1", "[fe80::1]:443", "::1"]
        {
            assert!(check_address(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "pool:",
            "pool:0",
            "pool:x",
            "pool:65536",
            "http://pool",
            "pool/x",
            "a b",
            "u@pool",
            "[::1",
            "-v",
            "x\r\nHost: y",
        ] {
            assert!(check_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fingerprints_lose_their_colons() {
        let plain = "ab".repeat(32);
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(fingerprint(&plain).unwrap(), plain);
        assert_eq!(fingerprint(&colons).unwrap(), plain);
        for bad in ["", "ab", &"zz".repeat(32), &"ab".repeat(33), &"é".repeat(32)] {
            assert!(fingerprint(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn repository_paths_are_absolute_and_go_down() {
        assert_eq!(repository_path("/srv//backup/./a/").unwrap(), "/srv/backup/a");
        for bad in ["", "a", "./a", "/a/../b", "/", "//", "/a\0b", "/a\nb", &format!("/{}", "x".repeat(2000))] {
            assert!(repository_path(bad).is_err(), "{bad:?}");
        }
    }
}
