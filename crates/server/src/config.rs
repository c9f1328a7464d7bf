//! What a server is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use xenkeep_api::Secret;

use xenkeep_api::LOCAL_MOVER;

use crate::engine::{Clock, SystemClock};

/// What a server is told at its start.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where everything lies that the server keeps; made when missing, used by one server at a time.
    pub data_dir: PathBuf,
    /// The PostgreSQL database that holds the catalogue; without it, SQLite in the data directory.
    pub database_url: Option<Secret>,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether it speaks HTTPS.
    pub tls: Tls,
    /// How much runs at once, and how long a silent mover is trusted.
    pub limits: Limits,
    /// Name of the mover in the server's own process: what it left running is interrupted when the server starts.
    pub mover: String,
    /// There is a mover in the server's own process.
    pub has_local_mover: bool,
    /// The time of day; tests bring their own.
    pub clock: Arc<dyn Clock>,
    /// Where days begin and end when points are kept by the day.
    pub time_zone: TimeZone,
}

impl ServerConfig {
    /// The usual settings for a data directory and an address.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.into(),
            database_url: None,
            listen,
            tls: Tls::default(),
            limits: Limits::default(),
            mover: LOCAL_MOVER.to_owned(),
            has_local_mover: true,
            clock: Arc::new(SystemClock),
            time_zone: TimeZone::system(),
        }
    }
}

/// Whether a server speaks HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tls {
    /// On anything but a loopback address (127.0.0.0/8, `::1`).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never; refused on anything but a loopback address.
    Never,
}

/// How much runs at once, and how long a silent mover is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that move data from or to one client at once, unless it has a limit of its own.
    pub jobs_per_client: usize,
    /// Jobs that move data at once on one mover. It should take a few more than this, so that the short jobs behind
    /// `vm list` and the like never wait for the long ones.
    pub jobs: usize,
    /// Of these, prunes and verifications at once.
    pub upkeep: usize,
    /// A job whose mover has not been heard of for this long is interrupted.
    pub lease: Duration,
    /// How long [`crate::Engine::lease`] waits for a job.
    pub lease_wait: Duration,
    /// How long a request waits for the short job behind it (`client add`, `vm list`, `datastore create`).
    pub short_job_wait: Duration,
    /// How long the two ends of an export wait for each other.
    pub content_wait: Duration,
    /// How long after a failed recovery the next one starts; doubles with each failure up to an hour.
    pub recover_again: Duration,
    /// How often the schedules and the reports on their way are looked at.
    pub tick: Duration,
}

impl Limits {
    /// How long a mover waits for a job in one request. It counts its lease from the moment at which it asked, so most of
    /// the lease must be left when it has waited in vain until the last moment.
    pub(crate) fn longest_wait(&self) -> Duration {
        self.lease_wait.min(self.lease / 4)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs_per_client: 3,
            jobs: 8,
            upkeep: 2,
            lease: Duration::from_secs(30),
            lease_wait: Duration::from_secs(5),
            short_job_wait: Duration::from_secs(60),
            content_wait: Duration::from_secs(60),
            recover_again: Duration::from_secs(60),
            tick: Duration::from_secs(1),
        }
    }
}
