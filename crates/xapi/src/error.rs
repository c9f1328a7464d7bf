//! What can go wrong between us and a pool.

use std::io;
use std::time::Duration;

use crate::{Fingerprint, TaskRef};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong between us and a pool. Texts never hold a password or a session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address makes no sense.
    #[error("{address:?} is not an address of a host: {reason}")]
    BadAddress {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No connection: no such name, refused, no route, no answer in time.
    #[error("{address} can't be reached")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// A connection, but no TLS session.
    #[error("no TLS session with {address}")]
    Tls {
        /// `host:port`.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The host shows another certificate than the one that was pinned.
    #[error("{address} shows the certificate {found}, not the pinned {expected}")]
    CertificateChanged {
        /// `host:port`.
        address: String,
        /// What was pinned.
        expected: Fingerprint,
        /// What it showed.
        found: Fingerprint,
    },
    /// Another host of the pool, whose certificate nobody that we trust vouches for.
    #[error("the certificate {found} of {address} is not known to the pool")]
    CertificateUnknown {
        /// `host:port`.
        address: String,
        /// What it showed.
        found: Fingerprint,
    },
    /// User name or password is wrong. Never tried again: each try costs the pool seconds and may lock the account.
    #[error("the pool refuses the user name {user:?} with this password")]
    WrongPassword {
        /// The user.
        user: String,
    },
    /// XAPI refused or failed, with its own code.
    #[error("{}", api_text(code, params))]
    Api {
        /// XAPI's code, such as `VDI_IN_USE`.
        code: String,
        /// What it says about it.
        params: Vec<String>,
    },
    /// An HTTP answer that is not the one hoped for.
    #[error("{path}: HTTP {status} {reason}")]
    Http {
        /// Status.
        status: u16,
        /// Its reason phrase, or the first words of the page.
        reason: String,
        /// What was asked for, without query.
        path: String,
    },
    /// The connection broke while something was under way.
    #[error("the connection to {address} broke")]
    Lost {
        /// `host:port`.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// The peer closed the connection where more had to come.
    #[error("{address} closed the connection before the end of {what}")]
    ClosedEarly {
        /// `host:port`.
        address: String,
        /// What was being read.
        what: &'static str,
    },
    /// Nothing was heard for too long.
    #[error("nothing was heard from {address} for {} s while waiting for {what}", after.as_secs())]
    Silent {
        /// `host:port`.
        address: String,
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// We, or somebody on the pool, cancelled it.
    #[error("cancelled")]
    Cancelled,
    /// The pool no longer knows the task that was waited for, so nobody can say how it ended.
    #[error("the pool has lost the task {task}")]
    TaskLost {
        /// The task.
        task: TaskRef,
    },
    /// A request whose head the pool would not take.
    #[error("the request for {path} needs a head of {bytes} bytes, {} are allowed", crate::stream::HEAD_BYTES_MAX)]
    HeadTooLong {
        /// What was asked for, without query.
        path: String,
        /// Its size.
        bytes: usize,
    },
    /// A request whose body the pool would not take.
    #[error("the call {method} needs {bytes} bytes, {} are allowed", crate::rpc::REQUEST_BYTES_MAX)]
    RequestTooLarge {
        /// The method.
        method: String,
        /// Its size.
        bytes: usize,
    },
    /// More hops from host to host than a pool can need.
    #[error("sent from host to host without end, last to {address}")]
    TooManyRedirects {
        /// Where the last one pointed to.
        address: String,
    },
    /// The peer does not speak XAPI as we know it.
    #[error("unexpected answer from {address}: {what}")]
    Protocol {
        /// `host:port`.
        address: String,
        /// What is odd about it.
        what: String,
    },
}

/// Codes that pass by themselves: what was asked for has not been begun, and may be asked for again later.
const TRANSIENT: &[&str] = &[
    "VDI_IN_USE",
    "OTHER_OPERATION_IN_PROGRESS",
    "TOO_MANY_PENDING_TASKS",
    "HOST_OFFLINE",
    "HOST_NOT_LIVE",
    "HOST_STILL_BOOTING",
    "DEVICE_DETACH_REJECTED",
    "DEVICE_DETACH_TIMEOUT",
    "SR_BACKEND_FAILURE_16",
    "SR_BACKEND_FAILURE_24",
    "SR_BACKEND_FAILURE_37",
    "SR_BACKEND_FAILURE_201",
];

impl Error {
    /// An error of XAPI.
    #[must_use]
    pub fn api(code: impl Into<String>, params: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Api { code: code.into(), params: params.into_iter().map(Into::into).collect() }
    }

    /// XAPI's code, if it is one of its errors.
    #[must_use]
    pub fn api_code(&self) -> Option<&str> {
        match self {
            Self::Api { code, .. } => Some(code),
            _ => None,
        }
    }

    /// XAPI's parameters; none if it is not one of its errors.
    #[must_use]
    pub fn api_params(&self) -> &[String] {
        match self {
            Self::Api { params, .. } => params,
            _ => &[],
        }
    }

    /// It is XAPI's error `code`.
    #[must_use]
    pub fn is_api(&self, code: &str) -> bool {
        self.api_code() == Some(code)
    }

    /// The host's TLS is too old for us: no common cipher or version (releases up to 7.6), or a certificate with a weak
    /// key (1024 bits, kept through upgrades), which a new one heals (`xe host-emergency-reset-server-certificate`, or an
    /// own one).
    #[must_use]
    pub fn is_tls_outdated(&self) -> bool {
        use rustls::{AlertDescription, CertificateError, Error as Tls};
        let Self::Tls { source, .. } = self else { return false };
        let Some(error) = source.get_ref().and_then(|inner| inner.downcast_ref::<Tls>()) else { return false };
        matches!(
            error,
            Tls::PeerIncompatible(_)
                | Tls::AlertReceived(
                    AlertDescription::HandshakeFailure
                        | AlertDescription::ProtocolVersion
                        | AlertDescription::InsufficientSecurity
                )
                | Tls::InvalidCertificate(CertificateError::BadSignature)
        )
    }

    /// It may pass by itself: worth another try after a pause.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Api { code, .. } => TRANSIENT.contains(&code.as_str()),
            Self::Unreachable { .. } | Self::Lost { .. } | Self::ClosedEarly { .. } | Self::Silent { .. } => true,
            Self::Http { status, .. } => matches!(status, 408 | 429 | 503),
            _ => false,
        }
    }

    /// The connection failed, not the request.
    #[must_use]
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost { .. } | Self::ClosedEarly { .. } | Self::Silent { .. })
    }

    /// The object is gone, or never was.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.api_code(), Some("HANDLE_INVALID" | "UUID_INVALID"))
    }

    /// The disk is attached somewhere: to a VM, or to dom0 by an export that is just ending.
    #[must_use]
    pub fn is_vdi_in_use(&self) -> bool {
        matches!(self.api_code(), Some("VDI_IN_USE" | "SR_BACKEND_FAILURE_24"))
    }

    /// The SR has no room: XAPI's own code, and what its drivers say in fact.
    #[must_use]
    pub fn is_sr_full(&self) -> bool {
        match self {
            Self::Api { code, params } => match code.as_str() {
                "SR_FULL" | "SR_BACKEND_FAILURE_44" | "SR_BACKEND_FAILURE_180" => true,
                // thin SRs run full in mid-stream; what the device said is buried in the text
                "INTERNAL_ERROR" | "VDI_IO_ERROR" | "IMPORT_ERROR" => params.iter().any(|param| {
                    param.contains("ENOSPC")
                        || param.contains("No space left")
                        || param.contains("SR_BACKEND_FAILURE_44")
                        || param.contains("SR_FULL")
                }),
                _ => false,
            },
            _ => false,
        }
    }

    /// This release does not have the call, or no longer, or with other parameters.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.api_code(),
            Some(
                "MESSAGE_METHOD_UNKNOWN"
                    | "MESSAGE_REMOVED"
                    | "MESSAGE_DEPRECATED"
                    | "MESSAGE_PARAMETER_COUNT_MISMATCH"
            )
        )
    }

    /// The session is not, or no longer, one that the pool knows.
    #[must_use]
    pub fn is_session_invalid(&self) -> bool {
        self.is_api("SESSION_INVALID")
    }

    /// The account lacks a role.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self.api_code(), Some("RBAC_PERMISSION_DENIED" | "PERMISSION_DENIED"))
            || matches!(self, Self::Http { status: 403, .. })
    }

    /// The error that a stream of ours wrapped as an [`io::Error`], or the connection's own.
    #[must_use]
    pub fn from_io(error: io::Error, address: &str) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Lost { address: address.to_owned(), source },
        }
    }

    /// The same for traits that know only [`io::Error`]; [`Error::from_io`] is the way back.
    #[must_use]
    pub fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Silent { .. } => io::ErrorKind::TimedOut,
            Self::ClosedEarly { .. } => io::ErrorKind::UnexpectedEof,
            Self::Unreachable { source, .. } | Self::Lost { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

fn api_text(code: &str, params: &[String]) -> String {
    if params.is_empty() { code.to_owned() } else { format!("{code} ({})", params.join(", ")) }
}

#[cfg(test)]
mod tests;
