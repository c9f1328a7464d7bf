#![allow(clippy::unwrap_used)]

use std::io;

use xenkeep_api::{ClientId, Secret, Transport};

use super::*;

fn client() -> ClientAccess {
    ClientAccess {
        id: ClientId::random(),
        name: "lab".into(),
        address: "pool.example".into(),
        user: "root".into(),
        password: Secret::new("hunter2"),
        transport: Transport::Https,
        certificate_sha256: None,
        members: Vec::new(),
    }
}

#[test]
fn a_changed_certificate_shows_both_fingerprints_and_says_what_to_do() {
    let expected = xapi::Fingerprint::of_der(b"old");
    let found = xapi::Fingerprint::of_der(b"new");
    let error = xapi::Error::CertificateChanged { address: "pool.example:443".into(), expected, found };
    let problem = pool(&client(), &error);
    assert_eq!(problem.code, "pool.certificate_changed");
    assert!(
        problem.message.contains(&expected.to_string()) && problem.message.contains(&found.to_string()),
        "{problem}"
    );
    assert!(problem.hint.unwrap().contains("--pin-anew"));
}

#[test]
fn codes_of_the_pool_become_codes_of_ours() {
    for (theirs, params, ours) in [
        ("SR_BACKEND_FAILURE_44", &["", "There is insufficient space", ""][..], "sr.full"),
        ("SR_FULL", &["1", "2"], "sr.full"),
        ("DEFAULT_SR_NOT_FOUND", &["OpaqueRef:NULL"], "sr.no_default"),
        ("OPERATION_BLOCKED", &["OpaqueRef:1", "keep"], "vm.blocked"),
        ("VM_BAD_POWER_STATE", &["OpaqueRef:1", "halted", "running"], "vm.bad_power_state"),
        ("OTHER_OPERATION_IN_PROGRESS", &["VM", "OpaqueRef:1", "snapshot"], "vm.busy"),
        ("RBAC_PERMISSION_DENIED", &["vm.snapshot", "no"], "pool.forbidden"),
        ("SOMETHING_NEW", &[], "pool.error"),
        // fewer parameters than the catalogue says
        ("VM_BAD_POWER_STATE", &[], "vm.bad_power_state"),
    ] {
        let params: Vec<String> = params.iter().map(|param| (*param).to_owned()).collect();
        let problem = pool(&client(), &xapi::Error::Api { code: theirs.into(), params });
        assert_eq!(problem.code, ours, "{theirs}");
        assert!(!problem.message.ends_with('.') && !problem.message.is_empty(), "{theirs}: {problem}");
    }
}

#[test]
fn what_the_connection_said_comes_out_of_a_broken_stream() {
    let silent = xapi::Error::ClosedEarly { address: "pool.example:443".into(), what: "the export" };
    let broken = xenkeep_disk::Error::Stream(silent.into_io());
    assert_eq!(disk(Some(&client()), "the export", broken).code, "pool.connection_lost");
    let plain = xenkeep_disk::Error::Stream(io::Error::other("odd"));
    assert_eq!(disk(Some(&client()), "the export", plain).code, "data.stream_broken");
    let damaged = xenkeep_repo::Error::Damaged { what: "pack ab".into(), why: "hash".into() };
    let source = xenkeep_disk::Error::source(damaged);
    assert_eq!(disk(None, "the point", source).code, "datastore.damaged");
}

#[test]
fn no_password_gets_into_a_text() {
    let error = xapi::Error::WrongPassword { user: "root".into() };
    let problem = pool(&client(), &error);
    assert_eq!(problem.code, "pool.wrong_password");
    assert!(!format!("{problem:?}").contains("hunter2"));
}

#[test]
fn sizes_are_for_people() {
    for (size, text) in
        [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (5 << 30, "5.0 GiB"), (u64::MAX, "16384.0 PiB")]
    {
        assert_eq!(bytes(size), text);
    }
}
