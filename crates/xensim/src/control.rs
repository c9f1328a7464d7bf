//! The control endpoint: how a test looks into the pool, and makes it misbehave.
//!
//! Plain HTTP with JSON on loopback, without a password, and no part of any real pool.

mod state;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value as Json_, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use xenkeep_disk::{Data, DiskRead};

use crate::error::ApiError;
use crate::fault::Fault;
use crate::guest::{Guests, WriterSpec, write_once};
use crate::model::{Class, Ref};
use crate::storage::Reader;
use crate::world::World;

#[derive(Clone)]
struct Control {
    world: World,
    guests: Guests,
}

/// Answers until told to stop.
pub(crate) async fn serve(listener: TcpListener, world: World, guests: Guests, stop: CancellationToken) {
    let app = Router::new()
        .route("/control/faults", post(arm).get(faults).delete(clear))
        .route("/control/stalled", get(stalled))
        .route("/control/transfers", get(transfers))
        .route("/control/state", get(state))
        .route("/control/deleted", get(deleted))
        .route("/control/guest-write", post(guest_write))
        .route("/control/vdi/{uuid}/sha256", get(sha256))
        .route("/control/vdi/{uuid}/content", get(content))
        .route("/control/vm/{name}/writer", post(set_writer).get(writer))
        .route("/control/vm/{name}/memory", get(memory))
        .route("/control/sessions", axum::routing::delete(forget_sessions))
        .route("/control/clock", post(advance_clock))
        .route("/control/host/{position}", post(set_host))
        .route("/control/master", post(set_master))
        .with_state(Control { world, guests });
    // A download that hangs must not keep the pool alive: who is told to stop, stops.
    tokio::select! {
        () = stop.cancelled() => {}
        result = axum::serve(listener, app) => {
            if let Err(error) = result {
                tracing::error!(%error, "the control endpoint failed");
            }
        }
    }
}

/// Anything that went wrong, for the caller to read.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

async fn arm(State(control): State<Control>, Json(fault): Json<Fault>) -> Json<Json_> {
    control.world.faults.arm(fault);
    faults(State(control)).await
}

async fn faults(State(control): State<Control>) -> Json<Json_> {
    let faults = &control.world.faults;
    Json(json!({ "armed": faults.armed(), "struck": faults.strikes() }))
}

async fn clear(State(control): State<Control>) -> StatusCode {
    control.world.faults.clear();
    StatusCode::NO_CONTENT
}

async fn stalled(State(control): State<Control>) -> Json<Json_> {
    Json(json!(control.world.faults.stalled()))
}

async fn transfers(State(control): State<Control>) -> Json<Json_> {
    Json(json!(control.world.transfers.counts()))
}

async fn state(State(control): State<Control>) -> Json<Json_> {
    Json(control.world.db.read(state::of))
}

async fn deleted(State(control): State<Control>) -> Json<Json_> {
    Json(json!(control.world.storage.buried()))
}

async fn forget_sessions(State(control): State<Control>) -> StatusCode {
    control.world.forget_sessions();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: i64,
}

