//! Paths, queries and bodies of requests, with problems for those that can't be read.

use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use xenkeep_api::Problem;

use super::problem::Refusal;

/// How long a client may take over the body of a request.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// A body of JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let read = axum::Json::<T>::from_request(request, state);
        match tokio::time::timeout(BODY_TIMEOUT, read).await {
            Ok(Ok(axum::Json(value))) => Ok(Self(value)),
            Ok(Err(rejection)) => Err(json_refusal(&rejection)),
            Err(_) => {
                let problem = Problem::new("request.too_slow", "the body of the request did not arrive in time");
                Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, problem))
            }
        }
    }
}

fn json_refusal(rejection: &JsonRejection) -> Refusal {
    let problem = match rejection {
        // The rejection's text names the place; it quotes keys, not values of strings.
        JsonRejection::JsonDataError(_) => Problem::new("request.invalid", one_line(&rejection.body_text())),
        JsonRejection::JsonSyntaxError(_) => Problem::new("request.not_json", one_line(&rejection.body_text())),
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new("request.not_json", "the body of the request is not declared as JSON")
                .hint("send the header Content-Type: application/json")
        }
        _ if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new("request.too_large", "the body of the request is too large")
        }
        _ => Problem::new("request.unreadable", "the body of the request can't be read"),
    };
    Refusal::new(rejection.status(), problem)
}

/// The parameters in a path.
#[derive(Debug)]
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(path_refusal(&rejection)),
        }
    }
}

fn path_refusal(rejection: &PathRejection) -> Refusal {
    Refusal::new(rejection.status(), Problem::new("request.invalid", one_line(&rejection.body_text())))
}

/// The parameters after the question mark.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(query_refusal(&rejection)),
        }
    }
}

fn query_refusal(rejection: &QueryRejection) -> Refusal {
    Refusal::new(rejection.status(), Problem::new("request.invalid", one_line(&rejection.body_text())))
}

/// Text of a parser, which may quote what it was given.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}
