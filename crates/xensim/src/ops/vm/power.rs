//! Power: machines start, run, suspend and stop.

use std::time::Duration;

use super::{super::allowed, begin, guest};
use crate::{
    error::ApiError,
    fault::FaultKind,
    guest::memory,
    model::{Class, NULL_REF, Ref, Tables, Value},
    ops::{self, sr, vbd, vdi},
    rpc::{Args, Ctx, Later, Reply},
    world::World,
};

pub(super) fn start(ctx: Ctx, args: Args) -> Later {
    let (vm, paused) = (args.reference(0), args.truth(1));
    Box::pin(async move { turn_on(&ctx, &vm, None, paused, "start").await })
}

pub(super) fn start_on(ctx: Ctx, args: Args) -> Later {
    let (vm, host, paused) = (args.reference(0), args.reference(1), args.truth(2));
    Box::pin(async move {
        ctx.need(Class::Host, &host)?;
        turn_on(&ctx, &vm, Some(host), paused, "start_on").await
    })
}

pub(super) fn resume(ctx: Ctx, args: Args) -> Later {
    let (vm, paused) = (args.reference(0), args.truth(1));
    Box::pin(async move { turn_on(&ctx, &vm, None, paused, "resume").await })
}

pub(super) fn resume_on(ctx: Ctx, args: Args) -> Later {
    let (vm, host, paused) = (args.reference(0), args.reference(1), args.truth(2));
    Box::pin(async move {
        ctx.need(Class::Host, &host)?;
        turn_on(&ctx, &vm, Some(host), paused, "resume_on").await
    })
}

async fn turn_on(ctx: &Ctx, vm: &Ref, host: Option<Ref>, paused: bool, operation: &str) -> Reply {
    let resumes = operation.starts_with("resume");
    let running = begin(&ctx.world, vm, operation, &ctx.task)?;
    let host = match host {
        Some(host) => {
            ctx.world.db.read(|t| check_host(t, vm, &host))?;
            host
        }
        None => ctx.world.db.read(|t| choose_host(t, vm))?,
    };
    ctx.world.db.read(|t| check_disks(t, vm))?;
    if ctx.world.faults.strike(FaultKind::FailStart).is_some() {
        return Err(ApiError::new("BOOTLOADER_FAILED", [vm.as_str(), "The bootloader for this VM returned an error"]));
    }
    tokio::time::sleep(ctx.world.timing.start).await;
    ctx.check_cancelled()?;
    if resumes {
        wake(&ctx.world, vm, &host, paused).await?;
    } else {
        run_on(&ctx.world, vm, &host, paused, rand::random());
    }
    running.end();
    let boot = if resumes { Duration::ZERO } else { ctx.world.timing.guest_boot };
    guest::report_after(&ctx.world, vm, boot);
    Ok(Value::Nil)
}

/// Lets a suspended machine go on with the memory that its image holds. The image goes.
pub(super) async fn wake(world: &World, vm: &Ref, host: &Ref, paused: bool) -> Result<(), ApiError> {
    let (image, uuid) = world.db.read(|t| {
        let image = t.reference(vm, "suspend_VDI");
        (image.clone(), t.str(&image, "uuid"))
    });
    if world.db.read(|t| !t.has(Class::Vdi, &image)) {
        return Err(ApiError::new("VM_HAS_NO_SUSPEND_VDI", [vm]));
    }
    let memory = memory::load(&world.storage, uuid).await?;
    run_on(world, vm, host, paused, memory);
    world.db.write(|t| t.set(vm, "suspend_VDI", NULL_REF));
    // The image is of no use any more; a leftover is not worth failing a machine that runs.
    let _ = vdi::destroy(world, &image);
    Ok(())
}

/// Lets a machine run at once, its guest up.
pub fn boot_now(world: &World, vm: &Ref) {
    if let Ok(host) = world.db.read(|t| choose_host(t, vm)) {
        run_on(world, vm, &host, false, rand::random());
        guest::report(world, vm);
        world.db.write(|t| ops::refresh(t, vm));
    }
}

