//! `/points/forget`, `/retention`, `/points/{point}/protection`: which restore points go, and which must not.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use xenkeep_api::{ForgetRequest, Job, Point, ProtectRequest, RetentionPlan, RetentionRequest, RetentionStarted};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// Removes restore points for good: a job for each datastore that holds some of them. Refused when one is protected, or
/// read by a job. The space that they took is freed by a prune.
#[utoipa::path(post, path = "/points/forget", tag = "points", operation_id = "forget_points", request_body = ForgetRequest,
    responses((status = 202, body = Vec<Job>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn forget(
    State(app): State<App>,
    Json(request): Json<ForgetRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::ACCEPTED, axum::Json(app.engine.forget(&request).await?)))
}

/// What a policy would keep and remove now, and why. Nothing is done.
#[utoipa::path(post, path = "/retention/preview", tag = "points", operation_id = "preview_retention", request_body = RetentionRequest,
    responses((status = 200, body = RetentionPlan), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn preview(
    State(app): State<App>,
    Json(request): Json<RetentionRequest>,
) -> Result<axum::Json<RetentionPlan>, Refusal> {
    Ok(axum::Json(app.engine.plan_retention(&request).await?))
}

/// Applies a policy: removes what it does not keep. Protected points, the last good one of each VM and points that a job
/// reads stay.
#[utoipa::path(post, path = "/retention", tag = "points", operation_id = "apply_retention", request_body = RetentionRequest,
    responses((status = 202, body = RetentionStarted), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn apply(
    State(app): State<App>,
    Json(request): Json<RetentionRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::ACCEPTED, axum::Json(app.engine.apply_retention(&request).await?)))
}

/// Protects a restore point from being removed, with a reason; an earlier one is replaced.
#[utoipa::path(put, path = "/points/{point}/protection", tag = "points", operation_id = "protect_point",
    params(("point" = String, Path, description = "Id, or the beginning of one")), request_body = ProtectRequest,
    responses((status = 200, body = Point), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn protect(
    State(app): State<App>,
    Path(point): Path<String>,
    Json(request): Json<ProtectRequest>,
) -> Result<axum::Json<Point>, Refusal> {
    Ok(axum::Json(app.engine.protect_point(&point, request).await?))
}

/// Lifts the protection of a restore point.
#[utoipa::path(delete, path = "/points/{point}/protection", tag = "points", operation_id = "unprotect_point",
    params(("point" = String, Path, description = "Id, or the beginning of one")),
    responses((status = 200, body = Point), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn unprotect(State(app): State<App>, Path(point): Path<String>) -> Result<axum::Json<Point>, Refusal> {
    Ok(axum::Json(app.engine.unprotect_point(&point).await?))
}
