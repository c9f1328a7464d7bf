//! Virtual TPMs.

use std::sync::PoisonError;

use super::{Entry, allowed};
use crate::{
    error::ApiError,
    model::{Class, Ref, Tables, Value},
    rpc::{Args, Ctx, Handler, Reply},
    world::World,
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Vtpm, "create", Handler::Now(create)),
    (Class::Vtpm, "destroy", Handler::Now(destroy)),
    (Class::Vtpm, "get_contents", Handler::Now(get_contents)),
    (Class::Vtpm, "set_contents", Handler::Now(set_contents)),
];

fn create(ctx: &Ctx, args: &Args) -> Reply {
    let (vm, is_unique) = (args.reference(0), args.truth(1));
    ctx.world.db.write(|t| {
        allowed::check_vm(t, &vm, "create_vtpm")?;
        if !t.references(&vm, "VTPMs").is_empty() {
            return Err(ApiError::new("VTPM_MAX_AMOUNT_REACHED", [1]));
        }
        Ok(Value::from(make(t, &vm, is_unique)))
    })
}

fn make(t: &mut Tables, vm: &Ref, is_unique: bool) -> Ref {
    let vtpm = t.create(
        Class::Vtpm,
        [
            ("VM", Value::from(vm)),
            ("is_unique", Value::Bool(is_unique)),
            ("is_protected", Value::Bool(false)),
            ("persistence_backend", Value::from("xapi")),
            ("allowed_operations", Value::texts(["destroy"])),
        ],
    );
    t.map_insert(vm, "platform", "vtpm", "true");
    vtpm
}

/// Gives a machine of the description a TPM that was in use.
pub(crate) fn add(world: &World, vm: &Ref, contents: &str) {
    let vtpm = world.db.write(|t| make(t, vm, false));
    world.vtpm_contents.lock().unwrap_or_else(PoisonError::into_inner).insert(vtpm, contents.to_owned());
}

impl World {
    /// What the TPM of a machine holds.
    pub fn vtpm_contents_of(&self, vm: &Ref) -> Option<String> {
        let vtpm = self.db.read(|t| t.references(vm, "VTPMs")).into_iter().next()?;
        self.vtpm_contents.lock().unwrap_or_else(PoisonError::into_inner).get(&vtpm).cloned()
    }
}

fn destroy(ctx: &Ctx, args: &Args) -> Reply {
    let vtpm = args.reference(0);
    ctx.world.db.write(|t| {
        let vm = t.reference(&vtpm, "VM");
        let state = t.str(&vm, "power_state");
        if t.has(Class::Vm, &vm) && state != "Halted" {
            return Err(allowed::bad_power_state(&vm, &["Halted"], &state));
        }
        t.map_insert(&vm, "platform", "vtpm", "false");
        t.destroy(&vtpm);
        Ok(Value::Nil)
    })?;
    ctx.world.vtpm_contents.lock().unwrap_or_else(PoisonError::into_inner).remove(&vtpm);
    Ok(Value::Nil)
}

fn get_contents(ctx: &Ctx, args: &Args) -> Reply {
    let contents = ctx.world.vtpm_contents.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Value::from(contents.get(&args.reference(0)).cloned().unwrap_or_default()))
}

fn set_contents(ctx: &Ctx, args: &Args) -> Reply {
    let mut contents = ctx.world.vtpm_contents.lock().unwrap_or_else(PoisonError::into_inner);
    contents.insert(args.reference(0), args.text(1));
    Ok(Value::Nil)
}
