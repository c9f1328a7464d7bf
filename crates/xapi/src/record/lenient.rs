//! Reading the values of records: releases differ, and some say numbers as text.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use crate::refs::Ref;

/// A value of a field. What is missing or null takes the default; what is of a wrong kind is an error.
pub(super) trait Lenient: Default {
    /// Reads it.
    fn read(value: Value) -> Result<Self, String>;
}

fn odd<T>(value: &Value, wanted: &str) -> Result<T, String> {
    let mut text = value.to_string();
    if let Some((cut, _)) = text.char_indices().nth(60) {
        text.truncate(cut);
        text.push('…');
    }
    Err(format!("{text} is no {wanted}"))
}

impl Lenient for String {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::Bool(flag) => Ok(flag.to_string()),
            other => odd(&other, "text"),
        }
    }
}

impl Lenient for i64 {
    fn read(value: Value) -> Result<Self, String> {
        match &value {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Ok(number),
                #[allow(clippy::cast_possible_truncation)] // in range: checked
                (None, Some(number)) if number.fract() == 0.0 && number.abs() < 9.0e18 => Ok(number as Self),
                _ => odd(&value, "integer"),
            },
            Value::String(text) => text.trim().parse().or_else(|_| odd(&value, "integer")),
            _ => odd(&value, "integer"),
        }
    }
}

impl Lenient for f64 {
    fn read(value: Value) -> Result<Self, String> {
        match &value {
            Value::Number(number) => number.as_f64().map_or_else(|| odd(&value, "number"), Ok),
            Value::String(text) => text.trim().parse().or_else(|_| odd(&value, "number")),
            _ => odd(&value, "number"),
        }
    }
}

impl Lenient for bool {
    fn read(value: Value) -> Result<Self, String> {
        match &value {
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if matches!(text.as_str(), "true" | "1") => Ok(true),
            Value::String(text) if matches!(text.as_str(), "false" | "0") => Ok(false),
            Value::Number(number) if number.as_i64() == Some(1) => Ok(true),
            Value::Number(number) if number.as_i64() == Some(0) => Ok(false),
            _ => odd(&value, "boolean"),
        }
    }
}

/// XAPI's "never" is the epoch, which is also jiff's default.
impl Lenient for Timestamp {
    fn read(value: Value) -> Result<Self, String> {
        match &value {
            Value::String(text) if text.is_empty() => Ok(Self::default()),
            Value::String(text) => timestamp(text).map_or_else(|| odd(&value, "date"), Ok),
            _ => odd(&value, "date"),
        }
    }
}

impl<T: Lenient> Lenient for Vec<T> {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Array(items) => items.into_iter().map(T::read).collect(),
            other => odd(&other, "set"),
        }
    }
}

impl<T: Lenient> Lenient for BTreeMap<String, T> {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => map.into_iter().map(|(key, value)| Ok((key, T::read(value)?))).collect(),
            other => odd(&other, "map"),
        }
    }
}

impl<T: Ref + Default> Lenient for T {
    fn read(value: Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(T::from(text)),
            other => odd(&other, "reference"),
        }
    }
}

/// `20260821T02:00:23Z`, with or without dashes and zone; fractions of a second are allowed. No zone means UTC.
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let (date, time) = text.trim().split_once('T')?;
    let date: String = date.chars().filter(|c| *c != '-').collect();
    if date.len() != 8 || !date.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let zoned = time.ends_with('Z') || time.contains('+') || time.contains('-');
    let zone = if zoned { "" } else { "Z" };
    format!("{}-{}-{}T{time}{zone}", &date[..4], &date[4..6], &date[6..]).parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_come_in_many_shapes() {
        for value in [json!(5), json!("5"), json!(5.0), json!(" 5 ")] {
            assert_eq!(i64::read(value.clone()).unwrap(), 5, "{value}");
        }
        assert_eq!(i64::read(json!("9007199254740993")).unwrap(), 9_007_199_254_740_993);
        for value in [json!("five"), json!(5.5), json!(1e30), json!([]), json!(null)] {
            assert!(i64::read(value.clone()).is_err(), "{value}");
        }
        assert!((f64::read(json!("0.5")).unwrap() - 0.5).abs() < f64::EPSILON);
        assert!(bool::read(json!("1")).unwrap() && !bool::read(json!(false)).unwrap());
        assert!(bool::read(json!("maybe")).is_err());
    }

    #[test]
    fn dates_come_with_and_without_dashes_and_zone() {
        let wanted: Timestamp = "2026-08-21T02:00:23Z".parse().unwrap();
        for text in ["20260821T02:00:23Z", "2026-08-21T02:00:23Z", "20260821T02:00:23", "20260821T04:00:23+02:00"] {
            assert_eq!(timestamp(text), Some(wanted), "{text}");
        }
        assert_eq!(timestamp("19700101T00:00:00Z"), Some(Timestamp::default()));
        for text in ["", "20260821", "2026T02:00:23Z", "20261321T02:00:23Z", "2026082éT02:00:23Z"] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }
}
