//! Networks.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Value},
    rpc::{Args, Ctx, Handler, Reply, checked_record},
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Network, "create", Handler::Now(create)),
    (Class::Network, "destroy", Handler::Now(destroy)),
    (Class::Network, "attach", Handler::Now(attach)),
    (Class::Network, "add_purpose", Handler::Now(add_purpose)),
    (Class::Network, "remove_purpose", Handler::Now(remove_purpose)),
];

fn create(ctx: &Ctx, args: &Args) -> Reply {
    let mut record = checked_record(Class::Network, &args.map(0))?;
    record.retain(|name, _| {
        matches!(
            name.as_str(),
            "name_label" | "name_description" | "MTU" | "other_config" | "bridge" | "managed" | "tags"
        )
    });
    ctx.world.db.write(|t| {
        if record.get("bridge").and_then(Value::as_str).unwrap_or_default().is_empty() {
            let taken: Vec<String> = t.all(Class::Network).iter().map(|network| t.str(network, "bridge")).collect();
            let free = (0..).map(|number| format!("xapi{number}")).find(|name| !taken.contains(name));
            record.insert("bridge".to_owned(), Value::from(free.unwrap_or_default()));
        }
        Ok(Value::from(t.create_from(Class::Network, &record)))
    })
}

fn destroy(ctx: &Ctx, args: &Args) -> Reply {
    let network = args.reference(0);
    ctx.world.db.write(|t| {
        let attached = t.references(&network, "VIFs").into_iter().find(|vif| t.bool(vif, "currently_attached"));
        if attached.is_some() || t.references(&network, "PIFs").iter().any(|pif| t.bool(pif, "physical")) {
            let inside = if attached.is_some() { "NETWORK_CONTAINS_VIF" } else { "NETWORK_CONTAINS_PIF" };
            let which = attached.or_else(|| t.references(&network, "PIFs").into_iter().next());
            return Err(ApiError::new(inside, which));
        }
        for vif in t.references(&network, "VIFs") {
            t.destroy(&vif);
        }
        t.destroy(&network);
        Ok(Value::Nil)
    })
}

fn attach(ctx: &Ctx, args: &Args) -> Reply {
    ctx.need(Class::Host, &args.reference(1))?;
    Ok(Value::Nil)
}

fn add_purpose(ctx: &Ctx, args: &Args) -> Reply {
    let (network, purpose) = (args.reference(0), args.text(1));
    let other = if purpose == "nbd" { "insecure_nbd" } else { "nbd" };
    ctx.world.db.write(|t| {
        if t.all(Class::Network).iter().any(|network| t.texts(network, "purpose").iter().any(|held| held == other)) {
            return Err(ApiError::new("NETWORK_INCOMPATIBLE_PURPOSES", [purpose.as_str(), other]));
        }
        let mut purposes = t.texts(&network, "purpose");
        if !purposes.contains(&purpose) {
            purposes.push(purpose);
        }
        t.set(&network, "purpose", Value::texts(purposes));
        Ok(Value::Nil)
    })
}

fn remove_purpose(ctx: &Ctx, args: &Args) -> Reply {
    let (network, purpose) = (args.reference(0), args.text(1));
    ctx.world.db.write(|t| {
        let mut purposes = t.texts(&network, "purpose");
        purposes.retain(|held| *held != purpose);
        t.set(&network, "purpose", Value::texts(purposes));
    });
    Ok(Value::Nil)
}
