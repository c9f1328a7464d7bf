//! Events: what changed since a client last asked. Changes in between are coalesced, as in xapi's `xapi_event.ml`.

use std::time::Duration;

use tokio::time::Instant;

use super::{Args, Ctx, Handler, Later, Reply, legacy};
use crate::{
    error::ApiError,
    model::{Class, Map, Ref, Schema, Tables, Value},
    ops::Entry,
};

/// Changes that come within this time are told together.
const BATCH: Duration = Duration::from_millis(50);
/// A client may ask to wait longer, but no connection lives that long.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 3600);

pub(crate) const EVENT_CALLS: &[Entry] = &[
    (Class::Event, "from", Handler::Later(from)),
    (Class::Event, "inject", Handler::Now(inject)),
    (Class::Event, "register", Handler::Now(legacy::register)),
    (Class::Event, "unregister", Handler::Now(legacy::unregister)),
    (Class::Event, "next", Handler::Later(legacy::next)),
    (Class::Event, "get_current_id", Handler::Now(legacy::get_current_id)),
];

/// What a client wants to hear about.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Subscription {
    All,
    Class(String),
    Object(String, Ref),
}

impl Subscription {
    pub(super) fn parse(text: &str) -> Result<Subscription, ApiError> {
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            ["*"] => Ok(Subscription::All),
            [class] => Ok(Subscription::Class(class.to_ascii_lowercase())),
            [class, reference] => Ok(Subscription::Object(class.to_ascii_lowercase(), Ref::from(*reference))),
            _ => Err(ApiError::new("EVENT_SUBSCRIPTION_PARSE_FAILURE", [text])),
        }
    }

    fn covers(&self, class: &str, reference: &Ref) -> bool {
        match self {
            Subscription::All => true,
            Subscription::Class(wanted) => wanted == class,
            Subscription::Object(wanted, object) => wanted == class && object == reference,
        }
    }
}

/// What happened to one object.
pub(super) struct Happening {
    pub(super) class: Class,
    pub(super) operation: &'static str,
    pub(super) reference: Ref,
    pub(super) generation: u64,
    pub(super) record: Option<Map>,
}

/// What happened after a generation: messages first, then adds, mods, dels, each in the order of time.
pub(super) fn happened(t: &Tables, subscriptions: &[Subscription], since: u64) -> Vec<Happening> {
    let covered = |class: Class, reference: &Ref| {
        let name = class.event_name();
        class != Class::Session && subscriptions.iter().any(|wanted| wanted.covers(&name, reference))
    };
    let changed = t.changed_since(since).filter(|(reference, object)| covered(object.class, reference));
    let living = changed.map(|(reference, object)| Happening {
        class: object.class,
        operation: if object.created > since { "add" } else { "mod" },
        reference: reference.clone(),
        generation: object.modified,
        record: t.record(reference),
    });
    let gone = t.deleted_since(since).filter(|gone| gone.created <= since && covered(gone.class, &gone.reference));
    let gone = gone.map(|gone| Happening {
        class: gone.class,
        operation: "del",
        reference: gone.reference.clone(),
        generation: gone.deleted,
        record: None,
    });
    let mut all: Vec<Happening> = living.chain(gone).collect();
    let rank = |operation: &str| ["add", "mod", "del"].iter().position(|known| *known == operation);
    all.sort_by_key(|event| (event.class != Class::Message, rank(event.operation), event.generation));
    all
}

fn from(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let subscriptions: Vec<Subscription> =
            args.texts(0).iter().map(|text| Subscription::parse(text)).collect::<Result<_, _>>()?;
        let since = parse_token(&args.text(1))?;
        let wait = Duration::try_from_secs_f64(args.float(2).max(0.0)).unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT);
        wait_for(&ctx, &subscriptions, since, wait).await
    })
}

async fn wait_for(ctx: &Ctx, subscriptions: &[Subscription], since: u64, wait: Duration) -> Reply {
    let deadline = Instant::now() + wait;
    let tasks_only = subscriptions.iter().all(|wanted| match wanted {
        Subscription::All => false,
        Subscription::Class(class) | Subscription::Object(class, _) => class == "task",
    });
    let mut changes = ctx.world.db.changes();
    loop {
        changes.borrow_and_update();
        check_session(ctx)?;
        let (events, counts, generation) = ctx.world.db.read(|t| {
            let events = happened(t, subscriptions, since);
            (events, reference_counts(t), t.generation())
        });
        if !events.is_empty() || Instant::now() >= deadline {
            return Ok(batch(events, counts, generation));
        }
        if tokio::time::timeout_at(deadline, changes.changed()).await.is_ok() && !tasks_only {
            tokio::time::sleep(BATCH).await;
        }
    }
}

/// A call that waits ends when its session does.
pub(super) fn check_session(ctx: &Ctx) -> Result<(), ApiError> {
    if ctx.world.db.read(|t| t.has(Class::Session, &ctx.session)) {
        Ok(())
    } else {
        Err(ApiError::session(ctx.session.as_str()))
    }
}

fn batch(events: Vec<Happening>, counts: Value, generation: u64) -> Value {
    let events: Vec<Value> = events.into_iter().map(event).collect();
    Value::map([
        ("events", Value::Set(events)),
        ("valid_ref_counts", counts),
        ("token", Value::from(token(generation))),
    ])
}

fn event(happening: Happening) -> Value {
    let mut event = Map::from([
        ("id".to_owned(), Value::text(happening.generation)),
        ("timestamp".to_owned(), Value::from("0.0")),
        ("class".to_owned(), Value::from(happening.class.event_name())),
        ("operation".to_owned(), Value::from(happening.operation)),
        ("ref".to_owned(), Value::from(happening.reference)),
    ]);
    if let Some(record) = happening.record {
        event.insert("snapshot".to_owned(), Value::Map(record));
    }
    Value::Map(event)
}

fn reference_counts(t: &Tables) -> Value {
    let classes = Schema::get().classes().iter().filter(|def| def.field("uuid").is_some());
    Value::map(classes.map(|def| {
        let count = i32::try_from(t.count(def.class)).unwrap_or(i32::MAX);
        (def.class.event_name(), Value::TaggedInt(count))
    }))
}

/// The token that stands for a generation of the database; messages share it.
fn token(generation: u64) -> String {
    format!("{generation:020},{generation:020}")
}

fn parse_token(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    let parsed = text.split_once(',').and_then(|(db, messages)| {
        messages.trim().parse::<u64>().ok()?;
        db.trim().parse().ok()
    });
    parsed.ok_or_else(|| ApiError::new("EVENT_FROM_TOKEN_PARSE_FAILURE", [text]))
}

fn inject(ctx: &Ctx, args: &Args) -> Reply {
    let (name, reference) = (args.text(0), Ref::from(args.text(1)));
    let class = Class::parse_any_case(&name);
    ctx.world.db.write(|t| match class.filter(|class| t.has(*class, &reference)) {
        Some(_) => {
            let before = t.generation();
            t.touch(&reference);
            Ok(Value::from(token(before)))
        }
        None => Err(ApiError::new("HANDLE_INVALID", [name.as_str(), reference.as_str()])),
    })
}
