//! `/datastores`: where backups lie.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use xenkeep_api::{Datastore, NewDatastore, RecoverySheet};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// All datastores, by name.
#[utoipa::path(get, path = "/datastores", tag = "datastores", operation_id = "list_datastores",
    responses((status = 200, body = Vec<Datastore>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<Datastore>>, Refusal> {
    Ok(axum::Json(app.engine.datastores().await?))
}

/// Creates a datastore. Answers when its repository is there, or why it could not be made.
#[utoipa::path(post, path = "/datastores", tag = "datastores", operation_id = "create_datastore", request_body = NewDatastore,
    responses((status = 201, body = Datastore), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    Json(new): Json<NewDatastore>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.create_datastore(new).await?)))
}

/// One datastore.
#[utoipa::path(get, path = "/datastores/{datastore}", tag = "datastores", operation_id = "show_datastore",
    params(("datastore" = String, Path, description = "Name or id")),
    responses((status = 200, body = Datastore), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(
    State(app): State<App>,
    Path(datastore): Path<String>,
) -> Result<axum::Json<Datastore>, Refusal> {
    Ok(axum::Json(app.engine.datastore(&datastore).await?))
}

/// The password of a datastore's repository, for the safe. The one answer of this API that holds a secret.
#[utoipa::path(get, path = "/datastores/{datastore}/recovery-sheet", tag = "datastores", operation_id = "recovery_sheet",
    params(("datastore" = String, Path, description = "Name or id")),
    responses((status = 200, body = RecoverySheet), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn recovery_sheet(
    State(app): State<App>,
    Path(datastore): Path<String>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    let sheet = app.engine.recovery_sheet(&datastore).await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(sheet)))
}

/// Forgets a datastore; its files stay. Refused while it holds restore points or a job uses it.
#[utoipa::path(delete, path = "/datastores/{datastore}", tag = "datastores", operation_id = "remove_datastore",
    params(("datastore" = String, Path, description = "Name or id")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(datastore): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_datastore(&datastore).await?;
    Ok(StatusCode::NO_CONTENT)
}
