//! The HTTP client below `object_store`: bounded answers, no redirects, and failures told by what the server said.

use async_trait::async_trait;
use http::StatusCode;
use http::header::HeaderMap;
use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

/// The longest error message and the longest page of a listing that are read.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
const MAX_LISTING_BYTES: usize = 16 << 20;

/// The SHA-256 of an object that was stored, in base64, as the server has computed it.
#[derive(Clone, Debug)]
pub(super) struct StoredChecksum(pub(super) String);

/// What a server said instead of doing what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the server answered {status}{}{}", text(code, ": "), text(message, ", "))]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// S3's code, such as `NoSuchKey`; empty if there was none.
    pub(super) code: String,
    message: String,
    /// The region that the bucket lies in, if that was the matter.
    pub(super) region: Option<String>,
}

fn text(text: &str, before: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{before}{text}") }
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let header = headers.get("x-amz-bucket-region").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Answer {
            status,
            code: element(&body, "Code").unwrap_or_default(),
            message: element(&body, "Message").unwrap_or_default(),
            region: header.or_else(|| element(&body, "Region")),
        }
    }
}

/// The text of an XML element that has no children, fit for a sentence.
fn element(xml: &str, name: &str) -> Option<String> {
    let start = xml.find(&format!("<{name}>"))? + name.len() + 2;
    let end = start + xml[start..].find('<')?;
    let plain = xml[start..end].replace("&quot;", "\"").replace("&apos;", "'").replace("&amp;", "&");
    Some(plain.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect())
}

/// Makes clients that speak through [`Service`].
#[derive(Debug)]
pub(super) struct Connector(pub(super) reqwest::Client);

impl HttpConnector for Connector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service(self.0.clone())))
    }
}

#[derive(Debug)]
struct Service(reqwest::Client);

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_listing = request.uri().query().is_some_and(|query| query.contains("list-type="));
        let (mut parts, body) = HttpService::call(&self.0, request).await?.into_parts();
        if !parts.status.is_success() {
            let said = Limited::new(body, MAX_MESSAGE_BYTES).collect().await;
            let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            return Err(HttpError::new(HttpErrorKind::Unknown, Answer::new(parts.status, &parts.headers, &said)));
        }
        if let Some(checksum) = parts.headers.get("x-amz-checksum-sha256").and_then(|value| value.to_str().ok()) {
            parts.extensions.insert(StoredChecksum(checksum.to_owned()));
        }
        if !is_listing {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        let page = Limited::new(body, MAX_LISTING_BYTES).collect().await;
        let page = page.map_err(|error| HttpError::new_boxed(HttpErrorKind::Unknown, error))?.to_bytes();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(page)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_a_server_says_is_understood_and_made_harmless() {
        let said = "<?xml version=\"1.0\"?><Error><Code>AuthorizationHeaderMalformed</Code>\
                    <Message>the region &apos;x&apos;\n is wrong</Message><Region>eu-west-1</Region></Error>";
        let answer = Answer::new(StatusCode::BAD_REQUEST, &HeaderMap::new(), said.as_bytes());
        assert_eq!(
            (answer.code.as_str(), answer.region.as_deref()),
            ("AuthorizationHeaderMalformed", Some("eu-west-1"))
        );
        assert_eq!(
            answer.to_string(),
            "the server answered 400 Bad Request: AuthorizationHeaderMalformed, the region 'x'  is wrong"
        );
        for broken in ["", "<Code>", "<Code>x", "no XML", "</Code><Code>"] {
            assert_eq!(Answer::new(StatusCode::NOT_FOUND, &HeaderMap::new(), broken.as_bytes()).code, "");
        }
        let long = format!("<Message>{}</Message>", "é".repeat(1000));
        assert!(Answer::new(StatusCode::NOT_FOUND, &HeaderMap::new(), long.as_bytes()).to_string().len() < 700);
    }
}
