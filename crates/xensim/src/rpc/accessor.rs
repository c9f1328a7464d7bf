//! Getters, setters and queries: the same for every class.

use super::{Args, Ctx, Reply, args::checked_record, filter, method::Target};
use crate::{
    error::ApiError,
    model::{Class, Field, Map, Ref, Schema, Tables, Value},
    ops,
};

/// Answers a getter, setter or query.
pub(super) fn answer(ctx: &Ctx, class: Class, target: Target, args: &Args) -> Reply {
    let db = &ctx.world.db;
    match target {
        Target::Get(field) => db.read(|t| {
            let this = args.reference(0);
            t.get(&this, &field.name).cloned().ok_or_else(|| ApiError::handle(class, &this))
        }),
        Target::GetRecord => {
            let this = args.reference(0);
            db.read(|t| t.record(&this)).map(Value::Map).ok_or_else(|| ApiError::handle(class, &this))
        }
        Target::GetAll => Ok(db.read(|t| Value::texts(t.all(class)))),
        Target::GetAllRecords => Ok(db.read(|t| records(t, class, |_| true))),
        Target::GetAllRecordsWhere => {
            let text = args.text(0);
            let filter = filter::parse(&text).map_err(|_| ApiError::value("expr", &text))?;
            Ok(db.read(|t| records(t, class, |record| filter.holds(record))))
        }
        Target::GetByUuid => {
            let uuid = args.text(0);
            db.read(|t| t.by_uuid(class, &uuid)).map(Value::from).ok_or_else(|| ApiError::uuid(class, &uuid))
        }
        Target::GetByNameLabel => Ok(db.read(|t| Value::texts(t.by_name(class, &args.text(0))))),
        Target::Set(field) => write(ctx, class, field, args.value(1), &args.reference(0)),
        Target::AddTo(field) => add_to(ctx, class, field, args),
        Target::RemoveFrom(field) => remove_from(ctx, class, field, args),
        Target::Add(field) => Ok(change_set(ctx, field, args, |members, value| {
            if !members.contains(&value) {
                members.push(value);
            }
        })),
        Target::Remove(field) => {
            Ok(change_set(ctx, field, args, |members, value| members.retain(|member| *member != value)))
        }
        Target::Call(_) | Target::Create | Target::Destroy => Err(ApiError::internal("not an accessor")),
    }
}

fn write(ctx: &Ctx, class: Class, field: &Field, value: Value, this: &Ref) -> Reply {
    ops::check_write(ctx, class, &field.name, this, &value)?;
    ctx.world.db.write(|t| t.set(this, &field.name, value));
    ops::written(ctx, class, &field.name, this);
    ops::replaced(ctx, class, &field.name, this);
    Ok(Value::Nil)
}

fn add_to(ctx: &Ctx, class: Class, field: &Field, args: &Args) -> Reply {
    let (this, key) = (args.reference(0), args.text(1));
    let added = ctx.world.db.write(|t| {
        if t.map(&this, &field.name).contains_key(&key) {
            let uuid = t.str(&this, "uuid");
            let params = [class.name().to_owned(), field.name.clone(), uuid, key];
            return Err(ApiError::new("MAP_DUPLICATE_KEY", params));
        }
        t.map_insert(&this, &field.name, key, args.value(2));
        Ok(Value::Nil)
    })?;
    ops::written(ctx, class, &field.name, &this);
    Ok(added)
}

fn remove_from(ctx: &Ctx, class: Class, field: &Field, args: &Args) -> Reply {
    let this = args.reference(0);
    ctx.world.db.write(|t| t.map_remove(&this, &field.name, &args.text(1)));
    ops::written(ctx, class, &field.name, &this);
    Ok(Value::Nil)
}

fn change_set(ctx: &Ctx, field: &Field, args: &Args, change: impl FnOnce(&mut Vec<Value>, Value)) -> Value {
    let this = args.reference(0);
    ctx.world.db.write(|t| {
        let mut members = t.get(&this, &field.name).and_then(Value::as_set).unwrap_or_default().to_vec();
        change(&mut members, args.value(1));
        t.set(&this, &field.name, members);
    });
    Value::Nil
}

fn records(t: &Tables, class: Class, wanted: impl Fn(&Map) -> bool) -> Value {
    let rows = t.all(class).into_iter().filter_map(|reference| Some((reference.to_string(), t.record(&reference)?)));
    Value::map(rows.filter(|(_, record)| wanted(record)))
}

/// A call that nothing special was written for: a setter by another name, a query, a plain constructor or destructor.
/// What remains exists in XAPI but not here.
pub(super) fn fall_back(ctx: &Ctx, class: Class, name: &str, args: &Args) -> Reply {
    let def = Schema::get().class(class);
    let field = |prefix: &str| name.strip_prefix(prefix).and_then(|name| def.field(name));
    match name {
        "get_all" => answer(ctx, class, Target::GetAll, args),
        "get_all_records" => answer(ctx, class, Target::GetAllRecords, args),
        "get_all_records_where" => answer(ctx, class, Target::GetAllRecordsWhere, args),
        "get_record" => answer(ctx, class, Target::GetRecord, args),
        "get_by_uuid" => answer(ctx, class, Target::GetByUuid, args),
        "create" if def.generic.contains("create") => {
            let record = checked_record(class, &args.map(0))?;
            Ok(Value::from(ctx.world.db.write(|t| t.create_from(class, &without_uuid(record)))))
        }
        "destroy" => {
            ctx.world.db.write(|t| t.destroy(&args.reference(0)));
            Ok(Value::Nil)
        }
        "update_allowed_operations" => Ok(Value::Nil),
        _ => {
            if let Some(field) = field("set_").filter(|_| args.given(1)) {
                return write(ctx, class, field, args.value(1), &args.reference(0));
            }
            if let Some(field) = field("add_to_").filter(|_| args.given(2)) {
                return add_to(ctx, class, field, args);
            }
            if let Some(field) = field("remove_from_") {
                return remove_from(ctx, class, field, args);
            }
            if let Some(field) = field("add_") {
                return Ok(change_set(ctx, field, args, |members, value| {
                    if !members.contains(&value) {
                        members.push(value);
                    }
                }));
            }
            if let Some(field) = field("remove_") {
                return Ok(change_set(ctx, field, args, |members, value| members.retain(|member| *member != value)));
            }
            Err(ApiError::new("NOT_IMPLEMENTED", [format!("{}.{name}", class.name())]))
        }
    }
}

/// A client can't choose uuids.
fn without_uuid(mut record: Map) -> Map {
    record.remove("uuid");
    record
}
