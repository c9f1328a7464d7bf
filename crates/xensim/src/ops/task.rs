//! Tasks that clients make, change, cancel and remove.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Ref, Value},
    rpc::{Args, Ctx, Handler, Reply},
    task,
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Task, "create", Handler::Now(create)),
    (Class::Task, "destroy", Handler::Now(destroy)),
    (Class::Task, "cancel", Handler::Now(cancel)),
    (Class::Task, "set_status", Handler::Now(set_status)),
    (Class::Task, "set_progress", Handler::Now(set_progress)),
    (Class::Task, "set_result", Handler::Now(set_result)),
    (Class::Task, "set_error_info", Handler::Now(set_error_info)),
    (Class::Task, "set_resident_on", Handler::Now(set_resident_on)),
];

fn create(ctx: &Ctx, args: &Args) -> Reply {
    Ok(Value::from(task::create(&ctx.world, Some(&ctx.session), &args.text(0), &args.text(1), ctx.host)))
}

fn destroy(ctx: &Ctx, args: &Args) -> Reply {
    task::destroy(&ctx.world, &args.reference(0));
    Ok(Value::Nil)
}

fn cancel(ctx: &Ctx, args: &Args) -> Reply {
    task::cancel(&ctx.world, &args.reference(0));
    Ok(Value::Nil)
}

/// Clients that report work of their own set the fields of their task; only a pending task takes them.
fn set_pending(ctx: &Ctx, this: &Ref, field: &str, value: Value) -> Reply {
    ctx.world.db.write(|t| {
        if t.str(this, "status") != "pending" {
            return Err(ApiError::not_allowed("Task is already completed"));
        }
        t.set(this, field, value);
        Ok(Value::Nil)
    })
}

fn set_status(ctx: &Ctx, args: &Args) -> Reply {
    let (this, status) = (args.reference(0), args.text(1));
    let now = ctx.world.clock.now();
    set_pending(ctx, &this, "status", Value::from(status.as_str()))?;
    if status != "pending" && status != "cancelling" {
        ctx.world.db.write(|t| {
            t.set(&this, "finished", Value::Date(now));
            t.set(&this, "allowed_operations", Vec::new());
        });
    }
    Ok(Value::Nil)
}

fn set_progress(ctx: &Ctx, args: &Args) -> Reply {
    set_pending(ctx, &args.reference(0), "progress", Value::Float(args.float(1).clamp(0.0, 1.0)))
}

fn set_result(ctx: &Ctx, args: &Args) -> Reply {
    set_pending(ctx, &args.reference(0), "result", args.value(1))
}

fn set_error_info(ctx: &Ctx, args: &Args) -> Reply {
    set_pending(ctx, &args.reference(0), "error_info", args.value(1))
}

fn set_resident_on(ctx: &Ctx, args: &Args) -> Reply {
    ctx.need(Class::Host, &args.reference(1))?;
    set_pending(ctx, &args.reference(0), "resident_on", args.value(1))
}
