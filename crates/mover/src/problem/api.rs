//! XAPI's own codes (xapi: datamodel_errors.ml), as far as one can do something about them.

use xenkeep_api::{ClientAccess, Problem};

/// XAPI refused or failed with `code`.
pub(crate) fn api(client: &ClientAccess, code: &str, params: &[String]) -> Problem {
    let name = &client.name;
    let param = |index: usize| params.get(index).map_or("", String::as_str);
    match code {
        "VM_BAD_POWER_STATE" => Problem::new(
            "vm.bad_power_state",
            format!("the VM is {}, but this needs it {}", param(2).to_lowercase(), param(1).to_lowercase()),
        ),
        "RESTORE_INCOMPATIBLE_VERSION" => {
            Problem::new("pool.schema_differs", "the database has another schema than the pool")
        }
        "RESTORE_TARGET_MISSING_DEVICE" => Problem::new(
            "pool.device_missing",
            format!("the master of the backup has a network card {}, the master of pool {name} has none of that name", param(0)),
        )
        .hint("restore to the same machine, or to one with as many network cards; on XenServer, `xe host-emergency-management-reconfigure` and renaming of the cards help"),
        "RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP" => Problem::new(
            "pool.management_missing",
            format!("the management interface of pool {name} ({}) is not in the backup", params.join(", ")),
        )
        .hint("move the management interface to a network card that the backup knows, then restore again"),
        "RESTORE_SCRIPT_FAILED" => Problem::new(
            "host.restore_script_failed",
            format!("the host did not take the backup: {}", param(0)),
        )
        .hint("has the host a backup partition (not so after a legacy installation), and is the backup of its release?"),
        "OPERATION_BLOCKED" => {
            Problem::new("vm.blocked", format!("an administrator has blocked this operation on the VM: {}", param(1)))
                .hint("look at the VM's blocked_operations")
        }
        "OTHER_OPERATION_IN_PROGRESS" => {
            Problem::new("vm.busy", format!("another operation ({}) is in progress on the {}", param(2), param(0)))
                .hint("wait until it is done, then start the job again")
        }
        "OPERATION_NOT_ALLOWED" => {
            Problem::new("vm.not_allowed", format!("pool {name} does not allow this now: {}", param(0)))
        }
        "VDI_IS_SHARABLE" => Problem::new("vm.disk_shared", "a disk that several VMs share can't be snapshotted")
            .hint("back up what is on it from inside a guest"),
        "VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION" => {
            Problem::new("vm.disk_resets", "a disk that is reset at each boot can't be snapshotted")
                .hint("set the disk's on-boot to persist")
        }
        "VM_HAS_VUSBS" => Problem::new("vm.usb_attached", "a VM with a USB device attached can't be snapshotted")
            .hint("detach the USB device, or shut the VM down"),
        "VM_CHECKPOINT_SUSPEND_FAILED" | "VM_FAILED_SUSPEND_ACKNOWLEDGMENT" | "VM_SUSPEND_TIMEOUT" => {
            Problem::new("vm.not_suspended", format!("the VM could not be suspended for its checkpoint ({code})"))
                .hint("look whether the guest's tools run, and whether the SR for memory images has room")
        }
        "VM_CHECKPOINT_RESUME_FAILED" => {
            Problem::new("vm.not_resumed", "the VM was suspended for its checkpoint, and the pool could not resume it")
                .hint("has its host still memory for it? xe vm-resume tries again")
        }
        "VM_LACKS_FEATURE" | "VM_MISSING_PV_DRIVERS" | "VM_OLD_PV_DRIVERS" => {
            Problem::new("vm.no_tools", format!("the guest's tools do not run, or are too old ({code})"))
                .hint("install the guest tools in the VM, and start them")
        }
        "VM_HAS_PCI_ATTACHED" | "VM_HAS_VGPU" | "VM_NON_SUSPENDABLE" => {
            Problem::new("vm.not_suspendable", format!("the VM can't be suspended: {}", words(code, params)))
                .hint("take the device out of the VM, or choose another consistency")
        }
        "SR_BACKEND_FAILURE_109" => {
            Problem::new("sr.chain_too_long", "the SR has no room for one more snapshot in a disk's chain")
                .hint("remove old snapshots of the VM and wait for the SR to coalesce")
        }
        "SR_FULL" | "SR_BACKEND_FAILURE_44" | "SR_BACKEND_FAILURE_180" => {
            Problem::new("sr.full", "the SR has no room left")
                .hint("free some space in the SR, or choose another one with --sr")
        }
        "SR_HAS_NO_PBDS" | "SR_NOT_ATTACHED" | "SR_UNHEALTHY" | "SR_BACKEND_FAILURE_47" => {
            Problem::new("sr.not_attached", "the SR is not attached to any host of the pool")
                .hint("plug the SR, then start the job again")
        }
        "DEFAULT_SR_NOT_FOUND" => Problem::new("sr.no_default", format!("pool {name} has no default SR"))
            .hint("choose one with --sr, or set a default SR for the pool"),
        "DUPLICATE_MAC_SEED" => Problem::new(
            "vm.duplicate_mac",
            format!("another VM of pool {name} would get the same MAC addresses (its mac_seed is {})", param(0)),
        )
        .hint("snapshots of the lost VM, or a copy with its MACs kept, are still on the pool: remove them (xe vm-list params=uuid,name-label,other-config shows the mac_seed), or restore beside with --as"),
        "IMPORT_INCOMPATIBLE_VERSION" => Problem::new(
            "pool.too_old",
            format!("the restore point is from a newer version of the product than pool {name} runs"),
        )
        .hint("update the pool, or restore to another one"),
        "NOT_SUPPORTED_DURING_UPGRADE" => {
            Problem::new("pool.upgrading", format!("pool {name} is in a rolling upgrade"))
                .hint("finish the upgrade, then start the job again")
        }
        "LICENCE_RESTRICTION" | "LICENSE_EXPIRED" | "FEATURE_RESTRICTED" => {
            Problem::new("pool.licence", format!("the licence of pool {name} does not allow this: {}", param(0)))
        }
        "RBAC_PERMISSION_DENIED" | "PERMISSION_DENIED" => {
            Problem::new("pool.forbidden", format!("user {} may not do this on pool {name}: {}", client.user, param(0)))
                .hint("the account needs the role pool-admin")
        }
        "TOO_MANY_PENDING_TASKS" => {
            Problem::new("pool.overloaded", format!("pool {name} has too many tasks under way"))
                .hint("start the job again later")
        }
        "HOST_IN_EMERGENCY_MODE" | "HOST_STILL_BOOTING" | "HOST_OFFLINE" | "HOST_NOT_LIVE" => {
            Problem::new("pool.not_ready", format!("a host of pool {name} is not ready ({code})"))
                .hint("start the job again when the host is up")
        }
        "NO_HOSTS_AVAILABLE" | "HOST_NOT_ENOUGH_FREE_MEMORY" | "VM_REQUIRES_SR" | "VM_REQUIRES_NETWORK" => {
            Problem::new("vm.no_host", format!("no host of pool {name} can run the VM: {}", words(code, params)))
                .hint("free some memory, or look whether a host sees the VM's SRs and networks")
        }
        "TASK_CANCELLED" => {
            Problem::new("pool.task_cancelled", format!("somebody cancelled the task of this job on pool {name}"))
        }
        "IMPORT_ERROR_PREMATURE_EOF" => Problem::new("pool.import_cut", "the stream to the pool ended before its end")
            .hint("look for a network fault, then start the job again"),
        "CLIENT_ERROR" | "VDI_IO_ERROR" => {
            Problem::new("pool.io_error", format!("pool {name} could not move the disk's data: {}", param(0)))
                .hint("the pool's log (xensource.log) says more")
        }
        "SESSION_INVALID" => Problem::new("pool.session_lost", format!("pool {name} ended the session of this job"))
            .hint("start the job again"),
        _ => Problem::new("pool.error", format!("pool {name} answered {}", words(code, params)))
            .hint("the pool's log (xensource.log) says more"),
    }
    .about(name)
}

fn words(code: &str, params: &[String]) -> String {
    if params.is_empty() { code.to_owned() } else { format!("{code} ({})", params.join(", ")) }
}
