//! `/restores`: queues a restore.

use axum::extract::State;
use axum::response::IntoResponse;
use xenkeep_api::{Job, RestorePlan, RestoreRequest};

use super::App;
use super::extract::Json;
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Queues a restore. Answers at once; follow the job.
#[utoipa::path(post, path = "/restores", tag = "jobs", operation_id = "restore", request_body = RestoreRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn start(
    State(app): State<App>,
    Json(request): Json<RestoreRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.restore(request).await?))
}

/// Says what a restore would do: what is removed, where disks and networks go, whether there is room. Changes nothing.
#[utoipa::path(post, path = "/restores/plan", tag = "jobs", operation_id = "plan_restore", request_body = RestoreRequest,
    responses((status = 200, body = RestorePlan), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn plan(
    State(app): State<App>,
    Json(request): Json<RestoreRequest>,
) -> Result<axum::Json<RestorePlan>, Refusal> {
    Ok(axum::Json(app.engine.plan_restore(request).await?))
}
