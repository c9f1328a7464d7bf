//! Which operations an object allows now: power state, what already runs, templates, snapshots, what the guest can do.
//! The order of the checks is XAPI's (`xapi_vm_lifecycle.ml`), so that the first error is the same.

use super::vm::VSS_KEY;
use crate::{
    error::ApiError,
    model::{Class, Ref, Tables, Value},
};

const ANY: &[&str] = &["Halted", "Paused", "Running", "Suspended"];
const HALTED: &[&str] = &["Halted"];
const RUNNING: &[&str] = &["Running"];
const PAUSED: &[&str] = &["Paused"];
const SUSPENDED: &[&str] = &["Suspended"];
const OFF: &[&str] = &["Halted", "Suspended"];
const LIVE: &[&str] = &["Running", "Paused"];
const NOT_HALTED: &[&str] = &["Paused", "Running", "Suspended"];

/// The power states in which a VM takes each operation.
const STATES: &[(&str, &[&str])] = &[
    ("snapshot", ANY),
    ("revert", ANY),
    ("metadata_export", ANY),
    ("update_allowed_operations", ANY),
    ("snapshot_with_quiesce", RUNNING),
    ("checkpoint", NOT_HALTED),
    ("clone", HALTED),
    ("copy", HALTED),
    ("export", OFF),
    ("destroy", OFF),
    ("create_template", OFF),
    ("start", HALTED),
    ("start_on", HALTED),
    ("provision", HALTED),
    ("make_into_template", HALTED),
    ("changing_NVRAM", HALTED),
    ("create_vtpm", HALTED),
    ("changing_static_range", HALTED),
    ("changing_memory_limits", HALTED),
    ("changing_dynamic_range", &["Halted", "Running"]),
    ("changing_shadow_memory", HALTED),
    ("changing_VCPUs", HALTED),
    ("changing_VCPUs_live", RUNNING),
    ("clean_shutdown", RUNNING),
    ("clean_reboot", RUNNING),
    ("shutdown", NOT_HALTED),
    ("suspend", RUNNING),
    ("pause", RUNNING),
    ("pool_migrate", RUNNING),
    ("migrate_send", ANY),
    ("call_plugin", RUNNING),
    ("hard_shutdown", NOT_HALTED),
    ("power_state_reset", ANY),
    ("hard_reboot", LIVE),
    ("resume", SUSPENDED),
    ("resume_on", SUSPENDED),
    ("unpause", PAUSED),
    ("query_services", RUNNING),
    ("send_sysrq", RUNNING),
    ("send_trigger", RUNNING),
    ("data_source_op", RUNNING),
];

/// Operations that are checked, but never told as allowed.
const UNTOLD: &[&str] = &["snapshot_with_quiesce", "update_allowed_operations", "power_state_reset"];

/// What a template takes (and a snapshot doesn't count as one here).
const TEMPLATE: &[&str] = &[
    "clone",
    "copy",
    "export",
    "metadata_export",
    "provision",
    "destroy",
    "create_template",
    "changing_NVRAM",
    "changing_static_range",
    "changing_memory_limits",
    "changing_dynamic_range",
    "changing_shadow_memory",
    "changing_VCPUs",
    "create_vtpm",
];

/// What a snapshot takes.
const SNAPSHOT: &[&str] = &["revert", "clone", "copy", "export", "destroy", "hard_shutdown", "metadata_export"];

/// Operations that need the guest's tools while it runs.
const NEEDS_TOOLS: &[&str] = &["clean_shutdown", "clean_reboot", "suspend", "checkpoint", "pool_migrate"];

/// Operations that would freeze or move a disk that falls back at each boot.
const NEEDS_PERSISTENT_DISKS: &[&str] = &["snapshot", "snapshot_with_quiesce", "checkpoint", "suspend", "migrate_send"];

