//! How patient a client is.

use std::time::Duration;

/// Settings of a session that have a good default.
#[derive(Debug, Clone)]
pub struct Options {
    /// How patient it is.
    pub timeouts: Timeouts,
    /// Who we are in `session.originator`: limits of the pool count per originator.
    pub originator: String,
    /// Certificates of other hosts of the pool that were learned earlier, over a session that could be trusted.
    pub known_certificates: Vec<crate::Fingerprint>,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeouts: Timeouts::default(), originator: "xenkeep".to_owned(), known_certificates: Vec::new() }
    }
}

/// How long something may take before it counts as failed.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// A TCP connection, and then the TLS handshake, each.
    pub connect: Duration,
    /// The answer to a login; a wrong password takes the pool 5 s.
    pub login: Duration,
    /// The answer to a call. Storage calls hold their locks for minutes.
    pub call: Duration,
    /// The head of the answer to a bulk request.
    pub head: Duration,
    /// The same for a request with a body: a pool answers before it reads, but what is in between may not.
    pub upload_head: Duration,
    /// Silence in the midst of a bulk stream: XVA exports say something every 5 s, others may be quiet for minutes.
    pub quiet: Duration,
    /// From a cancel to the end of the task.
    pub cancel: Duration,
    /// From a broken or refused stream to the task's own word on why.
    pub verdict: Duration,
    /// How long a task is waited for although the pool can't be reached.
    pub outage: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            login: Duration::from_secs(60),
            call: Duration::from_secs(15 * 60),
            head: Duration::from_secs(30 * 60),
            upload_head: Duration::from_secs(15),
            quiet: Duration::from_secs(15 * 60),
            cancel: Duration::from_secs(2 * 60),
            verdict: Duration::from_secs(10),
            outage: Duration::from_secs(2 * 60),
        }
    }
}