/// What changes when a domain is there, with this in its memory.
fn run_on(world: &World, vm: &Ref, host: &Ref, paused: bool, memory: u64) {
    let now = world.clock.now();
    world.domains.begin(vm, memory);
    world.db.write(|t| {
        t.set(vm, "power_state", if paused { "Paused" } else { "Running" });
        t.set(vm, "resident_on", host);
        let domid = t.all(Class::Vm).iter().map(|other| t.int(other, "domid")).max().unwrap_or(0) + 1;
        t.set(vm, "domid", domid);
        t.set(vm, "requires_reboot", false);
        for device in t.references(vm, "VBDs") {
            if !t.bool(&device, "empty") || t.str(&device, "type") == "CD" {
                vbd::attach(t, &device);
            }
        }
        for vif in t.references(vm, "VIFs") {
            t.set(&vif, "currently_attached", true);
        }
        let metrics = t.reference(vm, "metrics");
        let memory = t.int(vm, "memory_dynamic_max");
        t.set(&metrics, "start_time", Value::Date(now));
        t.set(&metrics, "last_updated", Value::Date(now));
        t.set(&metrics, "memory_actual", memory);
        t.set(&metrics, "VCPUs_number", t.int(vm, "VCPUs_at_startup"));
        let kind = t.str(vm, "domain_type");
        t.set(&metrics, "current_domain_type", kind.as_str());
        t.set(&metrics, "hvm", kind == "hvm");
        add_console(t, vm, host);
        ops::refresh(t, vm);
    });
}

fn add_console(t: &mut Tables, vm: &Ref, host: &Ref) {
    let uuid = uuid::Uuid::new_v4().to_string();
    let location = format!("https://{}/console?uuid={uuid}", t.str(host, "address"));
    t.create(
        Class::Console,
        [
            ("uuid", Value::from(&uuid)),
            ("protocol", Value::from("rfb")),
            ("location", Value::from(location)),
            ("VM", Value::from(vm)),
        ],
    );
}

fn choose_host(t: &Tables, vm: &Ref) -> Result<Ref, ApiError> {
    let affinity = t.reference(vm, "affinity");
    let mut hosts = t.all(Class::Host);
    hosts.sort_by_key(|host| *host != affinity);
    let mut refusals = Vec::new();
    for host in hosts {
        match check_host(t, vm, &host) {
            Ok(()) => return Ok(host),
            Err(error) => refusals.push(error),
        }
    }
    // When all hosts refuse for the same kind of reason XAPI tells that one.
    match refusals.first() {
        Some(first) if refusals.iter().all(|other| other.code == first.code) => Err(first.clone()),
        _ => Err(ApiError::bare("NO_HOSTS_AVAILABLE")),
    }
}

/// Fails when a host can't run the machine.
pub(super) fn check_host(t: &Tables, vm: &Ref, host: &Ref) -> Result<(), ApiError> {
    if !t.bool(host, "enabled") {
        return Err(ApiError::new("HOST_DISABLED", [host]));
    }
    for device in t.references(vm, "VBDs") {
        let sr = t.reference(&t.reference(&device, "VDI"), "SR");
        if t.has(Class::Sr, &sr) && !sr::is_seen_by(t, &sr, host) {
            return Err(ApiError::new("VM_REQUIRES_SR", [vm, &sr]));
        }
    }
    for vif in t.references(vm, "VIFs") {
        let network = t.reference(&vif, "network");
        if !t.has(Class::Network, &network) {
            return Err(ApiError::new("VM_REQUIRES_NETWORK", [vm, &network]));
        }
    }
    let total = t.int(&t.reference(host, "metrics"), "memory_total") - t.int(host, "memory_overhead");
    let residents = t.references(host, "resident_VMs").into_iter().filter(|other| other != vm);
    let used: i64 = residents.map(|other| t.int(&other, "memory_dynamic_max")).sum();
    let needed = t.int(vm, "memory_dynamic_max");
    if needed > total - used {
        return Err(ApiError::new("HOST_NOT_ENOUGH_FREE_MEMORY", [needed, total - used]));
    }
    Ok(())
}