/// Whether two operations may run at once on one VM.
fn go_together(running: &str, wanted: &str) -> bool {
    let reading = |operation| matches!(operation, "clone" | "copy" | "export");
    let freezing = |operation| matches!(operation, "snapshot" | "checkpoint");
    wanted == "metadata_export"
        || running == "metadata_export"
        || (wanted == "hard_shutdown" && running != "hard_shutdown")
        || (reading(running) && reading(wanted))
        || (freezing(running) && freezing(wanted))
}

/// Fails as XAPI would when a VM can't take an operation now.
pub(crate) fn check_vm(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    if !t.has(Class::Vm, vm) {
        return Err(ApiError::handle(Class::Vm, vm));
    }
    check_blocked(t, vm, operation)?;
    check_power_state(t, vm, operation)?;
    check_concurrency(t, vm, operation)?;
    check_kind(t, vm, operation)?;
    check_guest(t, vm, operation)?;
    check_devices(t, vm, operation)
}

fn check_blocked(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    match t.entry(vm, "blocked_operations", operation) {
        Some(reason) => Err(ApiError::new("OPERATION_BLOCKED", [vm.as_str(), &reason])),
        None => Ok(()),
    }
}

fn check_power_state(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    let Some((_, states)) = STATES.iter().find(|(name, _)| *name == operation) else { return Ok(()) };
    let actual = t.str(vm, "power_state");
    let also_suspended = matches!(operation, "clone" | "copy") && t.bool(vm, "is_a_snapshot");
    if states.contains(&actual.as_str()) || (also_suspended && actual == "Suspended") {
        return Ok(());
    }
    Err(bad_power_state(vm, states, &actual))
}

/// VM_BAD_POWER_STATE, with the states in lower case.
pub(crate) fn bad_power_state(vm: &Ref, expected: &[&str], actual: &str) -> ApiError {
    let expected = expected.join(", ").to_ascii_lowercase();
    ApiError::new("VM_BAD_POWER_STATE", [vm.as_str(), &expected, &actual.to_ascii_lowercase()])
}

fn check_concurrency(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    for (task, running) in t.map(vm, "current_operations") {
        let running = running.as_str().unwrap_or_default();
        if !go_together(running, operation) {
            return Err(ApiError::new("OTHER_OPERATION_IN_PROGRESS", ["VM", vm.as_str(), running, &task]));
        }
    }
    Ok(())
}

fn check_kind(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    let is_snapshot = t.bool(vm, "is_a_snapshot");
    if t.bool(vm, "is_a_template") && !is_snapshot {
        if !TEMPLATE.contains(&operation) {
            return Err(ApiError::new("VM_IS_TEMPLATE", [vm.as_str(), operation]));
        }
        if operation == "destroy" && is_default_template(t, vm) {
            return Err(ApiError::new("VM_CANNOT_DELETE_DEFAULT_TEMPLATE", [vm]));
        }
    }
    if is_snapshot && !SNAPSHOT.contains(&operation) {
        return Err(ApiError::new("VM_IS_SNAPSHOT", [vm.as_str(), operation]));
    }
    if operation == "revert" && !is_snapshot {
        return Err(ApiError::not_allowed("Only snapshots can be reverted"));
    }
    if operation == "provision" && !t.bool(vm, "is_a_template") {
        return Err(ApiError::not_allowed("Only templates can be provisioned"));
    }
    if t.bool(vm, "is_control_domain") && !matches!(operation, "metadata_export" | "changing_dynamic_range") {
        return Err(ApiError::not_allowed("This operation is not allowed on a control domain"));
    }
    Ok(())
}

/// Whether it is one of the templates that come with the product.
pub(crate) fn is_default_template(t: &Tables, vm: &Ref) -> bool {
    t.bool(vm, "is_default_template")
        || t.entry(vm, "other_config", "default_template").is_some_and(|value| value == "true")
}

fn check_guest(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    if operation == "snapshot_with_quiesce" && t.entry(vm, "other_config", VSS_KEY).is_none() {
        return Err(ApiError::new("VM_SNAPSHOT_WITH_QUIESCE_NOT_SUPPORTED", [vm]));
    }
    let has_tools = t.bool(&t.reference(vm, "guest_metrics"), "PV_drivers_detected");
    if NEEDS_TOOLS.contains(&operation) && t.str(vm, "power_state") == "Running" && !has_tools {
        return Err(ApiError::new("VM_LACKS_FEATURE", [vm]));
    }
    Ok(())
}

