//! Remote procedure calls: XML-RPC and JSON-RPC in, the same dispatcher below.

pub mod xml;

mod accessor;
mod args;
mod dispatch;
mod event;
mod filter;
mod json;
pub(crate) mod legacy;
mod method;

#[cfg(test)]
mod tests;

pub(crate) use self::{
    args::{Args, checked_record},
    dispatch::{Ctx, Handler, Later, Reply},
    event::EVENT_CALLS,
};

use crate::{error::ApiError, model::Value, world::World};

#[cfg(test)]
pub(crate) use dispatch::call;

/// All methods, in their dotted form.
pub(crate) fn methods() -> Vec<String> {
    method::all()
}

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// XML-RPC, at `/`, `/RPC2` and `/json`.
    Xml,
    /// JSON-RPC, at `/jsonrpc`.
    Json,
}

/// What of an answer depends on the call; the HTTP side adds the rest.
#[derive(Debug)]
pub struct RpcReply {
    /// 200, or 500 for what isn't a call at all.
    pub status: u16,
    /// `text/xml`, `application/json`, or `text/html` with 500.
    pub content_type: &'static str,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// Request header that asks a member for the master's certificate.
pub const ASK_THUMBPRINT: &str = "x-xenapi-request-host-certificate-thumbprint";
/// Answer to [`ASK_THUMBPRINT`].
pub const TELL_THUMBPRINT: &str = "x-xenapi-response-host-certificate-thumbprint";

/// Answers one call that reached the host at that position. `ask_thumbprint` is the value of the [`ASK_THUMBPRINT`] header.
pub async fn handle(
    world: &World,
    host: usize,
    flavour: Flavour,
    ask_thumbprint: Option<&str>,
    body: &[u8],
) -> RpcReply {
    let (mut reply, refused) = match flavour {
        Flavour::Xml => handle_xml(world, host, body).await,
        Flavour::Json => handle_json(world, host, body).await,
    };
    let master = &world.addresses[world.master_position()];
    let thumbprint = match ask_thumbprint {
        Some("sha-256:master") => Some(&master.certificate_sha256),
        Some("sha-1:master") => Some(&master.certificate_sha1),
        _ => None,
    };
    if let Some(thumbprint) = thumbprint.filter(|_| refused) {
        reply.headers.push((TELL_THUMBPRINT.to_owned(), thumbprint.clone()));
    }
    reply
}

async fn handle_xml(world: &World, host: usize, body: &[u8]) -> (RpcReply, bool) {
    let (method, params) = match xml::call(body) {
        Ok(call) => call,
        Err(error) => return (not_a_call(&error.to_string()), false),
    };
    let result = dispatch::call(world, host, &method, params).await;
    let refused = is_slave(&result);
    let text = match result {
        // The only method that answers without an envelope.
        Ok(value) if method == "system.listMethods" => xml::response(&value),
        Ok(value) => xml::response(&Value::map([("Status", Value::from("Success")), ("Value", value)])),
        Err(error) if error.code == dispatch::NO_ASYNC => xml::fault(1, &error.params.join(" ")),
        Err(error) => {
            let words = std::iter::once(&error.code).chain(&error.params);
            xml::response(&Value::map([("Status", Value::from("Failure")), ("ErrorDescription", Value::texts(words))]))
        }
    };
    (RpcReply { status: 200, content_type: "text/xml", headers: Vec::new(), body: text }, refused)
}

async fn handle_json(world: &World, host: usize, body: &[u8]) -> (RpcReply, bool) {
    let Some(call) = json::call(body) else {
        return (not_a_call("not JSON-RPC"), false);
    };
    let result = dispatch::call(world, host, &call.method, call.params).await;
    let refused = is_slave(&result);
    let body = call.envelope.answer(&result);
    (RpcReply { status: 200, content_type: "application/json", headers: Vec::new(), body }, refused)
}

fn is_slave(result: &Result<Value, ApiError>) -> bool {
    result.as_ref().is_err_and(|error| error.code == "HOST_IS_SLAVE")
}

fn not_a_call(why: &str) -> RpcReply {
    let body = format!(
        "<html><body><h1>HTTP 500 internal server error</h1>An unexpected error occurred: {}</body></html>",
        why.replace('&', "&amp;").replace('<', "&lt;")
    );
    RpcReply { status: 500, content_type: "text/html", headers: Vec::new(), body }
}
