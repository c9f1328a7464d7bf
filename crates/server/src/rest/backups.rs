//! `/backups`: queues a backup of one VM.

use axum::extract::State;
use axum::response::IntoResponse;
use xenkeep_api::{BackupRequest, Job};

use super::App;
use super::extract::Json;
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Queues a backup of one VM. Answers at once; follow the job.
#[utoipa::path(post, path = "/backups", tag = "jobs", operation_id = "back_up", request_body = BackupRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn start(
    State(app): State<App>,
    Json(request): Json<BackupRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.back_up(request).await?))
}
