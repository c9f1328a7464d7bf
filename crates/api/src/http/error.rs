//! What a call of the API can end with.

use crate::Problem;

/// Why a call gave no answer that could be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server said no, and why.
    #[error("{problem}")]
    Problem {
        /// The HTTP status.
        status: u16,
        /// What it said.
        problem: Problem,
    },
    /// No connection, or no answer in time.
    #[error("no answer from the xenkeep server at {url}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// An answer broke off.
    #[error("the server's answer broke off")]
    Cut {
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// Something answers there that does not speak our API.
    #[error("what answers at {url} is no xenkeep server (HTTP status {status})")]
    Stranger {
        /// Its address.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer's text is not what the API promises: another version, perhaps.
    #[error("the server's answer can't be understood")]
    Answer {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The answer is longer than any good one.
    #[error("the server's answer is longer than {max_bytes} bytes")]
    TooLong {
        /// The limit.
        max_bytes: usize,
    },
    /// Not an address.
    #[error("\"{url}\" is no address of a server: http://HOST:PORT or https://HOST:PORT is expected")]
    Address {
        /// What was given.
        url: String,
    },
    /// Not a fingerprint.
    #[error("\"{pin}\" is no SHA-256 fingerprint of a certificate: 64 hex digits are expected, colons are allowed")]
    Pin {
        /// What was given.
        pin: String,
    },
    /// Not a file of certificates.
    #[error("that is no file of an authority's certificates (PEM): {why}")]
    Authority {
        /// Why.
        why: String,
    },
    /// The TLS library refuses its configuration.
    #[error("TLS can't be set up")]
    Tls {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

impl Error {
    /// The call may work when it is made again: nothing was decided.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } => true,
            Self::Problem { status, .. } | Self::Stranger { status, .. } => matches!(status, 429 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// What the server said, if it is the server that said no.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Problem { problem, .. } => Some(problem),
            _ => None,
        }
    }
}
