//! `/datastores/{datastore}/prune`, `verify`, `copy`: upkeep. Each answers at once; follow the job.

use axum::extract::State;
use axum::response::IntoResponse;
use xenkeep_api::{CopyRequest, Job, PruneRequest, VerifyRequest};

use super::App;
use super::extract::{Json, Path};
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Queues a prune: frees what no restore point refers to. What it has marked is deleted by a later one, once nobody can
/// need it any more.
#[utoipa::path(post, path = "/datastores/{datastore}/prune", tag = "datastores", operation_id = "prune_datastore",
    params(("datastore" = String, Path, description = "Name or id")), request_body = PruneRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn prune(
    State(app): State<App>,
    Path(datastore): Path<String>,
    Json(request): Json<PruneRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.prune(&datastore, request).await?))
}

/// Queues a verification: sees whether all that is stored can be read. A job that finds damage fails; its result says
/// what the damage touches.
#[utoipa::path(post, path = "/datastores/{datastore}/verify", tag = "datastores", operation_id = "verify_datastore",
    params(("datastore" = String, Path, description = "Name or id")), request_body = VerifyRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn verify(
    State(app): State<App>,
    Path(datastore): Path<String>,
    Json(request): Json<VerifyRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.verify(&datastore, request).await?))
}

/// Queues a copy of restore points to another datastore. Only what is missing there is read.
#[utoipa::path(post, path = "/datastores/{datastore}/copy", tag = "datastores", operation_id = "copy_points",
    params(("datastore" = String, Path, description = "Name or id of the datastore to copy from")), request_body = CopyRequest,
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn copy(
    State(app): State<App>,
    Path(datastore): Path<String>,
    Json(request): Json<CopyRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.copy(&datastore, request).await?))
}
