//! A report to a webhook: JSON by POST, signed.

use std::time::Duration;

use aws_lc_rs::hmac;
use reqwest::{Url, redirect};
use uuid::Uuid;
use xenkeep_api::{Problem, Report, Secret};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Sends a report. `id` stays the same when it is sent again, so that a receiver can tell.
pub(crate) async fn send(url: &str, secret: Option<&Secret>, report: &Report, id: Uuid) -> Result<(), Problem> {
    let body = serde_json::to_vec(report).map_err(|error| Problem::internal(&error))?;
    super::mail::provider();
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        // Neither the report nor its signature goes to another place than the one that was named.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| failed(&error))?;
    let mut request = client
        .post(checked(url)?)
        .header("content-type", "application/json")
        .header("user-agent", concat!("xenkeep/", env!("CARGO_PKG_VERSION")))
        .header("xenkeep-delivery", id.to_string());
    if let Some(secret) = secret {
        request = request.header("xenkeep-signature", signature(secret, &body));
    }
    let answer = request.body(body).send().await.map_err(|error| failed(&error.without_url()))?;
    if answer.status().is_success() {
        return Ok(());
    }
    let message = format!("the webhook has answered {} and not taken the report", answer.status().as_u16());
    Err(Problem::new("webhook.refused", message).hint("any status from 200 to 299 means that it was taken"))
}

/// `sha256=` and the HMAC of the body in hex.
fn signature(secret: &Secret, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}

/// What is shown of an address: its path is often as good as a password.
pub(crate) fn shown(url: &str) -> Result<String, Problem> {
    let url = checked(url)?;
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let rest = if url.path() == "/" && url.query().is_none() { "/" } else { "/…" };
    Ok(format!("{}://{}{port}{rest}", url.scheme(), url.host_str().unwrap_or_default()))
}

fn checked(url: &str) -> Result<Url, Problem> {
    let bad = |message: &str| Problem::new("webhook.bad_url", message).hint("such as https://chat.example/hooks/abc");
    let parsed = Url::parse(url).map_err(|_| bad("that is no address of a webhook"))?;
    if !matches!(parsed.scheme(), "http" | "https") || !parsed.has_host() || url.len() > 2000 {
        return Err(bad("a webhook has an address that begins with http:// or https://"));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(bad("an address with a user or password in it is refused"));
    }
    Ok(parsed)
}

fn failed(error: &reqwest::Error) -> Problem {
    Problem { code: "webhook.failed".to_owned(), ..Problem::internal(error) }
        .hint("see whether it can be reached from this server")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_as_others_do() {
        // RFC 4231, test case 2.
        let signed = signature(&Secret::new("Jefe"), b"what do ya want for nothing?");
        assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn shows_no_more_than_the_host() {
        assert_eq!(shown("https://chat.example:8443/hooks/T0/secret?x=y").unwrap(), "https://chat.example:8443/…");
        assert_eq!(shown("http://127.0.0.1/").unwrap(), "http://127.0.0.1/");
        for bad in ["", "chat.example", "ftp://x/", "https://", "https://user:pass@x/", "file:///etc/passwd"] {
            assert_eq!(shown(bad).unwrap_err().code, "webhook.bad_url", "{bad}");
        }
    }
}
