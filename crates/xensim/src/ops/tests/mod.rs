#![allow(clippy::unwrap_used)]

mod consistency;
mod device;
mod machine;
mod session;
mod snapshot;
mod task;

use crate::model::{Ref, Value};

/// Text as an argument.
fn s(text: &str) -> Value {
    Value::from(text)
}

/// A reference as an argument.
fn r(reference: &Ref) -> Value {
    Value::from(reference)
}

/// A code with parameters, as `refused` gives them.
fn error<const N: usize>(code: &str, params: [&str; N]) -> (String, Vec<String>) {
    (code.to_owned(), params.map(str::to_owned).to_vec())
}
