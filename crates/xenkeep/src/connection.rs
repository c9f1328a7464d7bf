//! Finding the server: the one whose data directory is on this machine, or the one that is named.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context as _;
use serde::Deserialize;
use xenkeep_api::{
    Problem, Secret,
    http::{ApiClient, Trust},
};

use crate::{cli::Global, report::Usage};

/// What a running server leaves in its data directory (`server.json`) for whoever looks for it.
#[derive(Debug, Deserialize)]
struct Running {
    url: String,
    #[serde(default)]
    certificate_sha256: Option<String>,
}

/// Longest of the small files that are read here.
const MAX_BYTES: u64 = 64 << 10;

/// A client of the server that the flags name.
pub(crate) fn open(global: &Global) -> anyhow::Result<ApiClient> {
    match &global.server {
        Some(url) => named(global, url),
        None => local(global),
    }
}

fn named(global: &Global, url: &str) -> anyhow::Result<ApiClient> {
    let running = running(&global.data).ok().flatten().filter(|running| same_server(&running.url, url));
    let token = match (&global.token_file, &running) {
        (Some(path), _) => token(path)?,
        // The token of the data directory goes to the server of the data directory, to no other.
        (None, Some(_)) => token(&global.data.join("token"))?,
        (None, None) => {
            return Err(Usage::new(format!("--server {url} needs a token"))
                .hint("name the file that holds it with `--token-file FILE`; it lies in the server's data directory")
                .into());
        }
    };
    let pin = global.server_certificate.clone().or(running.and_then(|running| running.certificate_sha256));
    Ok(ApiClient::new(url, token, &pin.map_or(Trust::System, Trust::Pinned))?)
}

fn local(global: &Global) -> anyhow::Result<ApiClient> {
    let data = &global.data;
    let Some(running) = running(data)? else {
        return Err(Problem::new("server.not_found", format!("no xenkeep server runs on {}", data.display()))
            .hint(
                "start one with `xenkeep server --data DIR`, name the directory of a running one with `--data DIR`, \
                 or one elsewhere with `--server URL --token-file FILE`",
            )
            .into());
    };
    let token = token(global.token_file.as_deref().unwrap_or(&data.join("token")))?;
    let pin = global.server_certificate.clone().or(running.certificate_sha256);
    Ok(ApiClient::new(&running.url, token, &pin.map_or(Trust::System, Trust::Pinned))?)
}

fn running(data: &Path) -> anyhow::Result<Option<Running>> {
    let path = data.join("server.json");
    let Some(text) = small_file(&path)? else { return Ok(None) };
    let running = serde_json::from_str(&text).with_context(|| format!("{} can't be understood", path.display()))?;
    Ok(Some(running))
}

/// The token in a file.
pub(crate) fn token(path: &Path) -> anyhow::Result<Secret> {
    let text = small_file(path)?.map(Secret::new).ok_or_else(|| {
        Problem::new("server.token_not_found", format!("there is no token in {}", path.display()))
            .hint("the server writes it at its first start; name another file with `--token-file FILE`")
    })?;
    let token = text.expose().trim();
    // A header can't carry anything else.
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Problem::new("server.token_malformed", format!("{} holds no token", path.display())).into());
    }
    Ok(Secret::new(token))
}

/// The text of a file, if there is one.
fn small_file(path: &Path) -> anyhow::Result<Option<String>> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(Problem::new("file.denied", format!("you may not read {}", path.display()))
                .hint("only the user who runs the server may: become that user, or ask for a token of your own")
                .into())
        }
        Err(error) => Err(error).with_context(|| format!("{} can't be read", path.display())),
    }
}

fn same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

#[cfg(test)]
mod tests;
