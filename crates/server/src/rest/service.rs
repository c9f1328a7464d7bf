//! What is about the server itself: its health, and answers to requests that fit nothing.

use std::any::Any;

use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use xenkeep_api::Problem;

use super::problem::Refusal;

/// That the server is up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`.
    status: &'static str,
    /// Version of the server.
    version: &'static str,
}

/// Whether the server is up. Asks for no token.
#[utoipa::path(get, path = "/health", tag = "service", security(()), responses((status = 200, body = Health)))]
pub(crate) async fn health() -> axum::Json<Health> {
    axum::Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

pub(crate) async fn no_such_path(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    let problem = Problem::new("request.no_such_path", format!("there is nothing at {path}"));
    Refusal::new(StatusCode::NOT_FOUND, problem.hint("/api/v1/openapi.json lists all calls"))
}

pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    let problem = Problem::new("request.no_such_method", format!("{method} does not work at {path}"));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, problem.hint("/api/v1/openapi.json lists all calls"))
}

/// A defect of ours. The panic itself has been logged by the process.
pub(crate) fn broke_down(_: Box<dyn Any + Send>) -> Response {
    let problem = Problem::new("internal", "xenkeep broke down over this request");
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, problem.hint("look into the server's log")).into_response()
}

/// Path only: neither headers (the token) nor the query.
pub(crate) fn span(request: &Request) -> tracing::Span {
    tracing::debug_span!("request", method = %request.method(), path = request.uri().path())
}
