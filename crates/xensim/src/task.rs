//! Tasks: what runs, how far it is, and how it ended.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::ApiError,
    model::{Class, NULL_REF, Ref, Tables, Value},
    rpc::xml,
    world::World,
};

/// A finished task is kept for this long.
const FINISHED_SECONDS: i64 = 65 * 60;
/// A pending task whose progress stands still is kept for this long.
const PENDING_SECONDS: i64 = 24 * 3600;
/// Above this many tasks the oldest finished ones go first.
const MAX_TASKS: usize = 200;

/// Tasks that somebody works on: these cancel themselves when asked to.
#[derive(Debug, Default, Clone)]
pub(crate) struct Workers(Arc<Mutex<HashSet<Ref>>>);

#[derive(Debug)]
struct Shift {
    workers: Workers,
    task: Ref,
}

impl Workers {
    fn begin(&self, task: &Ref) -> Arc<Shift> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(task.clone());
        Arc::new(Shift { workers: self.clone(), task: task.clone() })
    }

    fn work_on(&self, task: &Ref) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(task)
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        self.workers.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.task);
    }
}

/// A task that the holder works on. Who drops all handles without finishing it leaves it pending.
#[derive(Clone, Debug)]
pub struct Task {
    world: World,
    reference: Ref,
    _shift: Arc<Shift>,
}

impl Task {
    /// Starts a new task of a session.
    pub fn start(world: &World, session: Option<&Ref>, label: &str, host: usize) -> Task {
        let reference = create(world, session, label, "", host);
        Task::of(world, reference)
    }

    /// Runs as a task that a client has made. HANDLE_INVALID when there is none.
    pub fn adopt(world: &World, reference: &str) -> Result<Task, ApiError> {
        let reference = Ref::from(reference);
        if !world.db.read(|t| t.has(Class::Task, &reference)) {
            return Err(ApiError::handle(Class::Task, &reference));
        }
        Ok(Task::of(world, reference))
    }

    /// Starts a new task below another.
    pub fn start_below(
        world: &World,
        session: Option<&Ref>,
        label: &str,
        host: usize,
        parent: &str,
    ) -> Result<Task, ApiError> {
        let parent = Ref::from(parent);
        if !world.db.read(|t| t.has(Class::Task, &parent)) {
            return Err(ApiError::handle(Class::Task, &parent));
        }
        let task = Task::start(world, session, label, host);
        world.db.write(|t| t.set(task.reference(), "subtask_of", &parent));
        Ok(task)
    }

    fn of(world: &World, reference: Ref) -> Task {
        let shift = world.workers.begin(&reference);
        Task { world: world.clone(), reference, _shift: shift }
    }

    /// The task object.
    pub fn reference(&self) -> &Ref {
        &self.reference
    }

    /// Whether it hasn't ended yet.
    pub fn is_pending(&self) -> bool {
        self.world.db.read(|t| is_pending(t, &self.reference))
    }

    /// Tells how far it is, between 0 and 1.
    pub fn set_progress(&self, progress: f64) {
        self.world.db.write(|t| {
            if is_pending(t, &self.reference) {
                t.set(&self.reference, "progress", progress);
            }
        });
    }

    /// Writes an entry of its `other_config`.
    pub fn note(&self, key: &str, value: &str) {
        self.world.db.write(|t| t.map_insert(&self.reference, "other_config", key, value));
    }

    /// Ends it well, with a value as result.
    pub fn succeed_with(&self, value: &Value) {
        self.succeed(&xml::to_text(value));
    }

    /// Ends it well, with an empty result.
    pub fn succeed_empty(&self) {
        self.succeed("");
    }

    fn succeed(&self, result: &str) {
        let now = self.world.clock.now();
        self.world.db.write(|t| {
            if is_pending(t, &self.reference) {
                t.set(&self.reference, "allowed_operations", Vec::new());
                t.set(&self.reference, "finished", Value::Date(now));
                t.set(&self.reference, "progress", 1.0);
                t.set(&self.reference, "result", result);
                t.set(&self.reference, "status", "success");
                destroy_if_asked(t, &self.reference);
            }
        });
    }

    /// Ends it badly. TASK_CANCELLED makes it cancelled.
    pub fn fail(&self, error: &ApiError) {
        let now = self.world.clock.now();
        self.world.db.write(|t| fail(t, &self.reference, error, now));
    }

    /// Ends it with what a piece of work came to.
    pub fn finish(&self, outcome: &Result<Value, ApiError>) {
        match outcome {
            Ok(value) => self.succeed_with(value),
            Err(error) => self.fail(error),
        }
    }

    /// Whether somebody asked to cancel it. The worker then stops with [`Task::cancelled_error`].
    pub fn is_cancelled(&self) -> bool {
        self.world.db.read(|t| cancel_asked(t, &self.reference))
    }

