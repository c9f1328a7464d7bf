//! The REST API: requests in, calls of the engine, answers out. One file a noun.
//!
//! Below `/api/v1`; every call but `/health` and `/openapi.json` asks for a bearer token. Whatever is not a success,
//! down to unknown paths and unreadable bodies, is answered as a problem ([`problem`]). Paths, parameters and answers are
//! described where they are implemented; [`openapi_json`] is made from that.

mod backups;
mod clients;
mod content;
mod datastores;
mod drives;
mod events;
mod exports;
mod extract;
mod groups;
mod hosts;
mod jobs;
mod leases;
mod metadata;
mod movers;
mod openapi;
mod points;
mod problem;
mod reports;
mod restores;
mod retention;
mod schedules;
mod service;
mod stores;
mod tasks;
mod upkeep;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::Refusal;
use crate::Engine;
use crate::auth::Tokens;

pub use self::openapi::openapi_json;

/// Largest body of a request; the largest that makes sense names some ten thousand points.
const MAX_BODY: usize = 1 << 20;

/// What handlers need.
#[derive(Debug, Clone)]
pub(crate) struct App {
    engine: Engine,
    tokens: Arc<Tokens>,
}

/// All routes, ready to be served.
pub(crate) fn router(engine: Engine, tokens: Arc<Tokens>) -> Router {
    let app = App { engine, tokens };
    let protected = protected().route_layer(middleware::from_fn_with_state(app.clone(), admit));
    let for_movers = for_movers().route_layer(middleware::from_fn_with_state(app.clone(), leases::admit));
    let (api, _) = protected.merge(for_movers).merge(open()).split_for_parts();
    Router::new()
        .nest("/api/v1", api)
        .fallback(service::no_such_path)
        .method_not_allowed_fallback(service::no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(CatchPanicLayer::custom(service::broke_down))
        .layer(TraceLayer::new_for_http().make_span_with(service::span))
        .with_state(app)
}

/// Calls that ask for a token.
fn protected() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(clients::list, clients::add))
        .routes(routes!(clients::show, clients::set, clients::remove))
        .routes(routes!(clients::set_limits))
        .routes(routes!(clients::vms))
        .routes(routes!(clients::inventory))
        .routes(routes!(clients::browse))
        .routes(routes!(clients::check))
        .routes(routes!(datastores::list, datastores::create))
        .routes(routes!(datastores::show, datastores::remove))
        .routes(routes!(datastores::recovery_sheet))
        .routes(routes!(stores::attach))
        .routes(routes!(stores::rescan))
        .routes(routes!(stores::keys, stores::add_key))
        .routes(routes!(stores::remove_key))
        .routes(routes!(upkeep::prune))
        .routes(routes!(upkeep::verify))
        .routes(routes!(upkeep::copy))
        .routes(routes!(drives::list, drives::create))
        .routes(routes!(drives::show, drives::set, drives::remove))
        .routes(routes!(movers::list, movers::add))
        .routes(routes!(movers::remove))
        .routes(routes!(movers::set_of_client))
        .routes(routes!(movers::set_of_datastore))
        .routes(routes!(backups::start))
        .routes(routes!(metadata::back_up))
        .routes(routes!(metadata::restore))
        .routes(routes!(hosts::back_up))
        .routes(routes!(hosts::restore))
        .routes(routes!(restores::start))
        .routes(routes!(restores::plan))
        .routes(routes!(exports::start))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::show, schedules::set, schedules::remove))
        .routes(routes!(schedules::starts))
        .routes(routes!(schedules::add_blackouts))
        .routes(routes!(schedules::planned))
        .routes(routes!(reports::list))
        .routes(routes!(reports::mail, reports::set_mail, reports::remove_mail))
        .routes(routes!(reports::test_mail))
        .routes(routes!(reports::webhooks, reports::add_webhook))
        .routes(routes!(reports::remove_webhook))
        .routes(routes!(reports::test_webhook))
        .routes(routes!(reports::summary, reports::set_summary, reports::remove_summary))
        .routes(routes!(reports::send_summary))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::log))
        .routes(routes!(events::follow))
        .routes(routes!(content::read))
        .routes(routes!(points::list))
        .routes(routes!(points::show))
        .routes(routes!(retention::forget))
        .routes(routes!(retention::preview))
        .routes(routes!(retention::apply))
        .routes(routes!(retention::protect, retention::unprotect))
        .routes(routes!(tasks::list, tasks::create))
        .routes(routes!(tasks::show, tasks::set, tasks::remove))
        .routes(routes!(tasks::start))
        .routes(routes!(tasks::select))
        .routes(routes!(tasks::run))
        .routes(routes!(groups::list, groups::create))
        .routes(routes!(groups::show, groups::set, groups::remove))
        .routes(routes!(groups::start))
}

/// Calls that ask for the token of a mover.
fn for_movers() -> OpenApiRouter<App> {
    let large = |routes: OpenApiRouter<App>, max| routes.layer(DefaultBodyLimit::max(max));
    let journal = OpenApiRouter::new().routes(routes!(leases::journal_write, leases::journal_clear));
    let finish = OpenApiRouter::new().routes(routes!(leases::finish));
    OpenApiRouter::new()
        .routes(routes!(leases::hello))
        .routes(routes!(leases::lease))
        .routes(routes!(leases::renew))
        .routes(routes!(leases::occupy))
        .routes(routes!(leases::reader))
        .routes(routes!(leases::content))
        .merge(large(journal, leases::MAX_ENTRY))
        .merge(large(finish, leases::MAX_REPORT))
}

/// Calls that do not.
fn open() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(service::health)).routes(routes!(openapi::serve))
}

/// Lets through who bears a token.
async fn admit(State(app): State<App>, request: Request, next: Next) -> Result<Response, Refusal> {
    match token_of(&request) {
        Some(token) if app.tokens.admits(token) => Ok(next.run(request).await),
        Some(_) => Err(problem::wrong_token()),
        None => Err(problem::no_token()),
    }
}

/// The token that a request bears.
fn token_of(request: &Request) -> Option<&str> {
    let header = request.headers().get(axum::http::header::AUTHORIZATION)?;
    header.to_str().ok().and_then(bearer)
}

/// The token in `Bearer <token>`; the scheme may be written in any case.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