async fn advance_clock(State(control): State<Control>, Json(by): Json<Advance>) -> StatusCode {
    let moved = std::time::Duration::from_secs(by.seconds.unsigned_abs());
    if by.seconds < 0 {
        control.world.clock.turn_back(moved)
    } else {
        control.world.clock.advance(moved)
    }
    // Who moves the clock wants to see what has become too old, not to wait for the next pass.
    control.world.sweep();
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostState {
    up: bool,
}

async fn set_host(
    State(control): State<Control>,
    Path(position): Path<usize>,
    Json(state): Json<HostState>,
) -> Result<StatusCode, Refusal> {
    control.check_host(position)?;
    control.world.set_host_up(position, state.up);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewMaster {
    host: usize,
}

async fn set_master(State(control): State<Control>, Json(new): Json<NewMaster>) -> Result<StatusCode, Refusal> {
    control.check_host(new.host)?;
    control.world.make_master(new.host);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GuestWrite {
    vm: String,
    disk: String,
    offset: u64,
    /// Base64.
    data: Option<String>,
    /// Text that is repeated over `len` bytes.
    pattern: Option<String>,
    len: Option<usize>,
}

/// The longest write at once.
const MAX_WRITE_BYTES: usize = 64 << 20;

impl GuestWrite {
    fn bytes(&self) -> Result<Vec<u8>, Refusal> {
        let refuse = |text: &str| Refusal(StatusCode::BAD_REQUEST, text.to_owned());
        match (&self.data, &self.pattern) {
            (Some(data), None) => STANDARD.decode(data).map_err(|_| refuse("data is not base64")),
            (None, Some(pattern)) if !pattern.is_empty() => {
                let len = self.len.unwrap_or(pattern.len());
                if len > MAX_WRITE_BYTES {
                    return Err(refuse("len is too large"));
                }
                Ok(pattern.bytes().cycle().take(len).collect())
            }
            _ => Err(refuse("one of data and pattern is needed")),
        }
    }
}

async fn guest_write(State(control): State<Control>, Json(write): Json<GuestWrite>) -> Result<StatusCode, Refusal> {
    let vm = control.find_vm(&write.vm)?;
    let bytes = write.bytes()?;
    let world = control.world;
    run_blocking(move || write_once(&world, &vm, &write.disk, write.offset, &bytes)).await??;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_writer(
    State(control): State<Control>,
    Path(name): Path<String>,
    Json(spec): Json<WriterSpec>,
) -> Result<Json<Json_>, Refusal> {
    let vm = control.find_vm(&name)?;
    control.guests.set(&vm, &spec);
    Ok(Json(json!(control.guests.written(&vm))))
}

async fn writer(State(control): State<Control>, Path(name): Path<String>) -> Result<Json<Json_>, Refusal> {
    let vm = control.find_vm(&name)?;
    Ok(Json(json!(control.guests.written(&vm))))
}

/// Tells what is in the memory of a machine that runs.
async fn memory(State(control): State<Control>, Path(name): Path<String>) -> Result<Json<Json_>, Refusal> {
    let vm = control.find_vm(&name)?;
    let sum = control.world.memory_sha256(&vm);
    let sum = sum.ok_or_else(|| Refusal(StatusCode::CONFLICT, format!("virtual machine {name} does not run")))?;
    Ok(Json(json!({ "sha256": sum })))
}

async fn sha256(State(control): State<Control>, Path(uuid): Path<String>) -> Result<Json<Json_>, Refusal> {
    let reader = control.reader(&uuid)?;
    let size = reader.size_bytes();
    let sum = run_blocking(move || reader.sha256()).await?;
    let sum = sum.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(Json(json!({ "sha256": hex::encode(sum), "size": size })))
}

async fn content(State(control): State<Control>, Path(uuid): Path<String>) -> Result<Response, Refusal> {
    use futures::{StreamExt, TryStreamExt};
    let reader = control.reader(&uuid)?;
    let size = reader.size_bytes();
    let pieces = std::sync::Arc::new(reader).blocks().map_ok(|block| {
        let pieces: Vec<_> = match block.data {
            Data::Bytes(bytes) => vec![Ok(bytes)],
            Data::Zero | Data::Unchanged => zeros(block.len).map(Ok::<_, xenkeep_disk::Error>).collect(),
        };
        futures::stream::iter(pieces)
    });
    let body = Body::from_stream(pieces.try_flatten().boxed());
    Ok(([("content-length", size.to_string()), ("content-type", "application/octet-stream".to_owned())], body)
        .into_response())
}

/// So many zeros, in pieces of one MiB that are all the same memory.
fn zeros(len: u64) -> impl Iterator<Item = Bytes> {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let whole = ZEROS.len() as u64;
    (0..len.div_ceil(whole)).map(move |number| {
        let piece = whole.min(len - number * whole);
        Bytes::from_static(&ZEROS[..piece as usize])
    })
}

impl Control {
    /// A virtual machine by name or uuid; snapshots and templates come last.
    fn find_vm(&self, name: &str) -> Result<Ref, Refusal> {
        let found = self.world.db.read(|t| {
            let mut named = t.by_name(Class::Vm, name);
            named.sort_by_key(|vm| t.bool(vm, "is_a_template"));
            t.by_uuid(Class::Vm, name).or_else(|| named.into_iter().next())
        });
        found.ok_or_else(|| Refusal(StatusCode::NOT_FOUND, format!("there is no virtual machine {name}")))
    }

    fn check_host(&self, position: usize) -> Result<(), Refusal> {
        let count = self.world.hosts.len();
        let missing = || Refusal(StatusCode::NOT_FOUND, format!("there are hosts 0 to {}", count - 1));
        (position < count).then_some(()).ok_or_else(missing)
    }

    fn reader(&self, uuid: &str) -> Result<Reader, Refusal> {
        let reader = self.world.storage.reader_of_any(uuid);
        reader.map_err(|error| Refusal(StatusCode::NOT_FOUND, error.to_string()))
    }
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
