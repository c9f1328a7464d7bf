//! Messages (alerts) that clients leave and read.

use super::Entry;
use crate::{
    error::ApiError,
    model::{Class, Map, Ref, Tables, Value},
    rpc::{Args, Ctx, Handler, Reply},
};

pub(super) const CALLS: &[Entry] = &[
    (Class::Message, "create", Handler::Now(create)),
    (Class::Message, "get", Handler::Now(get)),
    (Class::Message, "get_since", Handler::Now(get_since)),
    (Class::Message, "destroy_many", Handler::Now(destroy_many)),
];

/// Messages can be about objects of these classes.
fn class_of(name: &str) -> Option<Class> {
    match name {
        "VM" => Some(Class::Vm),
        "Host" => Some(Class::Host),
        "SR" => Some(Class::Sr),
        "Pool" => Some(Class::Pool),
        "VDI" => Some(Class::Vdi),
        "Certificate" => Some(Class::Certificate),
        _ => None,
    }
}

fn create(ctx: &Ctx, args: &Args) -> Reply {
    let (name, priority, class, uuid, body) = (args.text(0), args.int(1), args.text(2), args.text(3), args.text(4));
    let now = ctx.world.clock.now();
    ctx.world.db.write(|t| {
        if let Some(class) = class_of(&class).filter(|class| t.by_uuid(*class, &uuid).is_none()) {
            return Err(ApiError::uuid(class, &uuid));
        }
        Ok(Value::from(t.create(
            Class::Message,
            [
                ("name", Value::from(name)),
                ("priority", Value::Int(priority)),
                ("cls", Value::from(class.as_str())),
                ("obj_uuid", Value::from(uuid.as_str())),
                ("timestamp", Value::Date(now)),
                ("body", Value::from(body)),
            ],
        )))
    })
}

fn records(t: &Tables, wanted: impl Fn(&Ref) -> bool) -> Value {
    let found = t.all(Class::Message).into_iter().filter(|message| wanted(message));
    Value::Map(
        found.filter_map(|message| Some((message.to_string(), Value::Map(t.record(&message)?)))).collect::<Map>(),
    )
}

fn date(args: &Args, at: usize) -> i64 {
    match args.value(at) {
        Value::Date(seconds) => seconds,
        _ => 0,
    }
}

fn get(ctx: &Ctx, args: &Args) -> Reply {
    let (class, uuid, since) = (args.text(0), args.text(1), date(args, 2));
    Ok(ctx.world.db.read(|t| {
        records(t, |message| {
            t.str(message, "cls") == class
                && t.str(message, "obj_uuid") == uuid
                && t.date(message, "timestamp") >= since
        })
    }))
}

fn get_since(ctx: &Ctx, args: &Args) -> Reply {
    let since = date(args, 0);
    Ok(ctx.world.db.read(|t| records(t, |message| t.date(message, "timestamp") >= since)))
}

fn destroy_many(ctx: &Ctx, args: &Args) -> Reply {
    ctx.world.db.write(|t| {
        for message in args.texts(0).into_iter().map(Ref::from) {
            t.destroy(&message);
        }
    });
    Ok(Value::Nil)
}
