//! `/drives`: numbered ways into a datastore.

use axum::extract::State;
use axum::http::StatusCode;
use xenkeep_api::{DriveChange, DriveState, NewDrive};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// All drives, by number, with what goes on at them.
#[utoipa::path(get, path = "/drives", tag = "drives", operation_id = "list_drives",
    responses((status = 200, body = Vec<DriveState>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<DriveState>>, Refusal> {
    Ok(axum::Json(app.engine.drives().await?))
}

/// Makes a drive.
#[utoipa::path(post, path = "/drives", tag = "drives", operation_id = "create_drive", request_body = NewDrive,
    responses((status = 201, body = DriveState), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    Json(new): Json<NewDrive>,
) -> Result<(StatusCode, axum::Json<DriveState>), Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.create_drive(new).await?)))
}

/// A drive with what goes on at it: which jobs hold its channels, which wait and why.
#[utoipa::path(get, path = "/drives/{drive}", tag = "drives", operation_id = "show_drive",
    params(("drive" = u32, Path, description = "Number")),
    responses((status = 200, body = DriveState), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(State(app): State<App>, Path(drive): Path<u32>) -> Result<axum::Json<DriveState>, Refusal> {
    Ok(axum::Json(app.engine.drive(drive).await?))
}

/// Changes a drive. More channels are used at once; fewer stop no job that runs.
#[utoipa::path(patch, path = "/drives/{drive}", tag = "drives", operation_id = "set_drive", request_body = DriveChange,
    params(("drive" = u32, Path, description = "Number")),
    responses((status = 200, body = DriveState), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set(
    State(app): State<App>,
    Path(drive): Path<u32>,
    Json(change): Json<DriveChange>,
) -> Result<axum::Json<DriveState>, Refusal> {
    Ok(axum::Json(app.engine.set_drive(drive, change).await?))
}

/// Removes a drive. Refused while a job waits for it or writes through it.
#[utoipa::path(delete, path = "/drives/{drive}", tag = "drives", operation_id = "remove_drive",
    params(("drive" = u32, Path, description = "Number")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(drive): Path<u32>) -> Result<StatusCode, Refusal> {
    app.engine.remove_drive(drive).await?;
    Ok(StatusCode::NO_CONTENT)
}
