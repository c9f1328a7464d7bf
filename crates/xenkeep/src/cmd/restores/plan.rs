//! What a restore would do, in words and numbers.

use xenkeep_api::{NetworkMatch, Placement, PoolDisk, PowerState, Problem, ReplacedVm, RestorePlan};

use crate::{
    cmd::backups::short,
    output::{Column, details, one_line, table},
    progress::word,
    units,
};

/// The whole plan.
pub(super) fn text(plan: &RestorePlan) -> String {
    let mode = match &plan.placement {
        Placement::Beside { .. } => "beside whatever is there: new uuid, new MACs",
        Placement::Overwrite { .. } => "over the original: same uuid and MACs",
    };
    let mut text = details([
        ("restore", one_line(&plan.vm_name)),
        ("mode", mode.to_owned()),
        ("uuid", plan.vm_uuid.clone().unwrap_or_default()),
        ("point", format!("{} of {}", short(&plan.point), plan.point_version)),
        ("to", format!("pool {}, {}", plan.client, plan.pool_version)),
        ("afterwards", if plan.start { "started" } else { "registered, not started" }.to_owned()),
    ]);
    if let Some(old) = &plan.replaced {
        text += "\nremoved:\n";
        text += &removed(old);
    }
    text += "\n";
    text += &disks(plan);
    text += "\n";
    text += &srs(plan);
    if !plan.networks.is_empty() {
        text += "\n";
        text += &networks(plan);
    }
    for warning in &plan.warnings {
        text += &said("warning", warning);
    }
    for refusal in &plan.refusals {
        text += &said("refused", refusal);
    }
    text += if plan.ok { "nothing stands in its way\n" } else { "it would be refused, before a byte is sent\n" };
    text
}

/// What is asked about before a VM is replaced.
pub(super) fn consequences(plan: &RestorePlan) -> String {
    let size = plan.disks.iter().fold(0, |sum: u64, disk| sum.saturating_add(disk.size_bytes));
    let new = details([
        ("  restored", format!("{} ({})", plan.vm_name, plan.vm_uuid.clone().unwrap_or_default())),
        ("  point", short(&plan.point).to_owned()),
        ("  disks", format!("{}, {}", plan.disks.len(), units::size(size))),
    ]);
    let pool = &plan.client;
    let Some(old) = &plan.replaced else {
        return format!("No VM on pool {pool} has the uuid of this point: nothing will be removed.\n{new}");
    };
    let when = if old.destroyed_first {
        "These disks go BEFORE the restore. If it fails, only the restore point has what was on them.\n"
    } else {
        ""
    };
    format!(
        "On pool {pool} this VM will be removed, with all that was written to it since the backup:\n{}{when}and replaced by:\n{new}",
        removed(old)
    )
}

fn removed(old: &ReplacedVm) -> String {
    let size = old.disks.iter().fold(0, |sum: u64, disk| sum.saturating_add(disk.size_bytes));
    let mut text = details([
        ("  removed", format!("{} ({})", old.name, old.uuid)),
        ("  state", word(&old.power_state).to_lowercase()),
        ("  disks", format!("{}, {}", old.disks.len(), units::size(size))),
    ]);
    let line = |disk: &PoolDisk, what: &str| {
        let line = format!("{} {} on {} ({}){what}", disk.position, disk.name, disk.sr, disk.vdi_uuid);
        format!("    {}\n", one_line(&line))
    };
    for disk in &old.disks {
        text += &line(disk, if old.destroyed_first { ": removed before the restore" } else { "" });
    }
    for disk in &old.kept_disks {
        text += &line(disk, ": stays, detached");
    }
    if old.power_state != PowerState::Halted {
        text += "  It must be shut down first.\n";
    }
    text
}

fn disks(plan: &RestorePlan) -> String {
    let columns = [
        Column::Text("DISK"),
        Column::Text("NAME"),
        Column::Number("SIZE"),
        Column::Number("DATA"),
        Column::Text("TO SR"),
    ];
    let rows = plan.disks.iter().map(|disk| {
        [
            disk.position.clone(),
            disk.name.clone(),
            units::size(disk.size_bytes),
            units::size(disk.data_bytes),
            disk.sr.clone().unwrap_or_else(|| "none".to_owned()),
        ]
    });
    table(columns, rows) + "\n"
}

fn srs(plan: &RestorePlan) -> String {
    let columns = [
        Column::Text("SR"),
        Column::Number("FREE"),
        Column::Number("FREED FIRST"),
        Column::Number("NEEDED"),
        Column::Text("UUID"),
    ];
    let rows = plan.srs.iter().map(|sr| {
        [
            sr.name.clone(),
            sr.free_bytes.map_or_else(|| "unknown".to_owned(), units::size),
            if sr.freed_bytes == 0 { String::new() } else { units::size(sr.freed_bytes) },
            units::size(sr.needed_bytes),
            sr.uuid.clone(),
        ]
    });
    table(columns, rows) + "\n"
}

fn networks(plan: &RestorePlan) -> String {
    let columns = [
        Column::Text("CARD"),
        Column::Text("WAS ON"),
        Column::Text("GOES TO"),
        Column::Text("FOUND BY"),
        Column::Text("MAC"),
    ];
    let rows = plan.networks.iter().map(|card| {
        [
            card.device.clone(),
            card.from.clone(),
            card.to.clone().unwrap_or_default(),
            match card.by {
                NetworkMatch::Choice => "choice",
                NetworkMatch::Uuid => "uuid",
                NetworkMatch::Name => "name",
                NetworkMatch::LeftOut => "left out",
                NetworkMatch::Missing => "not found",
            }
            .to_owned(),
            card.mac.clone().unwrap_or_else(|| "new".to_owned()),
        ]
    });
    table(columns, rows) + "\n"
}

fn said(word: &str, problem: &Problem) -> String {
    let mut text = format!("{word}: {} [{}]\n", one_line(&problem.message), problem.code);
    if let Some(hint) = &problem.hint {
        text += &format!("  {}\n", one_line(hint));
    }
    text
}
