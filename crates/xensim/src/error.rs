//! Failures as XAPI tells them: a code and parameters, all of it text.

use std::fmt;

use crate::{
    model::{Class, Ref},
    storage,
};

/// An error of the API, such as `HANDLE_INVALID ["VM", "OpaqueRef:…"]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ApiError {
    /// What went wrong, in capitals.
    pub code: String,
    /// What it was about.
    pub params: Vec<String>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.code, self.params.join(", "))
    }
}

impl ApiError {
    /// An error by its code and parameters.
    pub fn new<P: fmt::Display>(code: &str, params: impl IntoIterator<Item = P>) -> ApiError {
        ApiError { code: code.to_owned(), params: params.into_iter().map(|param| param.to_string()).collect() }
    }

    /// An error without parameters.
    pub fn bare(code: &str) -> ApiError {
        ApiError { code: code.to_owned(), params: Vec::new() }
    }

    /// Anything that has no code of its own.
    pub fn internal(text: impl fmt::Display) -> ApiError {
        ApiError::new("INTERNAL_ERROR", [text])
    }

    /// The reference names nothing of that class.
    pub fn handle(class: Class, reference: &Ref) -> ApiError {
        ApiError::new("HANDLE_INVALID", [class.name(), reference.as_str()])
    }

    /// No object of that class has the uuid.
    pub fn uuid(class: Class, uuid: &str) -> ApiError {
        ApiError::new("UUID_INVALID", [class.name(), uuid])
    }

    /// The session is unknown or over.
    pub fn session(reference: &str) -> ApiError {
        ApiError::new("SESSION_INVALID", [reference])
    }

    /// The operation doesn't fit the object's state, in words.
    pub fn not_allowed(text: impl fmt::Display) -> ApiError {
        ApiError::new("OPERATION_NOT_ALLOWED", [text])
    }

    /// A value that the field can't take.
    pub fn value(field: &str, value: impl fmt::Display) -> ApiError {
        ApiError::new("INVALID_VALUE", [field.to_owned(), value.to_string()])
    }

    /// An error of a storage driver: number, text, detail.
    pub fn driver(number: u32, text: &str, detail: &str) -> ApiError {
        let detail = if detail.is_empty() { String::new() } else { format!("[opterr={detail}]") };
        ApiError::new(&format!("SR_BACKEND_FAILURE_{number}"), [String::new(), text.to_owned(), detail])
    }

    /// The storage repository is full.
    pub fn storage_full() -> ApiError {
        ApiError::driver(44, "There is insufficient space", "")
    }
}

impl From<storage::Error> for ApiError {
    fn from(error: storage::Error) -> ApiError {
        match error {
            storage::Error::Full { .. } => ApiError::storage_full(),
            storage::Error::NoSuchDisk(_) => ApiError::driver(46, "The VDI is not available", &error.to_string()),
            storage::Error::NoSuchSr(_) => ApiError::driver(47, "The SR is not available", &error.to_string()),
            storage::Error::DiskExists(_) => ApiError::driver(43, "The VDI already exists", &error.to_string()),
            storage::Error::Shrink { .. } | storage::Error::OutOfRange { .. } => {
                ApiError::driver(79, "VDI Invalid size", &error.to_string())
            }
            storage::Error::Image { .. } | storage::Error::Io(_) => ApiError::driver(200, "EIO", &error.to_string()),
        }
    }
}
