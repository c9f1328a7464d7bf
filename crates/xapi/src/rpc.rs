//! JSON-RPC as XAPI speaks it: asked in the form of 2.0, answered in that of 2.0 or 1.0 (xapi: jsonrpc.ml, api_server.ml).

use serde_json::{Value, json};

use crate::{Error, Json};

/// XAPI refuses larger requests (xapi: `Constants.http_limit_max_rpc_size`).
pub(crate) const REQUEST_BYTES_MAX: usize = 300 * 1024;
/// An answer larger than this is no answer. All records of a large pool take some tens of MB.
pub(crate) const REPLY_BYTES_MAX: usize = 256 << 20;

/// Writes a request.
pub(crate) fn encode(method: &str, params: &[Json]) -> Result<Vec<u8>, Error> {
    let request = json!({ "jsonrpc": "2.0", "method": method, "params": params, "id": 1 });
    let bytes = request.to_string().into_bytes();
    if bytes.len() > REQUEST_BYTES_MAX {
        return Err(Error::RequestTooLarge { method: method.to_owned(), bytes: bytes.len() });
    }
    Ok(bytes)
}

/// Reads a reply: its result, or the error in it. What is no reply is `Err(Err(what is odd))`.
pub(crate) fn decode(bytes: &[u8]) -> Result<Json, Result<(String, Vec<String>), String>> {
    let reply: Value = serde_json::from_slice(bytes).map_err(|error| Err(format!("no JSON: {error}")))?;
    let Value::Object(mut reply) = reply else { return Err(Err("no JSON-RPC reply".to_owned())) };
    match reply.remove("error") {
        None | Some(Value::Null) => {}
        Some(error) => return Err(failure(error)),
    }
    let Some(result) = reply.remove("result") else {
        return Err(Err("a reply with neither result nor error".to_owned()));
    };
    unwrap_envelope(result)
}

/// The envelope of XML-RPC, which early releases wrapped around JSON results too.
fn unwrap_envelope(result: Value) -> Result<Json, Result<(String, Vec<String>), String>> {
    let Value::Object(mut map) = result else { return Ok(result) };
    match map.get("Status").and_then(Value::as_str) {
        Some("Success") if map.contains_key("Value") => Ok(map.remove("Value").unwrap_or_default()),
        Some("Failure") if map.contains_key("ErrorDescription") => {
            Err(failure(map.remove("ErrorDescription").unwrap_or_default()))
        }
        _ => Ok(Value::Object(map)),
    }
}

/// `[code, params…]` of 1.0, or `{code: 1, message: CODE, data: [params…]}` of 2.0.
fn failure(error: Value) -> Result<(String, Vec<String>), String> {
    let texts = |values: Vec<Value>| values.into_iter().map(text).collect::<Vec<_>>();
    match error {
        Value::Array(mut items) if !items.is_empty() => {
            let code = text(items.remove(0));
            Ok((code, texts(items)))
        }
        Value::Object(mut map) => match map.remove("message") {
            Some(Value::String(code)) => {
                let params = match map.remove("data") {
                    Some(Value::Array(items)) => texts(items),
                    None | Some(Value::Null) => Vec::new(),
                    Some(other) => vec![text(other)],
                };
                Ok((code, params))
            }
            _ => Err("an error without a message".to_owned()),
        },
        Value::String(code) => Ok((code, Vec::new())),
        _ => Err("an error in an unknown form".to_owned()),
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Calls that may be repeated when the connection broke and nobody knows whether they were heard: those that change
/// nothing, and those after which things are the same whether they were made once or twice.
pub(crate) fn is_repeatable(method: &str) -> bool {
    let again = |class: &str, message: &str| {
        class != "Async" && (message.starts_with("set_") || message.starts_with("remove_from_"))
    };
    is_read_only(method)
        || matches!(method, "task.cancel" | "SR.update")
        || method.split_once('.').is_some_and(|(class, message)| again(class, message))
}

fn is_read_only(method: &str) -> bool {
    method.split_once('.').is_some_and(|(class, message)| match class {
        "Async" => false,
        "event" => message == "from",
        "system" => true,
        _ => message.starts_with("get_") || message.starts_with("assert_") || message == "list_changed_blocks",
    })
}

#[cfg(test)]
mod tests;
