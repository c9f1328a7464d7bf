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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn calls_are_read() {
        for (text, params) in [
            (r#"{"method":"a.b","params":["s",1,1.5,null,true,[],{}],"id":0}"#, 7),
            (r#"{"jsonrpc":"2.0","method":"a.b","params":[],"id":"x"}"#, 0),
            (r#"{"jsonrpc":"2.0","method":"a.b","id":1}"#, 0),
            (r#"{"jsonrpc":"2.0","method":"a.b","params":null,"id":1}"#, 0),
            (r#"{"jsonrpc":"2.0","method":"a.b","params":{"k":"v"},"id":1}"#, 1),
        ] {
            let call = call(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((call.method.as_str(), call.params.len()), ("a.b", params), "{text}");
        }
    }

    #[test]
    fn notifications_and_nonsense_are_refused() {
        let deep = format!(r#"{{"method":"a.b","params":{}{},"id":1}}"#, "[".repeat(1000), "]".repeat(1000));
        for text in [
            r#"{"method":"a.b","params":[]}"#,
            r#"{"method":"a.b","params":[],"id":null}"#,
            r#"{"method":"a.b","id":1}"#,
            r#"{"method":"a.b","params":{},"id":1}"#,
            r#"{"method":1,"params":[],"id":1}"#,
            r#"[{"method":"a.b","params":[],"id":1}]"#,
            "",
            "{",
            &deep,
        ] {
            assert!(call(text.as_bytes()).is_none(), "{}", &text[..text.len().min(50)]);
        }
    }

    #[test]
    fn answers_have_the_version_of_their_call() {
        let envelope = |version: &str| {
            call(format!(r#"{{{version}"method":"a","params":[],"id":7}}"#).as_bytes()).unwrap().envelope
        };
        let refused = Err(ApiError::new("CODE", ["p"]));
        for (version, result, answer) in [
            ("", Ok(Value::Date(0)), r#"{"error":null,"id":7,"result":"19700101T00:00:00Z"}"#),
            ("", refused.clone(), r#"{"error":["CODE","p"],"id":7,"result":null}"#),
            (r#""jsonrpc":"2.0","#, Ok(Value::Nil), r#"{"id":7,"jsonrpc":"2.0","result":""}"#),
            (
                r#""jsonrpc":"2.0","#,
                refused,
                r#"{"error":{"code":1,"data":["p"],"message":"CODE"},"id":7,"jsonrpc":"2.0"}"#,
            ),
        ] {
            assert_eq!(envelope(version).answer(&result), answer);
        }
    }
}
