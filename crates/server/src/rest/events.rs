//! `/jobs/{job}/events`: a job as it goes, by server-sent events.

use std::convert::Infallible;

use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::StreamExt;

use super::App;
use super::extract::Path;
use super::problem::{ProblemDetails, Refusal};

/// The job as it is now, then whenever it changes and twice a second while it runs: events `job`, whose data are the
/// job as JSON. Ends after the final state; a stream that ends before has been cut.
#[utoipa::path(get, path = "/jobs/{job}/events", tag = "jobs", operation_id = "job_events",
    params(("job" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, content_type = "text/event-stream", body = String), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn follow(
    State(app): State<App>,
    Path(job): Path<String>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let jobs = app.engine.follow_job(&job).await?;
    let events = jobs.map(|job| {
        let event = Event::default().event("job").json_data(&job);
        Ok::<_, Infallible>(event.unwrap_or_else(|_| Event::default().comment("unreadable")))
    });
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        // Proxies of the nginx kind would hold events back to fill their buffers.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Sse::new(events).keep_alive(KeepAlive::default())))
}
