//! How much memory and how many processors a machine has.

use super::super::allowed;
use crate::{
    error::ApiError,
    model::{Ref, Tables, Value},
    rpc::{Args, Ctx, Reply},
};

const LIMITS: [&str; 4] = ["memory_static_min", "memory_dynamic_min", "memory_dynamic_max", "memory_static_max"];

/// The limits are not in their order.
pub(super) fn violation() -> ApiError {
    ApiError::new(
        "MEMORY_CONSTRAINT_VIOLATION",
        ["memory limits must satisfy: static_min <= dynamic_min <= dynamic_max <= static_max"],
    )
}

/// Sets some limits (by position in [`LIMITS`]) and keeps the others.
fn set(ctx: &Ctx, vm: &Ref, operation: &str, new: &[(usize, i64)]) -> Reply {
    ctx.world.db.write(|t| {
        allowed::check_vm(t, vm, operation)?;
        let mut limits = LIMITS.map(|field| t.int(vm, field));
        for (at, value) in new {
            limits[*at] = *value;
        }
        if limits[0] >= 0 && limits.is_sorted() {
            write(t, vm, limits);
            return Ok(Value::Nil);
        }
        Err(violation())
    })
}

fn write(t: &mut Tables, vm: &Ref, limits: [i64; 4]) {
    for (field, value) in LIMITS.iter().zip(limits) {
        t.set(vm, field, value);
    }
}

pub(super) fn set_memory_limits(ctx: &Ctx, args: &Args) -> Reply {
    let new = [(0, args.int(1)), (3, args.int(2)), (1, args.int(3)), (2, args.int(4))];
    set(ctx, &args.reference(0), "changing_memory_limits", &new)
}

pub(super) fn set_memory_static_range(ctx: &Ctx, args: &Args) -> Reply {
    set(ctx, &args.reference(0), "changing_static_range", &[(0, args.int(1)), (3, args.int(2))])
}

pub(super) fn set_memory_dynamic_range(ctx: &Ctx, args: &Args) -> Reply {
    set(ctx, &args.reference(0), "changing_dynamic_range", &[(1, args.int(1)), (2, args.int(2))])
}

pub(super) fn set_memory_static_min(ctx: &Ctx, args: &Args) -> Reply {
    set(ctx, &args.reference(0), "changing_static_range", &[(0, args.int(1))])
}

pub(super) fn set_memory_static_max(ctx: &Ctx, args: &Args) -> Reply {
    set(ctx, &args.reference(0), "changing_static_range", &[(3, args.int(1))])
}

pub(super) fn set_memory_dynamic_min(ctx: &Ctx, args: &Args) -> Reply {
    set(ctx, &args.reference(0), "changing_dynamic_range", &[(1, args.int(1))])
}

pub(super) fn set_memory_dynamic_max(ctx: &Ctx, args: &Args) -> Reply {
    set(ctx, &args.reference(0), "changing_dynamic_range", &[(2, args.int(1))])
}

pub(super) fn set_memory(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    let minimum = ctx.world.db.read(|t| t.int(&vm, LIMITS[0])).min(args.int(1));
    let size = args.int(1);
    set(ctx, &vm, "changing_memory_limits", &[(0, minimum), (1, size), (2, size), (3, size)])
}

pub(super) fn compute_memory_overhead(ctx: &Ctx, args: &Args) -> Reply {
    Ok(Value::Int(ctx.world.db.read(|t| t.int(&args.reference(0), "memory_static_max")) / 128))
}

pub(super) fn maximise_memory(_ctx: &Ctx, args: &Args) -> Reply {
    Ok(Value::Int(args.int(1) / 129 * 128))
}

pub(super) fn set_vcpus_max(ctx: &Ctx, args: &Args) -> Reply {
    set_vcpus(ctx, args, |wanted, at_startup, _| wanted >= at_startup, "VCPUs_max")
}

pub(super) fn set_vcpus_at_startup(ctx: &Ctx, args: &Args) -> Reply {
    set_vcpus(ctx, args, |wanted, _, max| wanted <= max, "VCPUs_at_startup")
}

fn set_vcpus(ctx: &Ctx, args: &Args, fits: fn(i64, i64, i64) -> bool, field: &str) -> Reply {
    let (vm, wanted) = (args.reference(0), args.int(1));
    ctx.world.db.write(|t| {
        allowed::check_vm(t, &vm, "changing_VCPUs")?;
        if wanted < 1 || !fits(wanted, t.int(&vm, "VCPUs_at_startup"), t.int(&vm, "VCPUs_max")) {
            return Err(ApiError::value(field, wanted));
        }
        t.set(&vm, field, wanted);
        Ok(Value::Nil)
    })
}

pub(super) fn set_vcpus_number_live(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    ctx.world.db.write(|t| {
        allowed::check_vm(t, &vm, "changing_VCPUs_live")?;
        let metrics = t.reference(&vm, "metrics");
        t.set(&metrics, "VCPUs_number", args.int(1));
        Ok(Value::Nil)
    })
}
