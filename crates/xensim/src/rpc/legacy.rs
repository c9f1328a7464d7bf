//! The old way to events: `event.register`, then `event.next` again and again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    Args, Ctx, Later, Reply,
    event::{Happening, Subscription, check_session, happened},
};
use crate::{
    error::ApiError,
    model::{Map, Ref, Value},
};

/// More changes than this between two calls are lost; stands in for the 10 MB of events that XAPI keeps.
const MOST_CHANGES: u64 = 20_000;
/// How long `event.next` gathers further events after the first.
const GATHER: Duration = Duration::from_millis(50);

/// What each session has registered for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues(Arc<Mutex<HashMap<Ref, Queue>>>);

#[derive(Clone, Debug)]
struct Queue {
    subscriptions: Vec<Subscription>,
    since: u64,
}

impl Queues {
    fn lock(&self) -> MutexGuard<'_, HashMap<Ref, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a session that ended.
    pub(crate) fn forget(&self, session: &Ref) {
        self.lock().remove(session);
    }
}

fn subscriptions(args: &Args) -> Result<Vec<Subscription>, ApiError> {
    args.texts(0).iter().map(|text| Subscription::parse(text)).collect()
}

pub(super) fn register(ctx: &Ctx, args: &Args) -> Reply {
    let wanted = subscriptions(args)?;
    let now = ctx.world.db.read(|t| t.generation());
    let mut queues = ctx.world.queues.lock();
    let queue = queues.entry(ctx.session.clone()).or_insert(Queue { subscriptions: Vec::new(), since: now });
    queue.subscriptions.extend(wanted);
    Ok(Value::Nil)
}

pub(super) fn unregister(ctx: &Ctx, args: &Args) -> Reply {
    let unwanted = subscriptions(args)?;
    let mut queues = ctx.world.queues.lock();
    if let Some(queue) = queues.get_mut(&ctx.session) {
        queue.subscriptions.retain(|subscription| !unwanted.contains(subscription));
        if queue.subscriptions.is_empty() {
            queues.remove(&ctx.session);
        }
    }
    Ok(Value::Nil)
}

pub(super) fn get_current_id(ctx: &Ctx, _args: &Args) -> Reply {
    Ok(Value::Int(i64::try_from(ctx.world.db.read(|t| t.generation())).unwrap_or(i64::MAX)))
}

pub(super) fn next(ctx: Ctx, _args: Args) -> Later {
    Box::pin(async move {
        let mut changes = ctx.world.db.changes();
        loop {
            changes.borrow_and_update();
            check_session(&ctx)?;
            let events = take(&ctx)?;
            if !events.is_empty() {
                return Ok(Value::Set(events.into_iter().map(|happening| event(&ctx, happening)).collect()));
            }
            if changes.changed().await.is_err() {
                return Err(ApiError::session(ctx.session.as_str()));
            }
            tokio::time::sleep(GATHER).await;
        }
    })
}

/// What happened since the last time this session asked.
fn take(ctx: &Ctx) -> Result<Vec<Happening>, ApiError> {
    let mut queues = ctx.world.queues.lock();
    let Some(queue) = queues.get_mut(&ctx.session) else {
        return Err(ApiError::new("SESSION_NOT_REGISTERED", [&ctx.session]));
    };
    let (now, events) = ctx.world.db.read(|t| (t.generation(), happened(t, &queue.subscriptions, queue.since)));
    let missed = now.saturating_sub(queue.since);
    queue.since = now;
    if missed > MOST_CHANGES { Err(ApiError::bare("EVENTS_LOST")) } else { Ok(events) }
}

fn event(ctx: &Ctx, happening: Happening) -> Value {
    let uuid = happening.record.as_ref().and_then(|record| record.get("uuid")).cloned();
    let mut event = Map::from([
        ("id".to_owned(), Value::Int(i64::try_from(happening.generation).unwrap_or(i64::MAX))),
        ("timestamp".to_owned(), Value::Date(ctx.world.clock.now())),
        ("class".to_owned(), Value::from(happening.class.event_name())),
        ("operation".to_owned(), Value::from(happening.operation)),
        ("ref".to_owned(), Value::from(happening.reference)),
        ("obj_uuid".to_owned(), uuid.unwrap_or_else(|| Value::from(""))),
    ]);
    if let Some(record) = happening.record {
        event.insert("snapshot".to_owned(), Value::Map(record));
    }
    Value::Map(event)
}
