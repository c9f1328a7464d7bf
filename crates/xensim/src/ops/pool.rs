//! The pool as a whole.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Ref, Value},
    rpc::{Args, Ctx, Handler, Reply},
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Pool, "sync_database", Handler::Now(nothing)),
    (Class::Pool, "recover_slaves", Handler::Now(no_hosts)),
    (Class::Pool, "set_default_SR", Handler::Now(set_default_sr)),
    (Class::Pool, "designate_new_master", Handler::Now(designate_new_master)),
    (Class::Pool, "get_license_state", Handler::Now(get_license_state)),
    (Class::Pool, "has_extension", Handler::Now(has_extension)),
    (Class::Pool, "emergency_transition_to_master", Handler::Now(not_here)),
    (Class::Pool, "emergency_reset_master", Handler::Now(not_here)),
];

fn nothing(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Nil)
}

fn no_hosts(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::texts::<Ref>([]))
}

fn set_default_sr(ctx: &Ctx, args: &Args) -> Reply {
    let (pool, sr) = (args.reference(0), args.reference(1));
    if !sr.is_null() {
        ctx.need(Class::Sr, &sr)?;
    }
    ctx.world.db.write(|t| t.set(&pool, "default_SR", &sr));
    Ok(Value::Nil)
}

fn designate_new_master(ctx: &Ctx, args: &Args) -> Reply {
    let host = args.reference(0);
    ctx.need(Class::Host, &host)?;
    let position = ctx.world.hosts.iter().position(|known| *known == host);
    match position {
        Some(position) if *ctx.world.hosts_up[position].borrow() => ctx.world.make_master(position),
        _ => return Err(ApiError::new("HOST_OFFLINE", [&host])),
    }
    Ok(Value::Nil)
}

fn get_license_state(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::map([("edition", "xcp-ng"), ("expiry", "never")]))
}

fn has_extension(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Bool(false))
}

fn not_here(_ctx: &Ctx, _args: &Args) -> Reply {
    Err(ApiError::bare("HOST_IS_LIVE"))
}
