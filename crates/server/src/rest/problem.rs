//! Answers that are not successes: `application/problem+json` with `status`, `code`, `message`, and often `hint` and `about`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use xenkeep_api::Problem;

use crate::Error;

/// A problem with its HTTP status (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProblemDetails {
    /// HTTP status of this answer.
    status: u16,
    #[serde(flatten)]
    problem: Problem,
}

/// A request that is refused, or has failed.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    problem: Problem,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, problem: Problem) -> Self {
        Self { status, problem }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Invalid(_) | Error::JobFailed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Refused(_) => StatusCode::FORBIDDEN,
            Error::Conflict(_) | Error::LeaseLost(_) => StatusCode::CONFLICT,
            Error::Timeout(_) | Error::NoReader(_) => StatusCode::GATEWAY_TIMEOUT,
            Error::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            error => {
                tracing::error!(error = error as &dyn std::error::Error, "a request failed");
                if error.is_transient() { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR }
            }
        };
        Self { status, problem: error.problem() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ProblemDetails { status: self.status.as_u16(), problem: self.problem };
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"xenkeep\""));
        }
        response
    }
}

pub(crate) fn no_token() -> Refusal {
    let problem = Problem::new("auth.no_token", "this call asks for a token").hint(
        "send the header Authorization: Bearer <token>; the first token lies in the file token of the data directory",
    );
    Refusal::new(StatusCode::UNAUTHORIZED, problem)
}

pub(crate) fn wrong_token() -> Refusal {
    let problem = Problem::new("auth.wrong_token", "this token is not known here")
        .hint("the token in the file token of this server's data directory is good");
    Refusal::new(StatusCode::UNAUTHORIZED, problem)
}

pub(crate) fn no_mover_token() -> Refusal {
    let problem = Problem::new("auth.wrong_token", "this token is that of no mover")
        .hint("`xenkeep mover add NAME` makes one; a mover that was removed needs a new one");
    Refusal::new(StatusCode::UNAUTHORIZED, problem)
}
