//! Hosts.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Ref, Value},
    rpc::{Args, Ctx, Handler, Reply},
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Host, "get_servertime", Handler::Now(get_servertime)),
    (Class::Host, "get_server_localtime", Handler::Now(get_servertime)),
    (Class::Host, "get_server_certificate", Handler::Now(get_server_certificate)),
    (Class::Host, "compute_free_memory", Handler::Now(compute_free_memory)),
    (Class::Host, "compute_memory_overhead", Handler::Now(compute_memory_overhead)),
    (Class::Host, "get_vms_which_prevent_evacuation", Handler::Now(nothing_prevents)),
    (Class::Host, "enable", Handler::Now(enable)),
    (Class::Host, "disable", Handler::Now(disable)),
    (Class::Host, "list_methods", Handler::Now(list_methods)),
    (Class::Host, "call_plugin", Handler::Now(call_plugin)),
    (Class::Host, "call_extension", Handler::Now(call_extension)),
    (Class::Host, "has_extension", Handler::Now(has_extension)),
    (Class::Host, "get_data_sources", Handler::Now(no_data_sources)),
    (Class::Host, "get_uncooperative_resident_VMs", Handler::Now(no_data_sources)),
];

fn get_servertime(ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Date(ctx.world.clock.now()))
}

fn position(ctx: &Ctx, host: &Ref) -> usize {
    ctx.world.hosts.iter().position(|known| known == host).unwrap_or(0)
}

fn get_server_certificate(ctx: &Ctx, args: &Args) -> Reply {
    let address = &ctx.world.addresses[position(ctx, &args.reference(0))];
    Ok(Value::from(address.certificate_pem.as_str()))
}

fn compute_free_memory(ctx: &Ctx, args: &Args) -> Reply {
    let host = args.reference(0);
    Ok(ctx.world.db.read(|t| {
        let total = t.int(&t.reference(&host, "metrics"), "memory_total") - t.int(&host, "memory_overhead");
        let residents = t.references(&host, "resident_VMs");
        let used: i64 = residents.iter().map(|vm| t.int(vm, "memory_dynamic_max")).sum();
        Value::Int((total - used).max(0))
    }))
}

fn compute_memory_overhead(ctx: &Ctx, args: &Args) -> Reply {
    Ok(Value::Int(ctx.world.db.read(|t| t.int(&args.reference(0), "memory_overhead"))))
}

fn nothing_prevents(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Map(Default::default()))
}

fn enable(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.write(|t| t.set(&args.reference(0), "enabled", true));
    Ok(Value::Nil)
}

fn disable(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.write(|t| t.set(&args.reference(0), "enabled", false));
    Ok(Value::Nil)
}

fn list_methods(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::texts(crate::rpc::methods()))
}

/// No plugins are installed.
fn call_plugin(_ctx: &Ctx, args: &Args) -> Reply {
    Err(ApiError::new("XENAPI_MISSING_PLUGIN", [args.text(1)]))
}

fn call_extension(_ctx: &Ctx, args: &Args) -> Reply {
    Err(ApiError::new("MESSAGE_METHOD_UNKNOWN", [args.text(1)]))
}

fn has_extension(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Bool(false))
}

fn no_data_sources(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Set(Vec::new()))
}
