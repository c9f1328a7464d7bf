//! Heads of requests and answers.

use bytes::{Buf, Bytes, BytesMut};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::channel::AGENT;
use crate::session::Session;
use crate::{Error, Result};

/// The whole head of a request must stay below this (xapi: `xapi_globs.ml`); above it the answer is 431.
pub(crate) const HEAD_BYTES_MAX: usize = 1023;
/// A head of an answer larger than this is none.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// So much of an error page is read.
const PAGE_BYTES_MAX: usize = 4 * 1024;

/// What a query value must not hold as it is. Colons of references may stay, so that heads stay short.
const QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b',')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A request for a bulk stream.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) query: Vec<(String, String)>,
    pub(super) content_length: Option<u64>,
}

impl Head {
    /// Writes it. The session travels as a cookie, so that it stands in no log of URLs.
    pub(super) fn write(&self, host: &str, session: &Session) -> Result<Vec<u8>> {
        let mut text = format!("{} {}", self.method, self.path);
        for (place, (key, value)) in self.query.iter().enumerate() {
            text.push(if place == 0 { '?' } else { '&' });
            text.extend(utf8_percent_encode(key, QUERY));
            text.push('=');
            text.extend(utf8_percent_encode(value, QUERY));
        }
        let cookie = utf8_percent_encode(session.expose(), QUERY);
        text.push_str(&format!(
            " HTTP/1.0\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nCookie: session_id={cookie}\r\nConnection: close\r\n"
        ));
        if let Some(length) = self.content_length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        if text.len() > HEAD_BYTES_MAX {
            return Err(Error::HeadTooLong { path: self.path.to_owned(), bytes: text.len() });
        }
        Ok(text.into_bytes())
    }
}

/// The head of an answer.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: String,
    headers: Vec<(String, String)>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Length of the body, if it is said.
    pub(super) fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// Reads a head, and hands back what already came of the body.
    pub(super) async fn read(io: &mut (impl AsyncRead + Unpin), address: &str) -> Result<(Self, Bytes)> {
        let address = || address.to_owned();
        let mut buffer = BytesMut::with_capacity(ANSWER_BYTES_MAX);
        loop {
            match io.read_buf(&mut buffer).await {
                Ok(0) => return Err(Error::ClosedEarly { address: address(), what: "the head of an answer" }),
                Ok(_) => {}
                // a TLS peer that hangs up without a word
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Err(Error::ClosedEarly { address: address(), what: "the head of an answer" });
                }
                Err(source) => return Err(Error::Lost { address: address(), source }),
            }
            match Self::parse(&buffer) {
                Ok(Some((answer, length))) => {
                    buffer.advance(length);
                    return Ok((answer, buffer.freeze()));
                }
                Ok(None) if buffer.len() < ANSWER_BYTES_MAX => {}
                Ok(None) => {
                    return Err(Error::Protocol { address: address(), what: "a head without end".to_owned() });
                }
                Err(what) => return Err(Error::Protocol { address: address(), what }),
            }
        }
    }

    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => {
                let headers = response.headers.iter();
                let headers = headers
                    .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
                    .collect();
                let status = response.code.unwrap_or_default();
                let reason = response.reason.unwrap_or_default().to_owned();
                Ok(Some((Self { status, reason, headers }, length)))
            }
            Ok(httparse::Status::Partial) => Ok(None),
            Err(error) => Err(format!("no HTTP: {error}")),
        }
    }
}

/// The words of an error page, as far as they come at once.
pub(super) async fn page(io: &mut (impl AsyncRead + Unpin), begun: &Bytes, session: &Session) -> String {
    let mut bytes = begun.to_vec();
    while bytes.len() < PAGE_BYTES_MAX {
        match io.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    bytes.truncate(PAGE_BYTES_MAX);
    session.mask(&words(&String::from_utf8_lossy(&bytes)))
}

/// Text of an HTML page, in one line of bearable length.
fn words(html: &str) -> String {
    let mut text = String::new();
    let mut within = false;
    for c in html.chars() {
        match c {
            '<' => within = true,
            '>' if within => {
                within = false;
                text.push(' ');
            }
            _ if within => {}
            c if c.is_control() => text.push(' '),
            c => text.push(c),
        }
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(300) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text,
    }
}

#[cfg(test)]
mod tests;