    /// Waits until somebody asks to cancel it.
    pub async fn cancelled(&self) {
        let mut changes = self.world.db.changes();
        while !self.is_cancelled() {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The error that a cancelled task ends with.
    pub fn cancelled_error(&self) -> ApiError {
        ApiError::new("TASK_CANCELLED", [&self.reference])
    }
}

/// Makes a task that nobody works on yet.
pub(crate) fn create(world: &World, session: Option<&Ref>, label: &str, description: &str, host: usize) -> Ref {
    let now = world.clock.now();
    world.db.write(|t| {
        let task = t.create(
            Class::Task,
            [
                ("name_label", Value::from(label)),
                ("name_description", Value::from(description)),
                ("allowed_operations", Value::texts(["cancel", "destroy"])),
                ("created", Value::Date(now)),
                ("status", Value::from("pending")),
                ("type", Value::from("<none/>")),
                ("resident_on", Value::from(&world.hosts[host.min(world.hosts.len() - 1)])),
            ],
        );
        if let Some(session) = session {
            let mut tasks = t.references(session, "tasks");
            tasks.push(task.clone());
            t.set(session, "tasks", Value::texts(tasks));
        }
        task
    })
}

/// Asks a pending task to stop; one that nobody works on is cancelled at once. Nothing happens to a finished one.
pub(crate) fn cancel(world: &World, task: &Ref) {
    let now = world.clock.now();
    let worked_on = world.workers.work_on(task);
    world.db.write(|t| {
        if !is_pending(t, task) {
            return;
        }
        let key = Ref::fresh();
        t.map_insert(task, "current_operations", key.as_str(), "cancel");
        if !worked_on {
            fail(t, task, &ApiError::new("TASK_CANCELLED", [task]), now);
        }
    });
}

/// Removes a finished task; a pending one goes when it is done.
pub(crate) fn destroy(world: &World, task: &Ref) {
    world.db.write(|t| {
        if is_pending(t, task) {
            let key = Ref::fresh();
            t.map_insert(task, "current_operations", key.as_str(), "destroy");
        } else {
            remove(t, task);
        }
    });
}

fn fail(t: &mut Tables, task: &Ref, error: &ApiError, now: i64) {
    if !is_pending(t, task) {
        return;
    }
    let words = std::iter::once(&error.code).chain(&error.params);
    let status = if error.code == "TASK_CANCELLED" { "cancelled" } else { "failure" };
    t.set(task, "allowed_operations", Vec::new());
    t.set(task, "progress", 1.0);
    t.set(task, "error_info", Value::texts(words));
    t.set(task, "backtrace", "(((process xapi)(filename ocaml/xapi/xapi.ml)(line 1)))");
    t.set(task, "finished", Value::Date(now));
    t.set(task, "status", status);
    destroy_if_asked(t, task);
}

fn is_pending(t: &Tables, task: &Ref) -> bool {
    matches!(t.str(task, "status").as_str(), "pending" | "cancelling")
}

fn has_operation(t: &Tables, task: &Ref, operation: &str) -> bool {
    t.map(task, "current_operations").values().any(|value| value.as_str() == Some(operation))
}

fn cancel_asked(t: &Tables, task: &Ref) -> bool {
    has_operation(t, task, "cancel") || t.str(task, "status") == "cancelled" || !t.has(Class::Task, task)
}

fn destroy_if_asked(t: &mut Tables, task: &Ref) {
    if has_operation(t, task, "destroy") {
        remove(t, task);
    }
}

fn remove(t: &mut Tables, task: &Ref) {
    for session in t.all(Class::Session) {
        let mut tasks = t.references(&session, "tasks");
        if tasks.contains(task) {
            tasks.retain(|other| other != task);
            t.set(&session, "tasks", Value::texts(tasks));
        }
    }
    for child in t.references(task, "subtasks") {
        t.set(&child, "subtask_of", NULL_REF);
    }
    t.destroy(task);
}

impl World {
    /// Forgets what is too old: sessions, finished tasks, and pending tasks that don't move.
    pub fn sweep(&self) {
        self.sweep_sessions();
        let now = self.clock.now();
        let mut seen = self.progress_seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.db.write(|t| {
            for task in t.all(Class::Task) {
                sweep_task(t, &task, now, &mut seen);
            }
            seen.retain(|task, _| t.has(Class::Task, task));
            let mut finished: Vec<Ref> = t.all(Class::Task).into_iter().filter(|task| !is_pending(t, task)).collect();
            finished.sort_by_key(|task| t.date(task, "finished"));
            let surplus = t.count(Class::Task).saturating_sub(MAX_TASKS);
            for task in finished.iter().take(surplus) {
                remove(t, task);
            }
        });
    }
}

/// `seen` holds the progress of pending tasks at the last pass.
fn sweep_task(t: &mut Tables, task: &Ref, now: i64, seen: &mut HashMap<Ref, f64>) {
    if !is_pending(t, task) {
        if now - t.date(task, "finished") > FINISHED_SECONDS {
            remove(t, task);
        }
        return;
    }
    let progress = match t.get(task, "progress") {
        Some(Value::Float(progress)) => *progress,
        _ => 0.0,
    };
    let before = seen.insert(task.clone(), progress).unwrap_or(0.0);
    let stands_still = progress <= before;
    if stands_still && now - t.date(task, "created") > PENDING_SECONDS {
        remove(t, task);
    }
}
