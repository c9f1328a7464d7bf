//! Heads of requests, with xapi's limits.

use std::io;
use std::time::Duration;

use bytes::Buf;
use percent_encoding::percent_decode_str;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Status;
use super::conn::Conn;

/// The whole head, request line and headers, may have this many bytes (xapi: `xapi_globs.ml`).
pub(super) const MAX_HEAD_BYTES: usize = 1024;

const MAX_HEADERS: usize = 64;
const FIRST_READ: Duration = Duration::from_secs(10);
const FIRST_HEAD: Duration = Duration::from_secs(60);

/// What a client asks for.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: String,
    /// Path and query as they came.
    pub(super) target: String,
    /// Minor version of HTTP/1.
    pub(super) minor: u8,
    headers: Vec<(String, String)>,
}

/// Why there is no head.
#[derive(Debug)]
pub(super) enum HeadError {
    /// The client went away.
    Gone,
    /// To be answered with this status.
    Refused(Status),
}

impl From<io::Error> for HeadError {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Head {
    /// Reads the next head. Only the first of a connection is under time limits.
    pub(super) async fn read(conn: &mut Conn, first: bool) -> Result<Self, HeadError> {
        let deadline = Instant::now() + FIRST_HEAD;
        loop {
            if let Some(head) = Self::parse(conn)? {
                return Ok(head);
            }
            let count = if first {
                let read = timeout(FIRST_READ, conn.read_ahead());
                match timeout_at(deadline, read).await {
                    Ok(Ok(count)) => count?,
                    _ => return Err(HeadError::Refused(Status::RequestTimeout)),
                }
            } else {
                conn.read_ahead().await?
            };
            if count == 0 {
                return Err(HeadError::Gone);
            }
        }
    }

    /// Takes a head from what was read, if it is complete.
    fn parse(conn: &mut Conn) -> Result<Option<Self>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let too_large = HeadError::Refused(Status::HeadTooLarge);
        let length = match request.parse(&conn.ahead) {
            Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD_BYTES => length,
            Ok(httparse::Status::Partial) if conn.ahead.len() < MAX_HEAD_BYTES => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(too_large),
            Err(_) => return Err(HeadError::Refused(Status::BadRequest)),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let head = Self {
            method: request.method.unwrap_or_default().to_owned(),
            target: request.path.unwrap_or_default().to_owned(),
            minor: request.version.unwrap_or(0),
            headers: request.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
        };
        conn.ahead.advance(length);
        Ok(Some(head))
    }

    /// The path alone.
    pub(super) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// A value of the query, percent-decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.queries().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All names and values of the query, percent-decoded.
    pub(super) fn queries(&self) -> impl Iterator<Item = (String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        pairs(query, &['&'])
    }

    /// A header's value; names are compared without case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim())
    }

    /// A cookie's value, in the present or the old notation (`a=b; c=d`, `a=b&c=d`).
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.header("cookie")?;
        pairs(cookies, &[';', '&']).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// The announced length of the body.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// Whether the body comes in HTTP chunks.
    pub(super) fn is_chunked(&self) -> bool {
        self.header("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"))
    }

    /// Whether the connection goes on after this request.
    pub(super) fn keeps_alive(&self) -> bool {
        let wish = self.header("connection").unwrap_or_default().to_ascii_lowercase();
        self.minor >= 1 && !wish.contains("close")
    }
}

fn pairs(text: &str, separators: &'static [char]) -> impl Iterator<Item = (String, String)> {
    text.split(separators).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((decode(name.trim()), decode(value.trim())))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}