fn check_devices(t: &Tables, vm: &Ref, operation: &str) -> Result<(), ApiError> {
    if NEEDS_PERSISTENT_DISKS.contains(&operation) {
        let disks = t.references(vm, "VBDs").into_iter().map(|vbd| t.reference(&vbd, "VDI"));
        if disks.into_iter().any(|vdi| t.str(&vdi, "on_boot") == "reset") {
            return Err(ApiError::bare("VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION"));
        }
    }
    if matches!(operation, "snapshot" | "snapshot_with_quiesce" | "checkpoint" | "suspend")
        && !t.references(vm, "VUSBs").is_empty()
    {
        return Err(ApiError::new("VM_HAS_VUSBS", [vm]));
    }
    Ok(())
}

/// Writes down what a VM allows now.
pub(crate) fn refresh_vm(t: &mut Tables, vm: &Ref) {
    let allowed: Vec<&str> = STATES
        .iter()
        .map(|(operation, _)| *operation)
        .filter(|operation| !UNTOLD.contains(operation) && check_vm(t, vm, operation).is_ok())
        .collect();
    t.set(vm, "allowed_operations", Value::texts(allowed));
}

/// Writes down what a VM and everything plugged into it allow now.
pub(crate) fn refresh(t: &mut Tables, vm: &Ref) {
    refresh_vm(t, vm);
    for vbd in t.references(vm, "VBDs") {
        refresh_vbd(t, &vbd);
        refresh_vdi(t, &t.reference(&vbd, "VDI"));
    }
    for vif in t.references(vm, "VIFs") {
        refresh_vif(t, &vif);
    }
}

/// Writes down what a VBD allows now.
pub(crate) fn refresh_vbd(t: &mut Tables, vbd: &Ref) {
    let live = is_live(t, &t.reference(vbd, "VM"));
    let attached = t.bool(vbd, "currently_attached");
    let mut allowed = vec!["attach"];
    match (live, attached) {
        (true, true) => allowed.extend(["unplug", "unplug_force", "pause", "unpause"]),
        (true, false) => allowed.push("plug"),
        (false, _) => {}
    }
    if t.str(vbd, "type") == "CD" {
        allowed.push(if t.bool(vbd, "empty") { "insert" } else { "eject" });
    }
    t.set(vbd, "allowed_operations", Value::texts(allowed));
}

/// Writes down what a VIF allows now.
pub(crate) fn refresh_vif(t: &mut Tables, vif: &Ref) {
    let live = is_live(t, &t.reference(vif, "VM"));
    let mut allowed = vec!["attach"];
    match (live, t.bool(vif, "currently_attached")) {
        (true, true) => allowed.push("unplug"),
        (true, false) => allowed.push("plug"),
        (false, _) => {}
    }
    t.set(vif, "allowed_operations", Value::texts(allowed));
}

/// Writes down what a VDI allows now.
pub(crate) fn refresh_vdi(t: &mut Tables, vdi: &Ref) {
    let attached = t.references(vdi, "VBDs").iter().any(|vbd| t.bool(vbd, "currently_attached"));
    let mut allowed = vec!["snapshot", "clone", "update", "generate_config"];
    if t.bool(vdi, "is_a_snapshot") {
        allowed.push("data_destroy");
    } else {
        allowed.extend(["enable_cbt", "disable_cbt"]);
    }
    if !attached {
        allowed.extend(["copy", "resize", "destroy", "forget", "force_unlock", "set_on_boot"]);
    }
    t.set(vdi, "allowed_operations", Value::texts(allowed));
}

/// Whether devices can come and go while the VM is on. A control domain always is.
pub(crate) fn is_live(t: &Tables, vm: &Ref) -> bool {
    matches!(t.str(vm, "power_state").as_str(), "Running" | "Paused")
}