fn check_disks(t: &Tables, vm: &Ref) -> Result<(), ApiError> {
    for device in t.references(vm, "VBDs") {
        let vdi = t.reference(&device, "VDI");
        if t.bool(&device, "empty") {
            continue;
        }
        if !t.has(Class::Vdi, &vdi) {
            return Err(ApiError::handle(Class::Vdi, &vdi));
        }
        vbd::check_sharing(t, &device)?;
    }
    Ok(())
}

/// What changes when a domain is gone.
fn off(world: &World, vm: &Ref, state: &str) {
    world.domains.end(vm);
    world.db.write(|t| {
        for device in t.references(vm, "VBDs") {
            vbd::detach(t, &device);
        }
        for vif in t.references(vm, "VIFs") {
            t.set(&vif, "currently_attached", false);
        }
        for console in t.references(vm, "consoles") {
            t.destroy(&console);
        }
        let metrics = t.reference(vm, "guest_metrics");
        if state == "Halted" {
            t.destroy(&metrics);
            t.set(vm, "guest_metrics", NULL_REF);
        }
        let metrics = t.reference(vm, "metrics");
        t.set(&metrics, "current_domain_type", "unspecified");
        t.set(vm, "resident_on", NULL_REF);
        t.set(vm, "domid", -1_i64);
        t.set(vm, "power_state", state);
        ops::refresh(t, vm);
    });
}

pub(super) fn clean_shutdown(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move { stop(&ctx, &args.reference(0), "clean_shutdown").await })
}

async fn stop(ctx: &Ctx, vm: &Ref, operation: &str) -> Reply {
    let running = begin(&ctx.world, vm, operation, &ctx.task)?;
    tokio::time::sleep(ctx.world.timing.shutdown).await;
    ctx.check_cancelled()?;
    off(&ctx.world, vm, "Halted");
    running.end();
    Ok(Value::Nil)
}

pub(super) fn hard_shutdown(ctx: &Ctx, args: &Args) -> Reply {
    halt(ctx, &args.reference(0), "hard_shutdown")
}

/// Switches a machine off, whatever it does.
pub(super) fn halt(ctx: &Ctx, vm: &Ref, operation: &str) -> Reply {
    let running = begin(&ctx.world, vm, operation, &ctx.task)?;
    let image = ctx.world.db.read(|t| t.reference(vm, "suspend_VDI"));
    off(&ctx.world, vm, "Halted");
    if !image.is_null() {
        ctx.world.db.write(|t| t.set(vm, "suspend_VDI", NULL_REF));
        let _ = vdi::destroy(&ctx.world, &image);
    }
    running.end();
    Ok(Value::Nil)
}

pub(super) fn shutdown(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let vm = args.reference(0);
        let clean = ctx.world.db.read(|t| allowed::check_vm(t, &vm, "clean_shutdown")).is_ok();
        if clean { stop(&ctx, &vm, "clean_shutdown").await } else { halt(&ctx, &vm, "hard_shutdown") }
    })
}

pub(super) fn clean_reboot(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let vm = args.reference(0);
        let running = begin(&ctx.world, &vm, "clean_reboot", &ctx.task)?;
        tokio::time::sleep(ctx.world.timing.shutdown).await;
        reboot(&ctx.world, &vm);
        running.end();
        Ok(Value::Nil)
    })
}

pub(super) fn hard_reboot(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    let running = begin(&ctx.world, &vm, "hard_reboot", &ctx.task)?;
    reboot(&ctx.world, &vm);
    running.end();
    Ok(Value::Nil)
}

