//! Virtual machines.

mod checkpoint;
mod create;
mod duplicate;
mod guest;
mod memory;
mod power;
mod query;
mod quiesce;
mod revert;

pub use self::{create::destroy, power::boot_now};
pub(crate) use self::{
    create::{add_metrics, check_template, default_bios_strings},
    guest::NO_TOOLS_KEY,
    quiesce::VSS_KEY,
};

use super::{Entry, allowed};
use crate::{
    error::ApiError,
    model::{Class, Ref},
    rpc::Handler,
    world::World,
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Vm, "create", Handler::Now(create::create)),
    (Class::Vm, "destroy", Handler::Now(create::destroy_call)),
    (Class::Vm, "provision", Handler::Now(create::provision)),
    (Class::Vm, "set_is_default_template", Handler::Now(create::set_is_default_template)),
    (Class::Vm, "set_bios_strings", Handler::Now(create::set_bios_strings)),
    (Class::Vm, "set_NVRAM_EFI_variables", Handler::Now(create::set_efi_variables)),
    (Class::Vm, "snapshot", Handler::Later(duplicate::snapshot)),
    (Class::Vm, "snapshot_with_quiesce", Handler::Later(quiesce::snapshot_with_quiesce)),
    (Class::Vm, "checkpoint", Handler::Later(checkpoint::checkpoint)),
    (Class::Vm, "clone", Handler::Later(duplicate::clone)),
    (Class::Vm, "copy", Handler::Later(duplicate::copy)),
    (Class::Vm, "revert", Handler::Now(revert::revert)),
    (Class::Vm, "start", Handler::Later(power::start)),
    (Class::Vm, "start_on", Handler::Later(power::start_on)),
    (Class::Vm, "pause", Handler::Now(power::pause)),
    (Class::Vm, "unpause", Handler::Now(power::unpause)),
    (Class::Vm, "clean_shutdown", Handler::Later(power::clean_shutdown)),
    (Class::Vm, "hard_shutdown", Handler::Now(power::hard_shutdown)),
    (Class::Vm, "shutdown", Handler::Later(power::shutdown)),
    (Class::Vm, "clean_reboot", Handler::Later(power::clean_reboot)),
    (Class::Vm, "hard_reboot", Handler::Now(power::hard_reboot)),
    (Class::Vm, "suspend", Handler::Later(power::suspend)),
    (Class::Vm, "resume", Handler::Later(power::resume)),
    (Class::Vm, "resume_on", Handler::Later(power::resume_on)),
    (Class::Vm, "power_state_reset", Handler::Now(power::power_state_reset)),
    (Class::Vm, "pool_migrate", Handler::Later(power::pool_migrate)),
    (Class::Vm, "set_memory_limits", Handler::Now(memory::set_memory_limits)),
    (Class::Vm, "set_memory_static_range", Handler::Now(memory::set_memory_static_range)),
    (Class::Vm, "set_memory_dynamic_range", Handler::Now(memory::set_memory_dynamic_range)),
    (Class::Vm, "set_memory_static_min", Handler::Now(memory::set_memory_static_min)),
    (Class::Vm, "set_memory_static_max", Handler::Now(memory::set_memory_static_max)),
    (Class::Vm, "set_memory_dynamic_min", Handler::Now(memory::set_memory_dynamic_min)),
    (Class::Vm, "set_memory_dynamic_max", Handler::Now(memory::set_memory_dynamic_max)),
    (Class::Vm, "set_memory", Handler::Now(memory::set_memory)),
    (Class::Vm, "compute_memory_overhead", Handler::Now(memory::compute_memory_overhead)),
    (Class::Vm, "maximise_memory", Handler::Now(memory::maximise_memory)),
    (Class::Vm, "set_VCPUs_max", Handler::Now(memory::set_vcpus_max)),
    (Class::Vm, "set_VCPUs_at_startup", Handler::Now(memory::set_vcpus_at_startup)),
    (Class::Vm, "set_VCPUs_number_live", Handler::Now(memory::set_vcpus_number_live)),
    (Class::Vm, "get_allowed_VBD_devices", Handler::Now(query::get_allowed_vbd_devices)),
    (Class::Vm, "get_allowed_VIF_devices", Handler::Now(query::get_allowed_vif_devices)),
    (Class::Vm, "get_possible_hosts", Handler::Now(query::get_possible_hosts)),
    (Class::Vm, "assert_can_boot_here", Handler::Now(query::assert_can_boot_here)),
    (Class::Vm, "assert_operation_valid", Handler::Now(query::assert_operation_valid)),
    (Class::Vm, "assert_agile", Handler::Now(query::assert_agile)),
    (Class::Vm, "update_allowed_operations", Handler::Now(query::update_allowed_operations)),
    (Class::Vm, "get_boot_record", Handler::Now(query::get_boot_record)),
    (Class::Vm, "get_data_sources", Handler::Now(query::get_data_sources)),
];

/// An operation that a machine is busy with, shown in its `current_operations`. It ends when this is dropped.
#[derive(Debug)]
pub struct Operation {
    world: World,
    vm: Ref,
    task: Ref,
}

/// Starts an operation on a machine, after all checks that XAPI makes before it.
pub fn begin(world: &World, vm: &Ref, operation: &str, task: &Ref) -> Result<Operation, ApiError> {
    world.db.write(|t| {
        allowed::check_vm(t, vm, operation)?;
        t.map_insert(vm, "current_operations", task.as_str(), operation);
        allowed::refresh_vm(t, vm);
        Ok::<_, ApiError>(())
    })?;
    Ok(Operation { world: world.clone(), vm: vm.clone(), task: task.clone() })
}

/// Shows an operation of a machine without any check, as an import does with the machines that it makes.
pub fn begin_unchecked(world: &World, vm: &Ref, operation: &str, task: &Ref) -> Operation {
    world.db.write(|t| t.map_insert(vm, "current_operations", task.as_str(), operation));
    Operation { world: world.clone(), vm: vm.clone(), task: task.clone() }
}

impl Operation {
    /// Ends it.
    pub fn end(self) {}
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.world.db.write(|t| {
            if t.has(Class::Vm, &self.vm) {
                t.map_remove(&self.vm, "current_operations", self.task.as_str());
                allowed::refresh(t, &self.vm);
            }
        });
    }
}
