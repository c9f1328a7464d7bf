//! What calls do. Getters, setters and queries need nothing of this; a call with effects has its function here.

pub mod vbd;
pub mod vdi;
pub mod vif;
pub mod vm;

pub(crate) mod allowed;
mod host;
mod message;
mod network;
mod pool;
mod session;
pub(crate) mod sr;
mod task;
pub(crate) mod vtpm;

#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::OnceLock};

use crate::{
    error::ApiError,
    guest::hook,
    model::{Class, Ref, Value},
    rpc::{Ctx, EVENT_CALLS, Handler},
    world::World,
};

/// A call and what does it.
pub(crate) type Entry = (Class, &'static str, Handler);

/// All calls with effects, by the part of the pool that they are about.
const TABLES: &[&[Entry]] = &[
    EVENT_CALLS,
    host::CALLS,
    message::CALLS,
    network::CALLS,
    pool::CALLS,
    session::CALLS,
    sr::CALLS,
    task::CALLS,
    vbd::CALLS,
    vdi::CALLS,
    vif::CALLS,
    vm::CALLS,
    vtpm::CALLS,
];

/// What does a call, if it has effects.
pub(crate) fn handler(class: Class, name: &str) -> Option<Handler> {
    static TABLE: OnceLock<HashMap<(Class, &'static str), Handler>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let entries = TABLES.iter().copied().flatten();
        entries.map(|(class, name, handler)| ((*class, *name), *handler)).collect()
    });
    table.get(&(class, name)).copied()
}

/// Calls that a member answers too.
pub(crate) fn is_for_any_host(class: Class, name: &str) -> bool {
    matches!((class, name), (Class::Session, "slave_local_login_with_password" | "local_logout"))
        || matches!((class, name), (Class::Pool, "emergency_transition_to_master" | "emergency_reset_master"))
        || matches!((class, name), (Class::Host, "get_system_status_capabilities" | "local_assert_healthy"))
}

/// Calls whose first parameter may be a null reference or one that is gone.
pub(crate) fn may_name_nothing(class: Class, name: &str) -> bool {
    matches!((class, name), (Class::Session, "logout" | "local_logout") | (Class::Vm, "import" | "revert"))
}

/// Checks that a plain setter doesn't know.
pub(crate) fn check_write(ctx: &Ctx, class: Class, field: &str, this: &Ref, value: &Value) -> Result<(), ApiError> {
    match (class, field) {
        (Class::Vm, "is_a_template") => vm::check_template(ctx, this, value),
        (Class::Vbd, "userdevice") => vbd::check_userdevice(ctx, this, value),
        _ => Ok(()),
    }
}

/// What follows from a plain setter.
pub(crate) fn written(ctx: &Ctx, class: Class, field: &str, this: &Ref) {
    if (class, field) == (Class::Vm, "is_a_template") || field == "blocked_operations" {
        ctx.world.db.write(|t| allowed::refresh_vm(t, this));
    }
}

/// What follows when all of a field was set, and not only an entry of it.
pub(crate) fn replaced(ctx: &Ctx, class: Class, field: &str, this: &Ref) {
    if (class, field) == (Class::Vm, "xenstore_data") {
        hook::written(&ctx.world, this);
    }
}

/// A removed call that this pool has all the same, since it is of an older release.
pub(crate) fn is_kept(world: &World, class: Class, name: &str) -> bool {
    world.config.has_quiesced_snapshots && (class, name) == (Class::Vm, "snapshot_with_quiesce")
}

pub(crate) use allowed::{refresh, refresh_vm};

/// The `platform` of a guest.
pub(crate) fn default_platform(uefi: bool) -> Value {
    Value::map([
        ("acpi", "1"),
        ("apic", "true"),
        ("pae", "true"),
        ("nx", "true"),
        ("viridian", "false"),
        ("cores-per-socket", "1"),
        ("device-model", if uefi { "qemu-upstream-uefi" } else { "qemu-upstream-compat" }),
        ("secureboot", "false"),
    ])
}
