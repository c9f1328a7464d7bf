//! `/mover`: what movers on other machines call, each with its own token, which opens nothing else.
//!
//! A mover is believed about its own jobs alone, and what it sends is bounded: a body by its route, the lines of a log by
//! their number, the numbers of a job by their length.

use std::net::{IpAddr, SocketAddr};

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use uuid::Uuid;
use xenkeep_api::{
    Fence, Finish, JobId, JournalEntry, JournalWrite, LeasedJob, LogLine, MoverHello, MoverWelcome, Occupation,
    Occupied, Problem, Renewal, Renewed,
};

use super::App;
use super::extract::{Json, Path, Query};
use super::problem::{self, ProblemDetails, Refusal};
use crate::Error;

/// Largest report of a job: the points of a large datastore that was rescanned.
pub(crate) const MAX_REPORT: usize = 64 << 20;
/// Largest entry of a journal: it may hold the metadata of a VM.
pub(crate) const MAX_ENTRY: usize = 16 << 20;
/// Lines of a log in one renewal.
const MAX_LINES: usize = 2000;
/// Disks whose progress is told, and the longest word about one.
const MAX_DISKS: usize = 1024;
const MAX_WORD: usize = 256;

/// The mover that calls.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    mover: String,
    address: Option<IpAddr>,
}

/// Lets through who bears the token of a mover.
pub(crate) async fn admit(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let Some(token) = super::token_of(&request) else { return Err(problem::no_token()) };
    let Some(mover) = app.engine.mover_of_token(token).await? else { return Err(problem::no_mover_token()) };
    let address = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(at)| at.ip());
    request.extensions_mut().insert(Caller { mover, address });
    Ok(next.run(request).await)
}

