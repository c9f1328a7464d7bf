//! Whether the pool is one that takes the point: its version, its hardware, its licence, its memory.

use std::collections::HashMap;

use xapi::{HostRef, record::Host};
use xenkeep_api::Problem;

use super::plan::free_memory;
use crate::{
    context::Stop,
    open::OpenPoint,
    problem::bytes,
    session::{OrStop, Session},
};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// Of the product that wrote the point.
    pub(super) point: String,
    /// Of the product that the pool runs.
    pub(super) pool: String,
    pub(super) refusals: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// Looks.
pub(super) async fn look(session: &Session, point: &OpenPoint, start: bool) -> Result<Versions, Stop> {
    let (_, pool) = session.pool.pool_record().await.or_stop(session)?;
    let hosts: HashMap<HostRef, Host> = session.pool.records().await.or_stop(session)?;
    let master = hosts.get(&pool.master).cloned().unwrap_or_default();
    let ova = point.ova();
    let name = &session.client.name;
    let mut found = Versions {
        point: point.file.pool.product.clone(),
        pool: master.product(),
        refusals: Vec::new(),
        warnings: Vec::new(),
    };
    let theirs = (ova.version.int("xapi_major").unwrap_or(0), ova.version.int("xapi_minor").unwrap_or(0));
    if let Some(ours) = master.software_version.get("xapi").and_then(|text| version(text)) {
        found.refusals.extend(too_old(name, (&found.point, theirs), (&found.pool, ours)));
    }
    if pool.other_config.contains_key("rolling_upgrade_in_progress") {
        found.refusals.push(
            Problem::new("pool.upgrading", format!("pool {name} is in a rolling upgrade: it takes no imports"))
                .hint("finish the upgrade, then restore"),
        );
    }
    let has_tpm = ova.of_class("VTPM").next().is_some();
    if has_tpm && pool.restrictions.get("restrict_vtpm").is_some_and(|value| value == "true") {
        found.refusals.push(
            Problem::new(
                "pool.licence",
                format!("the VM has a virtual TPM, which the licence of pool {name} leaves out"),
            )
            .hint("restore to a pool whose edition has it"),
        );
    }
    let vm = ova.vms().next();
    let number = |field: &str| vm.and_then(|vm| vm.snapshot.int(field)).unwrap_or(0);
    let wanted = number("hardware_platform_version");
    let offered: Vec<i64> =
        hosts.values().flat_map(|host| host.virtual_hardware_platform_versions.iter().copied()).collect();
    if !offered.is_empty() && !offered.contains(&wanted) {
        found.warnings.push(
            Problem::new(
                "vm.hardware_too_new",
                format!("the VM wants virtual hardware of version {wanted}, which no host of pool {name} has"),
            )
            .hint("it can be restored, but not started there"),
        );
    }
    if start {
        let memory = number("memory_static_max");
        if let Some(free) = free_memory(session, &hosts).await.filter(|free| *free < memory) {
            let size = |bytes_of: i64| bytes(u64::try_from(bytes_of).unwrap_or(0));
            found.warnings.push(
                Problem::new(
                    "vm.no_memory",
                    format!("the VM has {} of memory; the host with most has {} free", size(memory), size(free)),
                )
                .hint("it will be restored; free some memory so that it can start"),
            );
        }
    }
    Ok(found)
}

/// `24.19` or `24.19.2`.
fn version(text: &str) -> Option<(i64, i64)> {
    let mut parts = text.split('.').map(str::parse::<i64>);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

/// An older pool refuses what a newer one exported (xapi: importexport.ml compares the versions of xapi itself).
fn too_old(pool: &str, point: (&str, (i64, i64)), runs: (&str, (i64, i64))) -> Option<Problem> {
    let ((product, theirs), (own, ours)) = (point, runs);
    (theirs > ours).then(|| {
        Problem::new(
            "pool.too_old",
            format!(
                "the point was written by {product} (xapi {}.{}), pool {pool} runs {own} (xapi {}.{}): an older pool refuses \
                 what a newer one exported",
                theirs.0, theirs.1, ours.0, ours.1
            ),
        )
        .hint("update the pool, restore to one that runs at least this version, or export single disks: `xenkeep export --format raw`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_older_pool_refuses() {
        let judge = |theirs, ours| too_old("lab", ("XCP-ng 8.3", theirs), ("XCP-ng 8.2", ours));
        assert_eq!(judge((2, 16), (2, 16)), None);
        assert_eq!(judge((2, 15), (2, 16)), None);
        assert_eq!(judge((1, 99), (2, 0)), None);
        assert_eq!(version("24.19.2"), Some((24, 19)));
        assert_eq!(version(""), None);
        let problem = judge((2, 21), (2, 16)).unwrap();
        assert_eq!(problem.code, "pool.too_old");
        assert!(
            problem.message.contains("XCP-ng 8.3 (xapi 2.21)") && problem.message.contains("XCP-ng 8.2 (xapi 2.16)")
        );
    }
}
