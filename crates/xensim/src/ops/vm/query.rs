//! Questions about machines that change nothing.

use super::{super::allowed, power};
use crate::{
    error::ApiError,
    model::{Class, Value},
    ops::{self, vbd, vif},
    rpc::{Args, Ctx, Reply},
};

pub(super) fn get_allowed_vbd_devices(ctx: &Ctx, args: &Args) -> Reply {
    Ok(ctx.world.db.read(|t| Value::texts(vbd::free_positions(t, &args.reference(0)))))
}

pub(super) fn get_allowed_vif_devices(ctx: &Ctx, args: &Args) -> Reply {
    Ok(ctx.world.db.read(|t| Value::texts(vif::free_devices(t, &args.reference(0)))))
}

pub(super) fn get_possible_hosts(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    Ok(ctx
        .world
        .db
        .read(|t| Value::texts(t.all(Class::Host).into_iter().filter(|host| power::check_host(t, &vm, host).is_ok()))))
}

pub(super) fn assert_can_boot_here(ctx: &Ctx, args: &Args) -> Reply {
    let host = args.reference(1);
    ctx.need(Class::Host, &host)?;
    ctx.world.db.read(|t| power::check_host(t, &args.reference(0), &host))?;
    Ok(Value::Nil)
}

pub(super) fn assert_operation_valid(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.read(|t| allowed::check_vm(t, &args.reference(0), &args.text(1)))?;
    Ok(Value::Nil)
}

/// A machine is agile when all of its disks and networks are there for every host.
pub(super) fn assert_agile(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    ctx.world.db.read(|t| {
        for vbd in t.references(&vm, "VBDs") {
            let sr = t.reference(&t.reference(&vbd, "VDI"), "SR");
            if t.has(Class::Sr, &sr) && !t.bool(&sr, "shared") {
                return Err(ApiError::new("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", [&sr]));
            }
        }
        Ok(Value::Nil)
    })
}

pub(super) fn update_allowed_operations(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.write(|t| ops::refresh(t, &args.reference(0)));
    Ok(Value::Nil)
}

pub(super) fn get_boot_record(ctx: &Ctx, args: &Args) -> Reply {
    Ok(Value::Map(ctx.world.db.read(|t| t.record(&args.reference(0))).unwrap_or_default()))
}

pub(super) fn get_data_sources(_ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Set(Vec::new()))
}