/// Says who calls, and hears who answers.
#[utoipa::path(post, path = "/mover/hello", tag = "mover", operation_id = "mover_hello", request_body = MoverHello,
    responses((status = 200, body = MoverWelcome), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn hello(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Json(hello): Json<MoverHello>,
) -> Result<axum::Json<MoverWelcome>, Refusal> {
    Ok(axum::Json(app.engine.hear_mover(&caller.mover, hello, caller.address).await?))
}

/// Waits some seconds for a job, and lends it with its secrets. 204 when there was none.
#[utoipa::path(post, path = "/mover/lease", tag = "mover", operation_id = "mover_lease", request_body = MoverHello,
    responses((status = 200, body = LeasedJob), (status = 204, description = "No job"),
        (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn lease(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Json(hello): Json<MoverHello>,
) -> Result<Response, Refusal> {
    app.engine.hear_mover(&caller.mover, hello, caller.address).await?;
    Ok(match app.engine.lease(&caller.mover).await? {
        Some(job) => axum::Json(job).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Keeps a lease, with the numbers and lines since the last time.
#[utoipa::path(post, path = "/mover/jobs/{job}/renew", tag = "mover", operation_id = "mover_renew",
    params(("job" = JobId, Path)), request_body = Renewal,
    responses((status = 200, body = Renewed), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn renew(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<JobId>,
    Json(renewal): Json<Renewal>,
) -> Result<axum::Json<Renewed>, Refusal> {
    let Renewal { fence, progress, log } = renewal;
    app.engine.check_holder(&caller.mover, job, fence).await?;
    let disks = progress.disks.len() <= MAX_DISKS && progress.disks.iter().all(|disk| disk.position.len() <= MAX_WORD);
    if !disks || progress.step.len() > MAX_WORD || log.len() > MAX_LINES {
        let problem = Problem::new("request.too_large", "a renewal says more than any job has to say");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, problem));
    }
    let log = log.into_iter().map(plain).collect();
    let directive = app.engine.renew(job, fence, &progress, log).await?;
    Ok(axum::Json(Renewed { directive }))
}

/// A line that moves no cursor on anybody's terminal.
fn plain(line: LogLine) -> LogLine {
    let clean = |text: String| match text.contains(char::is_control) {
        true => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        false => text,
    };
    LogLine { step: clean(line.step), text: clean(line.text), ..line }
}

/// Says where a job is about to work; the answer names what it must wait for first, if it must.
#[utoipa::path(post, path = "/mover/jobs/{job}/occupy", tag = "mover", operation_id = "mover_occupy",
    params(("job" = JobId, Path)), request_body = Occupation,
    responses((status = 200, body = Occupied), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn occupy(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<JobId>,
    Json(Occupation { fence, places }): Json<Occupation>,
) -> Result<axum::Json<Occupied>, Refusal> {
    app.engine.check_holder(&caller.mover, job, fence).await?;
    if places.srs.len() > MAX_DISKS || places.srs.iter().chain(&places.host).any(|uuid| uuid.len() > MAX_WORD) {
        let problem = Problem::new("request.too_large", "no job works in so many places");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, problem));
    }
    let wait = app.engine.occupy(job, fence, &places).await?;
    Ok(axum::Json(Occupied { wait }))
}

/// Keeps an entry of a job's journal; durable when this is answered.
#[utoipa::path(put, path = "/mover/jobs/{job}/journal/{entry}", tag = "mover", operation_id = "mover_journal_write",
    params(("job" = JobId, Path), ("entry" = Uuid, Path)), request_body = JournalWrite,
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn journal_write(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((job, id)): Path<(JobId, Uuid)>,
    Json(JournalWrite { fence, what }): Json<JournalWrite>,
) -> Result<StatusCode, Refusal> {
    app.engine.check_holder(&caller.mover, job, fence).await?;
    app.engine.journal_write(job, fence, &JournalEntry { id, what }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets an entry of a job's journal.
#[utoipa::path(delete, path = "/mover/jobs/{job}/journal/{entry}", tag = "mover", operation_id = "mover_journal_clear",
    params(("job" = JobId, Path), ("entry" = Uuid, Path), ("fence" = i64, Query)),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn journal_clear(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path((job, entry)): Path<(JobId, Uuid)>,
    Query(Fence { fence }): Query<Fence>,
) -> Result<StatusCode, Refusal> {
    app.engine.check_holder(&caller.mover, job, fence).await?;
    app.engine.journal_clear(job, fence, entry).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends a job.
#[utoipa::path(post, path = "/mover/jobs/{job}/finish", tag = "mover", operation_id = "mover_finish",
    params(("job" = JobId, Path)), request_body = Finish,
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn finish(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<JobId>,
    Json(Finish { fence, report }): Json<Finish>,
) -> Result<StatusCode, Refusal> {
    app.engine.check_holder(&caller.mover, job, fence).await?;
    app.engine.finish(job, fence, &report).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Waits, not for ever, until somebody reads the stream of an export.
#[utoipa::path(post, path = "/mover/jobs/{job}/reader", tag = "mover", operation_id = "mover_await_reader",
    params(("job" = JobId, Path)), request_body = Fence,
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn reader(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<JobId>,
    Json(Fence { fence }): Json<Fence>,
) -> Result<StatusCode, Refusal> {
    app.engine.check_holder(&caller.mover, job, fence).await?;
    app.engine.await_reader(job, fence).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes the stream of an export and hands it through unread, as fast as it is read. A stream that breaks off is told
/// the reader as broken.
#[utoipa::path(put, path = "/mover/jobs/{job}/content", tag = "mover", operation_id = "mover_content",
    params(("job" = JobId, Path), ("fence" = i64, Query)), request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn content(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(job): Path<JobId>,
    Query(Fence { fence }): Query<Fence>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    app.engine.check_holder(&caller.mover, job, fence).await?;
    let sender = app.engine.content(job, fence).await?;
    let mut pieces = body.into_data_stream();
    loop {
        let piece = tokio::select! {
            piece = pieces.next() => piece,
            // The reader has gone, or the job has ended: a mover that says nothing must not hold the line.
            () = sender.closed() => break Err(Error::NoReader(job).into()),
        };
        let sent = match piece {
            None => break Ok(StatusCode::NO_CONTENT),
            Some(Ok(piece)) => sender.send(Ok(piece)).await,
            Some(Err(_)) => {
                let problem = Problem::new("export.interrupted", "the export ended before its last byte");
                sender.send(Err(problem)).await
            }
        };
        if sent.is_err() {
            break Err(Error::NoReader(job).into());
        }
    }
}
