//! Which disks of the VM are left out of its backup.

use xapi::{
    VdiRef,
    record::{Sr, Vbd, VbdType, Vdi, Vm},
};
use xenkeep_api::{DiskPattern, LeftOutDisk, Problem};

use crate::{
    context::{JobContext, Stop},
    problem::bytes,
    select::fits,
    session::{OrStop, Session},
};

/// What an administrator writes into a disk's name to have it left out.
const NO_BACKUP: &str = "[NOBAK]";

/// Disks that are left out.
#[derive(Debug, Clone, Default)]
pub(super) struct LeftOut {
    pub(super) vdis: Vec<VdiRef>,
    /// The same, by position, for the point.
    pub(super) disks: Vec<LeftOutDisk>,
}

/// What the rules look at.
struct Seen<'a> {
    position: &'a str,
    name: &'a str,
    tags: &'a [String],
    size_bytes: u64,
    sr_name: &'a str,
    sr_uuid: &'a str,
}

/// Finds the disks that `patterns`, or their names, say are to be left out.
pub(super) async fn find(
    cx: &JobContext,
    session: &Session,
    vm: &Vm,
    patterns: &[DiskPattern],
) -> Result<LeftOut, Stop> {
    let (left_out, others) = cx.or_cancelled(sort(session, vm, patterns)).await?;
    for disk in &left_out.disks {
        let (position, name, size) = (&disk.position, &disk.name, bytes(disk.size_bytes));
        cx.info(format!("disk {position} ({name}, {size}) is left out: {}", disk.reason));
    }
    if others == 0 && !left_out.disks.is_empty() {
        let text = format!("every disk of VM {} is to be left out", vm.name_label);
        return Err(Problem::new("vm.all_disks_left_out", text)
            .hint("exclude the VM itself, or let the task's rules leave one of its disks")
            .about(&vm.uuid)
            .into());
    }
    Ok(left_out)
}

/// The disks that are left out, and the number of the others.
async fn sort(session: &Session, vm: &Vm, patterns: &[DiskPattern]) -> Result<(LeftOut, usize), Stop> {
    let pool = &session.pool;
    let (mut left_out, mut others) = (LeftOut::default(), 0);
    for vbd in &vm.vbds {
        let Some(vbd) = pool.record::<Vbd>(vbd).await.or_gone(session)? else { continue };
        if vbd.kind != VbdType::Disk || vbd.vdi.is_null() {
            continue;
        }
        let Some(vdi) = pool.record::<Vdi>(&vbd.vdi).await.or_gone(session)? else { continue };
        let sr: Sr = pool.record(&vdi.sr).await.or_stop(session)?;
        if !sr.holds_disks() {
            continue;
        }
        let seen = Seen {
            position: &vbd.userdevice,
            name: &vdi.name_label,
            tags: &vdi.tags,
            size_bytes: vdi.virtual_bytes(),
            sr_name: &sr.name_label,
            sr_uuid: &sr.uuid,
        };
        let Some(reason) = reason(patterns, &seen) else {
            others += 1;
            continue;
        };
        left_out.disks.push(LeftOutDisk {
            position: vbd.userdevice.clone(),
            name: vdi.name_label.clone(),
            vdi_uuid: vdi.uuid.clone(),
            size_bytes: vdi.virtual_bytes(),
            reason,
        });
        left_out.vdis.push(vbd.vdi.clone());
    }
    left_out.disks.sort_by_key(|disk| (disk.position.parse().unwrap_or(u32::MAX), disk.position.clone()));
    Ok((left_out, others))
}

/// The rule that leaves a disk out, if one does.
fn reason(patterns: &[DiskPattern], disk: &Seen<'_>) -> Option<String> {
    if disk.name.to_ascii_uppercase().contains(NO_BACKUP) {
        return Some(NO_BACKUP.to_owned());
    }
    let hit = patterns.iter().find(|pattern| match pattern {
        DiskPattern::Device(device) => device == disk.position,
        DiskPattern::Name(pattern) => fits(std::slice::from_ref(pattern), disk.name),
        DiskPattern::Sr(sr) => sr == disk.sr_name || sr.eq_ignore_ascii_case(disk.sr_uuid),
        DiskPattern::Tag(tag) => disk.tags.contains(tag),
        DiskPattern::LargerThanBytes(most) => disk.size_bytes > *most,
    });
    hit.map(DiskPattern::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_is_named() {
        let tags = ["scratch".to_owned()];
        let disk = Seen {
            position: "1",
            name: "web1 swap",
            tags: &tags,
            size_bytes: 4 << 30,
            sr_name: "fast",
            sr_uuid: "0f-sr",
        };
        let patterns = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<DiskPattern>>();
        for (texts, expected) in [
            (&[][..], None),
            (&["device:1"][..], Some("device:1")),
            (&["device:0", "name:*SWAP"], Some("name:*SWAP")),
            (&["sr:fast"], Some("sr:fast")),
            (&["sr:0F-SR"], Some("sr:0F-SR")),
            (&["sr:Fast", "tag:scratch"], Some("tag:scratch")),
            (&["larger-than:4GiB"], None),
            (&["larger-than:3GiB", "device:1"], Some("larger-than:3GiB")),
            (&["name:swap", "tag:Scratch", "device:10"], None),
        ] {
            assert_eq!(reason(&patterns(texts), &disk).as_deref(), expected, "{texts:?}");
        }
        for (name, left_out) in [("temp [NOBAK]", true), ("[nobak] temp", true), ("NOBAK", false), ("[ NOBAK ]", false)]
        {
            let disk = Seen { name, ..disk };
            assert_eq!(reason(&[], &disk).is_some(), left_out, "{name}");
        }
    }
}
