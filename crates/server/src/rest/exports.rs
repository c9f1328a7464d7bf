//! `/exports`: queues an export.

use axum::extract::State;
use axum::response::IntoResponse;
use xenkeep_api::{ExportRequest, Job};

use super::App;
use super::extract::Json;
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Queues an export. Its stream is read at `/jobs/{job}/content`. Answers at once; follow the job.
#[utoipa::path(post, path = "/exports", tag = "jobs", operation_id = "export", request_body = ExportRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn start(
    State(app): State<App>,
    Json(request): Json<ExportRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.export(request).await?))
}
