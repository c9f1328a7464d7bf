//! Why a request failed, and whether it pays to send it again.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use http::StatusCode;

use super::service::Answer;
use crate::{Error, Refusal};

/// Why a request failed.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// There is no such object.
    NotFound,
    /// The object is shorter than what was asked of it.
    TooShort,
    /// The object is longer than it may be.
    TooLong(u64),
    /// The server has no room for more.
    Full(Arc<dyn StdError + Send + Sync>),
    /// The server does not do this, now or later.
    Refused(Refusal, Arc<dyn StdError + Send + Sync>),
    /// It may go better the next time.
    Transient(Arc<dyn StdError + Send + Sync>),
}

impl Failure {
    /// A failure of the transport that we have noticed ourselves.
    pub(super) fn transient(why: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Failure::Transient(Arc::from(why.into()))
    }

    pub(super) fn no_bucket() -> Self {
        Failure::Refused(Refusal::NoBucket, Arc::new(Cause("the server does not know it".to_owned())))
    }

    #[cfg(test)]
    fn is_transient(&self) -> bool {
        matches!(self, Failure::Transient(_))
    }

    /// The error of a repository at `location`; `name` is the file that this was about.
    pub(super) fn into_error(self, location: &str, name: &str) -> Error {
        let location = location.to_owned();
        match self {
            Failure::NotFound => Error::NotFound { what: name.to_owned() },
            Failure::TooShort => Error::damaged(name, "it is cut off"),
            Failure::TooLong(max_bytes) => Error::damaged(name, format!("it is longer than {max_bytes} bytes")),
            Failure::Full(source) => {
                Error::Full { path: format!("{location}/{name}").into(), source: Arc::new(io::Error::other(source)) }
            }
            Failure::Refused(refusal, source) => Error::Refused { location, refusal, source },
            Failure::Transient(source) => Error::Unreachable { location, source },
        }
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        if let Some(answer) = find::<Answer>(&error) {
            return of_answer(answer.clone());
        }
        if let object_store::Error::NotFound { .. } = error {
            return Failure::NotFound;
        }
        // Below are several layers that repeat each other; the lowest one knows what happened.
        let cause = Cause(lowest(&error));
        if find::<rustls::Error>(&error).is_some_and(|error| !matches!(error, rustls::Error::HandshakeNotComplete)) {
            return Failure::Refused(Refusal::Tls, Arc::new(cause));
        }
        if let object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } = error {
            return Failure::Refused(Refusal::Other, Arc::new(cause));
        }
        Failure::Transient(Arc::new(cause))
    }
}

/// What the lowest layer said.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Cause(String);

fn lowest(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// An error and its causes, what lies in an [`io::Error`] included.
fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| cause(*error))
}

fn cause<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn of_answer(answer: Answer) -> Failure {
    let refusal = match (answer.code.as_str(), answer.status) {
        ("NoSuchKey", _) => return Failure::NotFound,
        ("NoSuchBucket", _) => Refusal::NoBucket,
        ("InvalidRange", _) | (_, StatusCode::RANGE_NOT_SATISFIABLE) => return Failure::TooShort,
        ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage", _) | (_, StatusCode::INSUFFICIENT_STORAGE) => {
            return Failure::Full(Arc::new(answer));
        }
        // What we sent was damaged on its way, or the server is busy with the same object.
        ("BadDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" | "RequestTimeout" | "OperationAborted", _)
        | ("ConditionalRequestConflict" | "SlowDown" | "Throttling" | "ServiceUnavailable" | "InternalError", _) => {
            return Failure::Transient(Arc::new(answer));
        }
        ("InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired", _) => Refusal::UnknownKey,
        ("SignatureDoesNotMatch", _) => Refusal::WrongSecret,
        ("RequestTimeTooSkewed" | "RequestExpired", _) => Refusal::ClockSkew,
        ("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect", _) => {
            Refusal::WrongRegion { expected: answer.region.clone() }
        }
        (_, status) if status.is_redirection() => Refusal::WrongRegion { expected: answer.region.clone() },
        (_, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => Refusal::Denied,
        (_, StatusCode::NOT_FOUND) => return Failure::NotFound,
        (_, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT) => {
            return Failure::Transient(Arc::new(answer));
        }
        (_, status) if status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED => {
            return Failure::Transient(Arc::new(answer));
        }
        _ => Refusal::Other,
    };
    Failure::Refused(refusal, Arc::new(answer))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::HeaderMap;

    use super::*;

    fn failure(status: u16, code: &str) -> Failure {
        let body = format!("<Error><Code>{code}</Code><Region>eu-west-1</Region></Error>");
        of_answer(Answer::new(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes()))
    }

    #[test]
    fn a_busy_server_is_asked_again_and_a_refusing_one_is_not() {
        for (status, code) in [
            (500, "InternalError"),
            (502, ""),
            (503, "SlowDown"),
            (503, ""),
            (504, ""),
            (429, ""),
            (408, ""),
            (400, "RequestTimeout"),
            (400, "BadDigest"),
            (409, "OperationAborted"),
        ] {
            assert!(failure(status, code).is_transient(), "{status} {code}");
        }
        let region = || Refusal::WrongRegion { expected: Some("eu-west-1".to_owned()) };
        for (status, code, expected) in [
            (404, "NoSuchBucket", Refusal::NoBucket),
            (403, "AccessDenied", Refusal::Denied),
            (403, "", Refusal::Denied),
            (401, "", Refusal::Denied),
            (403, "InvalidAccessKeyId", Refusal::UnknownKey),
            (403, "SignatureDoesNotMatch", Refusal::WrongSecret),
            (403, "RequestTimeTooSkewed", Refusal::ClockSkew),
            (400, "AuthorizationHeaderMalformed", region()),
            (301, "PermanentRedirect", region()),
            (307, "", region()),
            (501, "NotImplemented", Refusal::Other),
            (400, "InvalidArgument", Refusal::Other),
        ] {
            match failure(status, code) {
                Failure::Refused(refusal, _) => assert_eq!(refusal, expected, "{status} {code}"),
                other => panic!("{status} {code}: {other:?}"),
            }
        }
        assert!(matches!(failure(404, "NoSuchKey"), Failure::NotFound));
        assert!(matches!(failure(404, ""), Failure::NotFound));
        assert!(matches!(failure(412, "PreconditionFailed"), Failure::Refused(Refusal::Other, _)));
        assert!(matches!(failure(416, "InvalidRange"), Failure::TooShort));
        assert!(matches!(failure(507, ""), Failure::Full(_)));
        assert!(matches!(failure(403, "QuotaExceeded"), Failure::Full(_)));
    }
}
