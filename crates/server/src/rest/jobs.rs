//! `/jobs`: runs of one thing.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;
use xenkeep_api::{Job, JobKind, JobState, LogLine};
use xenkeep_catalog::JobFilter;

use super::App;
use super::extract::{Path, Query};
use super::problem::{ProblemDetails, Refusal};

/// Which jobs to list; what is absent does not restrict.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListJobs {
    /// Jobs in this state.
    state: Option<JobState>,
    /// Jobs of this kind.
    kind: Option<JobKind>,
    /// At most so many; 100 unless said otherwise, never more than 1000.
    limit: Option<u32>,
}

/// Jobs, the newest first.
#[utoipa::path(get, path = "/jobs", tag = "jobs", operation_id = "list_jobs", params(ListJobs),
    responses((status = 200, body = Vec<Job>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<ListJobs>,
) -> Result<axum::Json<Vec<Job>>, Refusal> {
    let filter = JobFilter { state: query.state, kind: query.kind };
    Ok(axum::Json(app.engine.jobs(&filter, query.limit).await?))
}

/// One job.
#[utoipa::path(get, path = "/jobs/{job}", tag = "jobs", operation_id = "show_job",
    params(("job" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(State(app): State<App>, Path(job): Path<String>) -> Result<axum::Json<Job>, Refusal> {
    Ok(axum::Json(app.engine.job(&job).await?))
}

/// Asks for the end of a job. A queued one has ended with this answer, a running one will soon.
#[utoipa::path(post, path = "/jobs/{job}/cancel", tag = "jobs", operation_id = "cancel_job",
    params(("job" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn cancel(State(app): State<App>, Path(job): Path<String>) -> Result<axum::Json<Job>, Refusal> {
    Ok(axum::Json(app.engine.cancel_job(&job).await?))
}

/// The log of a job.
#[utoipa::path(get, path = "/jobs/{job}/log", tag = "jobs", operation_id = "job_log",
    params(("job" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, body = Vec<LogLine>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn log(State(app): State<App>, Path(job): Path<String>) -> Result<axum::Json<Vec<LogLine>>, Refusal> {
    Ok(axum::Json(app.engine.job_log(&job).await?))
}

/// The answer to a request that started a job.
pub(crate) fn accepted(job: Job) -> impl IntoResponse + use<> {
    (StatusCode::ACCEPTED, [(header::LOCATION, format!("/api/v1/jobs/{}", job.id))], axum::Json(job))
}
