//! `/groups`: tasks that start together.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use xenkeep_api::{Group, GroupChange, NewGroup, StartRequest, Started};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// All groups, by name.
#[utoipa::path(get, path = "/groups", tag = "tasks", operation_id = "list_groups",
    responses((status = 200, body = Vec<Group>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<Group>>, Refusal> {
    Ok(axum::Json(app.engine.groups().await?))
}

/// Makes a group.
#[utoipa::path(post, path = "/groups", tag = "tasks", operation_id = "create_group", request_body = NewGroup,
    responses((status = 201, body = Group), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    Json(new): Json<NewGroup>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.create_group(new).await?)))
}

/// One group.
#[utoipa::path(get, path = "/groups/{group}", tag = "tasks", operation_id = "show_group",
    params(("group" = String, Path, description = "Name")),
    responses((status = 200, body = Group), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(State(app): State<App>, Path(group): Path<String>) -> Result<axum::Json<Group>, Refusal> {
    Ok(axum::Json(app.engine.group(&group).await?))
}

/// Takes tasks into a group, and others out of it.
#[utoipa::path(patch, path = "/groups/{group}", tag = "tasks", operation_id = "set_group", request_body = GroupChange,
    params(("group" = String, Path, description = "Name")),
    responses((status = 200, body = Group), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set(
    State(app): State<App>,
    Path(group): Path<String>,
    Json(change): Json<GroupChange>,
) -> Result<axum::Json<Group>, Refusal> {
    Ok(axum::Json(app.engine.change_group(&group, change).await?))
}

/// Removes a group; its tasks stay.
#[utoipa::path(delete, path = "/groups/{group}", tag = "tasks", operation_id = "remove_group",
    params(("group" = String, Path, description = "Name")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(group): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_group(&group).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts all tasks of a group: their jobs are queued together, or none is.
#[utoipa::path(post, path = "/groups/{group}/start", tag = "tasks", operation_id = "start_group", request_body = StartRequest,
    params(("group" = String, Path, description = "Name")),
    responses((status = 202, body = Started), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn start(
    State(app): State<App>,
    Path(group): Path<String>,
    Json(request): Json<StartRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::ACCEPTED, axum::Json(app.engine.start_group(&group, &request).await?)))
}
