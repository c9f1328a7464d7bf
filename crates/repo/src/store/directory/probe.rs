//! Before a repository is made in a directory: does the file system there do all that we shall ask of it?
//!
//! Mounted shares (NFS, SMB, FUSE) differ in what they promise. What we cannot do without is an error; what makes the
//! repository less safe than on a local disk is told to the administrator.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;
use uuid::Uuid;

use super::{TEMP_DIR, entries, write_durably};
use crate::{Error, Result};

const WRITTEN: &[u8] = b"what xenkeep wrote to see whether it can";

/// Does with two files what we shall do with many. What is less than perfect comes back in sentences.
pub(super) fn probe(root: &Path) -> Result<Vec<String>> {
    let dir = root.join(TEMP_DIR);
    let (from, to) = (dir.join(Uuid::new_v4().to_string()), dir.join(Uuid::new_v4().to_string()));
    let probed = probe_files(&dir, &from, &to);
    drop(fs::remove_file(&from));
    drop(fs::remove_file(&to));
    let mut findings = probed?;
    findings.extend(file_system(root));
    Ok(findings)
}

fn probe_files(dir: &Path, from: &Path, to: &Path) -> Result<Vec<String>> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::io(&path, error)
    };
    let useless = |why: &str| Error::Invalid(format!("{} cannot hold a repository: {why}", dir.display()));
    write_durably(from, WRITTEN).map_err(at(from))?;
    write_durably(to, b"older").map_err(at(to))?;
    fs::rename(from, to).map_err(at(to))?;
    if fs::read(to).map_err(at(to))? != WRITTEN {
        return Err(useless("a file that was moved over another one is not what was written"));
    }
    let listed = |path: &Path| Ok::<_, Error>(entries(dir)?.iter().any(|entry| entry.path() == path));
    if !listed(to)? || listed(from)? {
        return Err(useless("its list of files is not up to date"));
    }
    fs::remove_file(to).map_err(at(to))?;
    if listed(to)? {
        return Err(useless("a file that was removed is still listed"));
    }
    let mut findings = Vec::new();
    match File::open(dir).and_then(|dir| dir.sync_all()) {
        Ok(()) => {}
        Err(error) if is_unsupported(&error) => findings.push(
            "the file system cannot make directories durable: what is stored in the last seconds before its server \
             loses power may be lost"
                .to_owned(),
        ),
        Err(error) => return Err(Error::io(dir, error)),
    }
    Ok(findings)
}

/// The file system does not know how to do this; nothing is broken.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    let unsupported = [Errno::INVAL, Errno::NOTSUP, Errno::NOSYS, Errno::BADF].map(|errno| Some(errno.raw_os_error()));
    unsupported.contains(&error.raw_os_error())
}

/// What is known of the kind of file system, and of how it is mounted.
fn file_system(root: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = fs::canonicalize(root).ok()?;
    warning(&mounts, &root)
}

/// The mount that a path lies on is the last one of those with the longest mount point.
fn warning(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, of) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?.replace("\\040", " ");
        let mut of = of.split(' ');
        let (kind, _, options) = (of.next()?, of.next()?, of.next()?);
        path.starts_with(&point).then(|| (point.len(), kind.to_owned(), options.to_owned()))
    });
    let (_, kind, options) = mounts.max_by_key(|(len, ..)| *len)?;
    let has = |option: &str| options.split(',').any(|one| one == option);
    match kind.as_str() {
        "tmpfs" | "ramfs" => Some("the directory lies in memory: it is empty after a restart".to_owned()),
        "nfs" | "nfs4" if has("soft") => Some(
            "the NFS share is mounted with `soft`: when its server is slow, writes fail instead of waiting; mount it \
             with `hard`"
                .to_owned(),
        ),
        "nfs" | "nfs4" if has("async") => Some(
            "the NFS share is mounted with `async`: mount it with `sync`, or see that its server exports so".to_owned(),
        ),
        "cifs" | "smb3" if has("nostrictsync") => Some(
            "the SMB share is mounted with `nostrictsync`: what was said to be durable may not be; mount it without"
                .to_owned(),
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_that_counts_is_the_innermost() {
        let mounts = "\
            22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
            30 22 0:30 / /mnt/a\\040b rw - nfs4 nas:/x rw,vers=4.2,soft,proto=tcp\n\
            31 22 0:31 / /mnt/hard rw - nfs nas:/y rw,hard\n\
            32 22 0:32 / /mnt/smb rw - cifs //nas/z rw,nostrictsync\n\
            33 22 0:33 / /run rw - tmpfs tmpfs rw,size=10k\n";
        let told = |path: &str| warning(mounts, Path::new(path));
        assert_eq!(told("/srv/store"), None);
        assert_eq!(told("/mnt/hard/store"), None);
        assert_eq!(told("/mnt/harder"), None);
        assert!(told("/mnt/a b/store").is_some_and(|text| text.contains("soft")));
        assert!(told("/mnt/smb").is_some_and(|text| text.contains("nostrictsync")));
        assert!(told("/run/x").is_some_and(|text| text.contains("memory")));
        assert_eq!(warning("nonsense\n1 2 3 - x", Path::new("/")), None);
    }

    #[test]
    fn what_a_file_system_does_not_know_is_no_fault() {
        assert!(is_unsupported(&io::Error::from_raw_os_error(Errno::INVAL.raw_os_error())));
        assert!(!is_unsupported(&io::Error::from_raw_os_error(Errno::IO.raw_os_error())));
        assert!(!is_unsupported(&io::ErrorKind::StorageFull.into()));
    }
}
