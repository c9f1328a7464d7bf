//! What restic writes into locks, keys and snapshots about where it runs.

use std::fs;
use std::path::Path;

/// Nobody logs in as a backup; restic wants a name all the same.
pub(crate) const USER: &str = "xenkeep";

/// The machine's name, as Go's `os.Hostname` finds it.
pub(crate) fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// Does this process run on this machine?
pub(crate) fn process_exists(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}
