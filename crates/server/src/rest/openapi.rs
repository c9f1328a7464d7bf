//! The description of the API, made from the routes themselves.

use axum::response::IntoResponse;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "xenkeep",
        description = "Backup and restore of XenServer and XCP-ng pools.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    servers((url = "/api/v1")),
    security(("token" = [])),
    modifiers(&Token),
    // Named in parameters alone, where nobody else brings them in.
    components(schemas(xenkeep_api::JobKind, xenkeep_api::JobState)),
    tags(
        (name = "clients", description = "Pools that are backed up"),
        (name = "datastores", description = "Where backups lie"),
        (name = "drives", description = "Numbered ways into a datastore, each with so many channels"),
        (name = "jobs", description = "Runs of one thing"),
        (name = "movers", description = "Machines that move data"),
        (name = "mover", description = "What a mover calls, with its own token"),
        (name = "points", description = "What can be restored"),
        (name = "tasks", description = "What is backed up, in groups or alone, and starts of it"),
        (name = "schedules", description = "When something starts"),
        (name = "reports", description = "What people are told without asking"),
        (name = "service", description = "The server itself"),
    )
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The first token lies in the file `token` of the data directory."))
            .build();
        openapi.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description of the API (OpenAPI 3.1) as JSON, the same for every build of one version.
#[must_use]
pub fn openapi_json() -> String {
    let routes = super::protected().merge(super::for_movers()).merge(super::open()).into_openapi();
    let mut description = Description::openapi();
    description.merge(routes);
    let mut text = description.to_pretty_json().expect("a description made of strings serialises");
    text.push('\n');
    text
}

/// The description of this API. Asks for no token.
#[utoipa::path(get, path = "/openapi.json", tag = "service", security(()), responses((status = 200, description = "OpenAPI 3.1")))]
pub(crate) async fn serve() -> impl IntoResponse {
    ([(axum::http::header::CONTENT_TYPE, "application/json")], openapi_json())
}