fn reboot(world: &World, vm: &Ref) {
    let host = world.db.read(|t| t.reference(vm, "resident_on"));
    off(world, vm, "Halted");
    run_on(world, vm, &host, false, rand::random());
    guest::report_after(world, vm, world.timing.guest_boot);
}

pub(super) fn pause(ctx: &Ctx, args: &Args) -> Reply {
    switch(ctx, args, "pause", "Paused")
}

pub(super) fn unpause(ctx: &Ctx, args: &Args) -> Reply {
    let done = switch(ctx, args, "unpause", "Running")?;
    guest::report_after(&ctx.world, &args.reference(0), ctx.world.timing.guest_boot);
    Ok(done)
}

fn switch(ctx: &Ctx, args: &Args, operation: &str, state: &str) -> Reply {
    let vm = args.reference(0);
    let running = begin(&ctx.world, &vm, operation, &ctx.task)?;
    ctx.world.db.write(|t| t.set(&vm, "power_state", state));
    running.end();
    Ok(Value::Nil)
}

pub(super) fn suspend(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let vm = args.reference(0);
        let running = begin(&ctx.world, &vm, "suspend", &ctx.task)?;
        put_to_sleep(&ctx.world, &vm).await?;
        running.end();
        Ok(Value::Nil)
    })
}

/// Writes the memory of a machine to a disk, and stops it.
pub(super) async fn put_to_sleep(world: &World, vm: &Ref) -> Result<(), ApiError> {
    let image = suspend_image(world, vm)?;
    tokio::time::sleep(world.timing.shutdown).await;
    let content = world.domains.get(vm).map(|domain| domain.memory).unwrap_or_default();
    let uuid = world.db.read(|t| t.str(&image, "uuid"));
    if let Err(error) = memory::save(&world.storage, uuid, content).await {
        let _ = vdi::destroy(world, &image);
        return Err(error);
    }
    vdi::account(world, &image);
    off(world, vm, "Suspended");
    world.db.write(|t| t.set(vm, "suspend_VDI", &image));
    Ok(())
}

/// Makes the disk that holds the memory of a suspended machine.
fn suspend_image(world: &World, vm: &Ref) -> Result<Ref, ApiError> {
    let (sr, size) = world.db.read(|t| {
        let host = t.reference(vm, "resident_on");
        let candidates = [
            t.reference(vm, "suspend_SR"),
            t.reference(world.pool(), "suspend_image_SR"),
            t.reference(&host, "suspend_image_sr"),
        ];
        let sr = candidates.into_iter().find(|sr| t.has(Class::Sr, sr)).unwrap_or_else(Ref::null);
        (sr, t.int(vm, "memory_static_max"))
    });
    if sr.is_null() {
        return Err(ApiError::new("VM_NO_SUSPEND_SR", [vm]));
    }
    vdi::create_empty(world, &sr, "Suspend image", size.unsigned_abs().max(memory::MIN_IMAGE_BYTES), "suspend")
}

pub(super) fn power_state_reset(ctx: &Ctx, args: &Args) -> Reply {
    let vm = args.reference(0);
    if ctx.world.db.read(|t| t.bool(&vm, "is_control_domain")) {
        return Err(ApiError::not_allowed("This operation is not allowed on a control domain"));
    }
    off(&ctx.world, &vm, "Halted");
    Ok(Value::Nil)
}

pub(super) fn pool_migrate(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let (vm, host) = (args.reference(0), args.reference(1));
        ctx.need(Class::Host, &host)?;
        let running = begin(&ctx.world, &vm, "pool_migrate", &ctx.task)?;
        ctx.world.db.read(|t| check_host(t, &vm, &host))?;
        tokio::time::sleep(ctx.world.timing.start).await;
        ctx.world.db.write(|t| t.set(&vm, "resident_on", &host));
        running.end();
        Ok(Value::Nil)
    })
}
