//! Values between Rust and a row: words, documents, times, sizes.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// A unit variant as the word that the API uses for it.
pub(crate) fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("only enums of plain words are stored as words"),
    }
}

/// The variant for a word.
pub(crate) fn from_word<T: DeserializeOwned>(what: &str, word: String) -> Result<T, Error> {
    serde_json::from_value(serde_json::Value::String(word)).map_err(|error| damaged(what, error))
}

/// A document as JSON text.
pub(crate) fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("types of the API serialise to JSON")
}

/// The document in a JSON text.
pub(crate) fn from_json<T: DeserializeOwned>(what: &str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| damaged(what, error))
}

/// An id from its text.
pub(crate) fn id<T>(what: &str, text: &str) -> Result<T, Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| damaged(what, error))
}

/// A text that PostgreSQL takes as well: it knows no NUL, and names on a pool may hold anything.
pub(crate) fn text(text: &str) -> String {
    text.replace('\0', "")
}

/// A time as milliseconds since 1970.
pub(crate) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// The time of milliseconds since 1970.
pub(crate) fn time(what: &str, millis: i64) -> Result<Timestamp, Error> {
    Timestamp::from_millisecond(millis).map_err(|error| damaged(what, error))
}

/// A size for a BIGINT; nothing that we count reaches 8 EiB.
pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The size in a BIGINT.
pub(crate) fn from_size(what: &str, bytes: i64) -> Result<u64, Error> {
    u64::try_from(bytes).map_err(|error| damaged(what, error))
}

/// A number in a BIGINT.
pub(crate) fn from_number<T: TryFrom<i64>>(what: &str, number: i64) -> Result<T, Error>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    T::try_from(number).map_err(|error| damaged(what, error))
}

/// The number in a BIGINT that may be NULL.
pub(crate) fn optional_number<T: TryFrom<i64>>(what: &str, number: Option<i64>) -> Result<Option<T>, Error>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    number.map(|number| from_number(what, number)).transpose()
}

pub(crate) fn damaged(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Damaged { what: what.to_owned(), source: Some(Box::new(source)) }
}
