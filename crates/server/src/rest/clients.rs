//! `/clients`: pools that are backed up.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;
use xenkeep_api::{Client, ClientChange, ClientCheck, ClientLimits, NewClient, Node, PoolInventory, PoolVm};

use super::App;
use super::extract::{Json, Path, Query};
use super::problem::{ProblemDetails, Refusal};

/// All clients, by name.
#[utoipa::path(get, path = "/clients", tag = "clients", operation_id = "list_clients",
    responses((status = 200, body = Vec<Client>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn list(State(app): State<App>) -> Result<axum::Json<Vec<Client>>, Refusal> {
    Ok(axum::Json(app.engine.clients().await?))
}

/// Adds a client. Answers when a login has worked and the certificate is pinned, or why it did not; then nothing is
/// left of it.
#[utoipa::path(post, path = "/clients", tag = "clients", operation_id = "add_client", request_body = NewClient,
    responses((status = 201, body = Client), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn add(
    State(app): State<App>,
    Json(new): Json<NewClient>,
) -> Result<impl IntoResponse + use<>, Refusal> {
    Ok((StatusCode::CREATED, axum::Json(app.engine.add_client(new).await?)))
}

/// One client.
#[utoipa::path(get, path = "/clients/{client}", tag = "clients", operation_id = "show_client",
    params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = Client), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn show(State(app): State<App>, Path(client): Path<String>) -> Result<axum::Json<Client>, Refusal> {
    Ok(axum::Json(app.engine.client(&client).await?))
}

/// Sets how many jobs may work on the client's pool at once: all of it, what is absent is as the server is set.
#[utoipa::path(put, path = "/clients/{client}/limits", tag = "clients", operation_id = "set_client_limits",
    request_body = ClientLimits, params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = Client), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set_limits(
    State(app): State<App>,
    Path(client): Path<String>,
    Json(limits): Json<ClientLimits>,
) -> Result<axum::Json<Client>, Refusal> {
    Ok(axum::Json(app.engine.set_client_limits(&client, &limits).await?))
}

/// Forgets a client. Refused while a job of it has not ended; its restore points stay.
#[utoipa::path(delete, path = "/clients/{client}", tag = "clients", operation_id = "remove_client",
    params(("client" = String, Path, description = "Name or id")),
    responses((status = 204), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn remove(State(app): State<App>, Path(client): Path<String>) -> Result<StatusCode, Refusal> {
    app.engine.remove_client(&client).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Changes a client. What it is to become is tried with a login first; if that fails, nothing is changed.
#[utoipa::path(patch, path = "/clients/{client}", tag = "clients", operation_id = "set_client", request_body = ClientChange,
    params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = Client), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn set(
    State(app): State<App>,
    Path(client): Path<String>,
    Json(change): Json<ClientChange>,
) -> Result<axum::Json<Client>, Refusal> {
    Ok(axum::Json(app.engine.set_client(&client, change).await?))
}

/// Looks at the client's pool: name, ports, certificate, login, rights, hosts, clock, storage, networks, licence, leftovers.
/// Answers with each finding, its reason and its cure, also when the login fails.
#[utoipa::path(post, path = "/clients/{client}/check", tag = "clients", operation_id = "check_client",
    params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = ClientCheck), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn check(
    State(app): State<App>,
    Path(client): Path<String>,
) -> Result<axum::Json<ClientCheck>, Refusal> {
    Ok(axum::Json(app.engine.check_client(&client).await?))
}

/// The VMs that are on the client's pool now.
#[utoipa::path(get, path = "/clients/{client}/vms", tag = "clients", operation_id = "list_vms",
    params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = Vec<PoolVm>), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn vms(
    State(app): State<App>,
    Path(client): Path<String>,
) -> Result<axum::Json<Vec<PoolVm>>, Refusal> {
    Ok(axum::Json(app.engine.vms(&client).await?))
}

/// All that is on the client's pool now: hosts, SRs, networks, VMs.
#[utoipa::path(get, path = "/clients/{client}/inventory", tag = "clients", operation_id = "client_inventory",
    params(("client" = String, Path, description = "Name or id")),
    responses((status = 200, body = PoolInventory), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn inventory(
    State(app): State<App>,
    Path(client): Path<String>,
) -> Result<axum::Json<PoolInventory>, Refusal> {
    Ok(axum::Json(app.engine.inventory(&client).await?))
}

/// Where in the tree.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BrowseQuery {
    /// Path of a node, such as `vms/web1`; slashes in names are written `%2F` (and thus `%252F` in the query). The root if
    /// absent.
    #[serde(default)]
    path: String,
}

/// The client's pool as a tree, from a node on. Nodes that can be backed up name their source.
#[utoipa::path(get, path = "/clients/{client}/browse", tag = "clients", operation_id = "browse_client",
    params(("client" = String, Path, description = "Name or id"), BrowseQuery),
    responses((status = 200, body = Node), (status = "default", body = ProblemDetails, content_type = "application/problem+json")))]
pub(crate) async fn browse(
    State(app): State<App>,
    Path(client): Path<String>,
    Query(query): Query<BrowseQuery>,
) -> Result<axum::Json<Node>, Refusal> {
    Ok(axum::Json(app.engine.browse(&client, &query.path).await?))
}
