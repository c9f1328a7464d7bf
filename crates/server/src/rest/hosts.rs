//! `/backups/hosts`, `/restores/hosts`: control domains of hosts.

use axum::extract::State;
use axum::response::IntoResponse;
use xenkeep_api::{HostBackupRequest, HostRestoreRequest, Job};

use super::App;
use super::extract::Json;
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Queues the backup of a host, or of every host of a pool: a point each. Answers at once; follow the job.
#[utoipa::path(post, path = "/backups/hosts", tag = "jobs", operation_id = "back_up_hosts", request_body = HostBackupRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn back_up(
    State(app): State<App>,
    Json(request): Json<HostBackupRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.back_up_hosts(request).await?))
}

/// Puts a host's backup on its backup partition, which is formatted; the running system stays as it is. Answers at once; follow
/// the job.
#[utoipa::path(post, path = "/restores/hosts", tag = "jobs", operation_id = "restore_host", request_body = HostRestoreRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn restore(
    State(app): State<App>,
    Json(request): Json<HostRestoreRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.restore_host(request).await?))
}
