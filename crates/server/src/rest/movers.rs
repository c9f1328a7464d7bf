//! `/movers`: the machines that move data.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use xenkeep_api::{AddedMover, Client, Datastore, Mover, MoverChoice, NewMover};

use super::App;
use super::extract::{Json, Path};
use super::problem::{ProblemDetails, Refusal};

/// All movers, by name.
#[utoipa::path(get, path = "/movers", tag = "movers", operation_id = "list_movers",
    responses((status = 200, body = Vec<Mover>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<Mover>>, Refusal> {
    Ok(axum::Json(app.engine.movers().await?))
}

/// Adds a mover. Its token is in this answer and nowhere else.
#[utoipa::path(post, path = "/movers", tag = "movers", operation_id = "add_mover", request_body = NewMover,
    responses((status = 201, body = AddedMover), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn add(
    State(app): State<App>,
    Json(new): Json<NewMover>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.add_mover(new).await?)))
}

/// Removes a mover: its token opens nothing from now on, and what it runs is taken over when its leases run out.
#[utoipa::path(delete, path = "/movers/{mover}", tag = "movers", operation_id = "remove_mover",
    params(("mover" = String, Path, description = "Name")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(mover): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_mover(&mover).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Chooses the mover that does the jobs of a client: one, or `any`.
#[utoipa::path(put, path = "/clients/{client}/movers", tag = "movers", operation_id = "set_client_mover",
    params(("client" = String, Path, description = "Name or id")), request_body = MoverChoice,
    responses((status = 200, body = Client), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set_of_client(
    State(app): State<App>,
    Path(client): Path<String>,
    Json(choice): Json<MoverChoice>,
) -> Result<axum::Json<Client>, Refusal> {
    Ok(axum::Json(app.engine.set_client_mover(&client, &choice).await?))
}

/// Says which movers reach a datastore: some, or `any`.
#[utoipa::path(put, path = "/datastores/{datastore}/movers", tag = "movers", operation_id = "set_datastore_movers",
    params(("datastore" = String, Path, description = "Name or id")), request_body = MoverChoice,
    responses((status = 200, body = Datastore), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set_of_datastore(
    State(app): State<App>,
    Path(datastore): Path<String>,
    Json(choice): Json<MoverChoice>,
) -> Result<axum::Json<Datastore>, Refusal> {
    Ok(axum::Json(app.engine.set_datastore_movers(&datastore, &choice).await?))
}
