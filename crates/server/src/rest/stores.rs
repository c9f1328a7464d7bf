//! `/attachments`, `/datastores/{datastore}/rescan`, `/datastores/{datastore}/keys`: repositories that are there, and
//! their passwords.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use xenkeep_api::{AttachRequest, Attached, DatastoreKey, Job, NewKey};

use super::App;
use super::extract::{Json, Path};
use super::jobs::accepted;
use super::problem::{ProblemDetails, Refusal};

/// Makes a repository that is there already known as a datastore. Answers when it could be opened, with the job that
/// finds its restore points.
#[utoipa::path(post, path = "/attachments", tag = "datastores", operation_id = "attach_datastore", request_body = AttachRequest,
    responses((status = 201, body = Attached), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn attach(
    State(app): State<App>,
    Json(request): Json<AttachRequest>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.attach_datastore(request).await?)))
}

/// Queues a comparison of catalogue and repository: points that are not known are added, those that are gone removed,
/// and those that can't be read named.
#[utoipa::path(post, path = "/datastores/{datastore}/rescan", tag = "datastores", operation_id = "rescan_datastore",
    params(("datastore" = String, Path, description = "Name or id")),
    responses((status = 202, body = Job), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn rescan(
    State(app): State<App>,
    Path(datastore): Path<String>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok(accepted(app.engine.rescan_datastore(&datastore).await?))
}

/// The passwords of a repository: what is known of them, not they themselves.
#[utoipa::path(get, path = "/datastores/{datastore}/keys", tag = "datastores", operation_id = "list_datastore_keys",
    params(("datastore" = String, Path, description = "Name or id")),
    responses((status = 200, body = Vec<DatastoreKey>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn keys(
    State(app): State<App>,
    Path(datastore): Path<String>,
) -> Result<axum::Json<Vec<DatastoreKey>>, Refusal> {
    Ok(axum::Json(app.engine.datastore_keys(&datastore).await?))
}

/// Adds a password to a repository; answers with all that there are then. Whoever has it can read everything in it.
#[utoipa::path(post, path = "/datastores/{datastore}/keys", tag = "datastores", operation_id = "add_datastore_key",
    params(("datastore" = String, Path, description = "Name or id")), request_body = NewKey,
    responses((status = 201, body = Vec<DatastoreKey>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn add_key(
    State(app): State<App>,
    Path(datastore): Path<String>,
    Json(new): Json<NewKey>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.add_datastore_key(&datastore, new).await?)))
}

/// Removes a password of a repository. Refused for the one that xenkeep itself uses.
#[utoipa::path(delete, path = "/datastores/{datastore}/keys/{key}", tag = "datastores", operation_id = "remove_datastore_key",
    params(("datastore" = String, Path, description = "Name or id"), ("key" = String, Path, description = "Id of the key, or its beginning")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove_key(
    State(app): State<App>,
    Path((datastore, key)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    app.engine.remove_datastore_key(&datastore, &key).await?;
    Ok(StatusCode::NO_CONTENT)
}
