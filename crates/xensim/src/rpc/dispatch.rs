//! From a method's name and parameters to its answer: who may call, with how many parameters, now or behind a task.

use futures::future::BoxFuture;

use super::{
    Args, accessor,
    method::{self, Method, Target},
};
use crate::{
    error::ApiError,
    fault::When,
    model::{Class, Ref, Type, Value},
    ops,
    task::Task,
    world::World,
};

/// Not an error of the API: `Async.` before a call that has no such form.
pub(super) const NO_ASYNC: &str = "NO_ASYNC";

/// What every call knows: the pool, the host that was asked, and on whose behalf.
#[derive(Clone, Debug)]
pub(crate) struct Ctx {
    pub(crate) world: World,
    pub(crate) host: usize,
    /// Null for calls that need no session.
    pub(crate) session: Ref,
    /// The task that the call runs as; direct calls have a reference that names no object.
    pub(crate) task: Ref,
}

/// The answer to a call.
pub(crate) type Reply = Result<Value, ApiError>;

/// The answer to a call that takes its time.
pub(crate) type Later = BoxFuture<'static, Reply>;

/// What does a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Handler {
    /// Done at once.
    Now(fn(&Ctx, &Args) -> Reply),
    /// Takes time.
    Later(fn(Ctx, Args) -> Later),
}

/// Answers a call.
pub(crate) async fn call(world: &World, host: usize, name: &str, params: Vec<Value>) -> Reply {
    if name == "system.listMethods" {
        return Ok(Value::texts(method::all()));
    }
    if name.starts_with("system.isAlive:") {
        return Ok(params.into_iter().next().unwrap_or(Value::Nil));
    }
    let (async_form, bare) = match name.strip_prefix("Async.") {
        Some(bare) => (true, bare),
        None => (false, name),
    };
    let Some(method) = method::find(bare).filter(|_| !async_form || bare.contains('.')) else {
        return Err(unknown(world, host, name, &params));
    };
    let mut params = params;
    let session = if method.is_sessionless() || params.is_empty() { Value::Nil } else { params.remove(0) };
    check_count(&method, bare, params.len(), session == Value::Nil && !method.is_sessionless())?;
    if !ops::is_for_any_host(method.class, method.name) {
        check_master(world, host)?;
    }
    let session = if method.is_sessionless() { Ref::null() } else { check_session(world, &session, &method)? };
    if method.removed && !ops::is_kept(world, method.class, method.name) {
        return Err(ApiError::bare("MESSAGE_REMOVED"));
    }
    if !method.is_sessionless() {
        world.check_role(&session, &dotted(&method, bare))?;
    }
    let args = Args::new(&method.params(), &params)?;
    if !async_form {
        let ctx = Ctx { world: world.clone(), host, session, task: Ref::fresh() };
        return run(ctx, bare, method, args).await;
    }
    if !method.has_async() {
        return Err(ApiError::new(NO_ASYNC, [format!("No async mode for this operation (rpc: {bare})")]));
    }
    let task = Task::start(world, Some(&session), name, host);
    let reference = task.reference().clone();
    let ctx = Ctx { world: world.clone(), host, session, task: reference.clone() };
    let bare = bare.to_owned();
    world.spawn(async move {
        let outcome = run(ctx, &bare, method, args).await;
        task.finish(&outcome);
    });
    Ok(Value::from(reference))
}

fn unknown(world: &World, host: usize, name: &str, params: &[Value]) -> ApiError {
    if let Err(error) = check_master(world, host) {
        return error;
    }
    match params.first().and_then(Value::as_str) {
        Some(session) if session.starts_with("OpaqueRef:") => match world.authenticate(session) {
            Err(error) => error,
            Ok(_) => ApiError::new("MESSAGE_METHOD_UNKNOWN", [name]),
        },
        _ => ApiError::new("MESSAGE_METHOD_UNKNOWN", [name]),
    }
}

/// The name of a method with the dot that its alias lacks.
fn dotted(method: &Method, name: &str) -> String {
    let class = method.class.name();
    format!("{class}.{}", &name[class.len() + 1..])
}

fn check_master(world: &World, host: usize) -> Result<(), ApiError> {
    let master = world.master_position();
    if host == master { Ok(()) } else { Err(ApiError::new("HOST_IS_SLAVE", [&world.addresses[master].address])) }
}

fn check_session(world: &World, session: &Value, method: &Method) -> Result<Ref, ApiError> {
    let session = world.authenticate(session.as_str().unwrap_or_default())?;
    // Sessions that were opened past the pool's database are not in it.
    if world.is_local(&session) && !ops::is_for_any_host(method.class, method.name) {
        return Err(ApiError::session(session.as_str()));
    }
    Ok(session)
}

fn check_count(method: &Method, name: &str, received: usize, no_session: bool) -> Result<(), ApiError> {
    let params = method.params();
    let mandatory = params.iter().filter(|param| !param.optional).count();
    if received < mandatory || received > params.len() || no_session {
        return Err(ApiError::new(
            "MESSAGE_PARAMETER_COUNT_MISMATCH",
            [name.to_owned(), mandatory.to_string(), received.to_string()],
        ));
    }
    Ok(())
}

/// The first parameter of most calls is the object they are about: it must be there.
fn check_self(ctx: &Ctx, method: &Method, args: &Args) -> Result<(), ApiError> {
    let params = method.params();
    let Some(Type::Ref(class)) = params.first().map(|param| &param.ty) else { return Ok(()) };
    let reference = args.reference(0);
    if ctx.world.db.read(|t| t.has(*class, &reference)) { Ok(()) } else { Err(ApiError::handle(*class, &reference)) }
}

/// Runs a call, held back before or after its effects if a fault says so.
async fn run(ctx: Ctx, name: &str, method: Method, args: Args) -> Reply {
    let faults = ctx.world.faults.clone();
    faults.stall(name, When::Before).await;
    if let Some(error) = faults.refusal(name) {
        return Err(error);
    }
    let reply = run_unstalled(ctx, method, args).await;
    faults.stall(name, When::After).await;
    reply
}

async fn run_unstalled(ctx: Ctx, method: Method, args: Args) -> Reply {
    if !ops::may_name_nothing(method.class, method.name) {
        check_self(&ctx, &method, &args)?;
    }
    let key = match method.target {
        Target::Call(call) => call.name.as_str(),
        Target::Create => "create",
        Target::Destroy => "destroy",
        other => return accessor::answer(&ctx, method.class, other, &args),
    };
    match ops::handler(method.class, key) {
        Some(Handler::Now(handler)) => handler(&ctx, &args),
        Some(Handler::Later(handler)) => handler(ctx, args).await,
        None => accessor::fall_back(&ctx, method.class, key, &args),
    }
}

impl Ctx {
    /// Fails unless the reference names an object of the class.
    pub(crate) fn need(&self, class: Class, reference: &Ref) -> Result<(), ApiError> {
        if self.world.db.read(|t| t.has(class, reference)) { Ok(()) } else { Err(ApiError::handle(class, reference)) }
    }

    /// Fails when the task of this call was cancelled.
    pub(crate) fn check_cancelled(&self) -> Result<(), ApiError> {
        let asked = self.world.db.read(|t| {
            t.map(&self.task, "current_operations").values().any(|operation| operation.as_str() == Some("cancel"))
        });
        if asked { Err(ApiError::new("TASK_CANCELLED", [&self.task])) } else { Ok(()) }
    }
}
