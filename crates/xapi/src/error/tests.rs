#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn knows_what_passes_by_itself() {
    for code in ["VDI_IN_USE", "OTHER_OPERATION_IN_PROGRESS", "TOO_MANY_PENDING_TASKS", "SR_BACKEND_FAILURE_201"] {
        assert!(Error::api(code, [""]).is_transient(), "{code}");
    }
    for code in ["HANDLE_INVALID", "SR_BACKEND_FAILURE_44", "IMPORT_ERROR", "SESSION_AUTHENTICATION_FAILED"] {
        assert!(!Error::api(code, [""]).is_transient(), "{code}");
    }
    assert!(!Error::WrongPassword { user: "root".into() }.is_transient());
    assert!(!Error::Cancelled.is_transient());
    let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
    assert!(Error::Unreachable { address: "a:1".into(), source: refused }.is_transient());
}

#[test]
fn knows_a_full_sr_in_every_guise() {
    for error in [
        Error::api("SR_FULL", ["10", "5"]),
        Error::api("SR_BACKEND_FAILURE_44", ["", "There is insufficient space", ""]),
        Error::api("INTERNAL_ERROR", ["Unix.Unix_error(Unix.ENOSPC, \"write\", \"\")"]),
        Error::api("VDI_IO_ERROR", ["No space left on device"]),
        Error::api("IMPORT_ERROR", ["Server_error(SR_BACKEND_FAILURE_44, [])"]),
    ] {
        assert!(error.is_sr_full(), "{error}");
    }
    for error in [
        Error::api("VDI_IO_ERROR", ["Device I/O error"]),
        Error::api("SR_BACKEND_FAILURE_47", ["", "The SR is not available", ""]),
        Error::api("VM_BAD_POWER_STATE", ["No space left"]),
        Error::Cancelled,
    ] {
        assert!(!error.is_sr_full(), "{error}");
    }
}

#[test]
fn says_its_own_part_only() {
    let cause = io::Error::other("the cause");
    let error = Error::Unreachable { address: "a:1".into(), source: cause };
    assert_eq!(error.to_string(), "a:1 can't be reached");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "the cause");
    assert_eq!(Error::api("VDI_IN_USE", ["OpaqueRef:1", "destroy"]).to_string(), "VDI_IN_USE (OpaqueRef:1, destroy)");
    assert_eq!(Error::api("EVENTS_LOST", Vec::<String>::new()).to_string(), "EVENTS_LOST");
}

#[test]
fn travels_through_io_errors() {
    let back = Error::from_io(Error::api("VDI_IN_USE", ["v"]).into_io(), "a:1");
    assert!(back.is_vdi_in_use());
    let silent = Error::Silent { address: "a:1".into(), what: "x", after: Duration::from_secs(1) }.into_io();
    assert_eq!(silent.kind(), io::ErrorKind::TimedOut);
    let foreign = Error::from_io(io::Error::from(io::ErrorKind::BrokenPipe), "a:1");
    assert!(matches!(foreign, Error::Lost { .. }) && foreign.is_connection());
}

#[test]
fn knows_tls_that_is_too_old() {
    use rustls::{AlertDescription, CertificateError, Error as Tls};
    let of = |error: Tls| Error::Tls { address: "a:1".into(), source: io::Error::other(error) }.is_tls_outdated();
    assert!(of(Tls::AlertReceived(AlertDescription::HandshakeFailure)));
    assert!(of(Tls::InvalidCertificate(CertificateError::BadSignature)));
    assert!(!of(Tls::AlertReceived(AlertDescription::InternalError)));
    assert!(!of(Tls::DecryptError));
    assert!(!Error::Tls { address: "a:1".into(), source: io::Error::other("late") }.is_tls_outdated());
}
