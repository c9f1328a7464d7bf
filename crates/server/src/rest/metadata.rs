//! `/backups/meta-data`, `/restores/meta-data`: pools' own databases.

use axum::extract::State;
use axum::response::IntoResponse;
use xenkeep_api::{Job, MetaDataBackupRequest, MetaDataRestoreRequest};

use super::App;
use super::extract::Json;
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Queues a backup of a pool's database. Answers at once; follow the job.
#[utoipa::path(post, path = "/backups/meta-data", tag = "jobs", operation_id = "back_up_meta_data", request_body = MetaDataBackupRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn back_up(
    State(app): State<App>,
    Json(request): Json<MetaDataBackupRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.back_up_meta_data(request).await?))
}

/// Has a pool look whether it would take a database, or, with the pool's name as confirmation, replace its own by it: then it
/// forgets all members, and its master restarts. Answers at once; follow the job.
#[utoipa::path(post, path = "/restores/meta-data", tag = "jobs", operation_id = "restore_meta_data", request_body = MetaDataRestoreRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn restore(
    State(app): State<App>,
    Json(request): Json<MetaDataRestoreRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.restore_meta_data(request).await?))
}
