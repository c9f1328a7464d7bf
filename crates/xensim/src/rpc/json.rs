//! JSON-RPC 1.0 and 2.0: calls and answers.

use serde_json::{Map as JsonMap, Value as Json, json};

use crate::{
    error::ApiError,
    model::{Map, Value, date_text},
};

/// Who asked, and in which version of the protocol.
#[derive(Debug)]
pub(super) struct Envelope {
    version_2: bool,
    id: Json,
}

/// A call as it came.
#[derive(Debug)]
pub(super) struct JsonCall {
    pub(super) envelope: Envelope,
    pub(super) method: String,
    pub(super) params: Vec<Value>,
}

/// Reads a call. `None`: not JSON-RPC, or a notification, which XAPI refuses with HTTP 500.
pub(super) fn call(text: &[u8]) -> Option<JsonCall> {
    let Json::Object(mut body) = serde_json::from_slice(text).ok()? else { return None };
    let version_2 = body.get("jsonrpc").is_some_and(|version| version == "2.0");
    let id = body.remove("id").filter(|id| id.is_string() || id.is_number())?;
    let method = body.get("method")?.as_str()?.to_owned();
    let params = match (body.remove("params"), version_2) {
        (Some(Json::Array(params)), _) => params.into_iter().map(from_json).collect(),
        (None | Some(Json::Null), true) => Vec::new(),
        (Some(object @ Json::Object(_)), true) => vec![from_json(object)],
        _ => return None,
    };
    Some(JsonCall { envelope: Envelope { version_2, id }, method, params })
}

impl Envelope {
    /// Writes the answer.
    pub(super) fn answer(self, result: &Result<Value, ApiError>) -> String {
        let body = match (result, self.version_2) {
            (Ok(value), true) => json!({"jsonrpc": "2.0", "result": to_json(value), "id": self.id}),
            (Ok(value), false) => json!({"result": to_json(value), "error": null, "id": self.id}),
            (Err(error), true) => json!({
                "jsonrpc": "2.0",
                "error": {"code": 1, "message": error.code, "data": error.params},
                "id": self.id,
            }),
            (Err(error), false) => {
                let words: Vec<&String> = std::iter::once(&error.code).chain(&error.params).collect();
                json!({"result": null, "error": words, "id": self.id})
            }
        };
        body.to_string()
    }
}

fn from_json(json: Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(truth) => Value::Bool(truth),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::Str(text),
        Json::Array(members) => Value::Set(members.into_iter().map(from_json).collect()),
        Json::Object(map) => Value::Map(map.into_iter().map(|(name, value)| (name, from_json(value))).collect::<Map>()),
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Nil => Json::from(""),
        Value::Str(text) => Json::from(text.as_str()),
        Value::Int(number) => Json::from(*number),
        Value::TaggedInt(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Bool(truth) => Json::from(*truth),
        Value::Date(seconds) => Json::from(date_text(*seconds)),
        Value::Set(members) => members.iter().map(to_json).collect(),
        Value::Map(map) => {
            Json::Object(map.iter().map(|(name, value)| (name.clone(), to_json(value))).collect::<JsonMap<_, _>>())
        }
    }
}
