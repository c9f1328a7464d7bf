use super::*;

#[test]
fn passwords_travel_over_tls_or_not_at_all() {
    let good = ["https://10.0.0.1:7443", "http://127.0.0.1:7443", "http://localhost", "http://[::1]:7443/x"];
    let bad = [
        "http://10.0.0.1:7443",
        "http://server",
        "http://[fe80::1]:7443",
        "http://127.0.0.1.example:80",
        "http://127.0.0.1:80@evil.example",
        "http://127.0.0.1@evil.example:80",
        "http://0.0.0.0:7443",
        "ftp://127.0.0.1",
        "",
    ];
    assert!(good.iter().all(|url| is_confidential(url)));
    for url in bad {
        assert!(!is_confidential(url), "{url}");
    }
}

#[test]
fn only_the_server_itself_takes_a_job_away() {
    let said = |status, code: &str| refusal(Error::Problem { status, problem: Problem::new(code, "x") });
    assert!(matches!(said(409, "job.lease_lost"), LeaseError::Lost));
    assert!(matches!(said(504, "export.no_reader"), LeaseError::NoReader));
    assert!(matches!(said(401, "auth.wrong_token"), LeaseError::Refused(_)));
    assert!(matches!(said(403, "mover.version"), LeaseError::Refused(_)));
    for (status, code) in [(409, "client.exists"), (500, "internal"), (503, "server.shutting_down"), (404, "x")] {
        assert!(said(status, code).is_transient(), "{status} {code}");
    }
    assert!(refusal(Error::TooLong { max_bytes: 1 }).is_transient());
    assert!(refusal(Error::Stranger { url: "x".into(), status: 200 }).is_transient());
}
