//! Answers.

use std::fmt::Write as _;
use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What the `Server` header says.
pub(super) const SERVER: &str = "xapi/26.16.0";

/// The status of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Found,
    BadRequest,
    Unauthorised,
    Forbidden,
    NotFound,
    RequestTimeout,
    HeadTooLarge,
    InternalError,
    NotImplemented,
}

impl Status {
    /// Code and reason, in xapi's words.
    pub(super) fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::Found => "302 Found",
            Self::BadRequest => "400 Bad Request",
            Self::Unauthorised => "401 Unauthorised",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::RequestTimeout => "408 Request Timeout",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::InternalError => "500 Internal Error",
            Self::NotImplemented => "501 Method not implemented",
        }
    }
}

/// An answer with a body of known length, or the head of a longer one.
#[derive(Debug)]
pub(super) struct Answer {
    head: String,
}

impl Answer {
    /// Begins an answer in HTTP/1.`minor`.
    pub(super) fn new(minor: u8, status: Status) -> Self {
        Self { head: format!("HTTP/1.{minor} {}\r\nServer: {SERVER}\r\n", status.line()) }
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn header(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        // Writing to a String can't fail.
        let _ = write!(self.head, "{name}: {value}\r\n");
        self
    }

    /// Adds `Cache-Control`, as nearly all answers have it.
    #[must_use]
    pub(super) fn uncached(self) -> Self {
        self.header("Cache-Control", "no-cache, no-store")
    }

    /// Sends the head of an answer whose body follows.
    pub(super) async fn send_head(mut self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        self.head.push_str("\r\n");
        to.write_all(self.head.as_bytes()).await?;
        to.flush().await
    }

    /// Sends the whole answer.
    pub(super) async fn send(self, to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
        let mut whole = self.header("Content-Length", body.len()).head.into_bytes();
        whole.extend_from_slice(b"\r\n");
        whole.extend_from_slice(body);
        to.write_all(&whole).await?;
        to.flush().await
    }

    /// Sends an error page; the connection ends after it.
    pub(super) async fn send_error(
        minor: u8,
        status: Status,
        text: &str,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut answer = Self::new(minor, status);
        if status == Status::Unauthorised {
            answer = answer.header("WWW-Authenticate", "Basic realm=\"XenServer\"");
        }
        let page = error_page(status, text);
        let answer = answer.header("Connection", "close").uncached().header("Content-Type", "text/html");
        answer.send(to, page.as_bytes()).await
    }
}

fn error_page(status: Status, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<html><head><title>{0}</title></head><body><h1>{0}</h1>{text}</body></html>\r\n", status.line())
}
