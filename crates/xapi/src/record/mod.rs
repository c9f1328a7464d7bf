//! Records of XAPI's classes, as far as backup needs their fields.
//!
//! Fields that a release lacks take their default, fields that we don't name are skipped. One more field is one more line.

mod host;
mod lenient;
mod network;
mod storage;
mod task;
mod vm;

pub use host::{Certificate, Host, HostMetrics, Pool};
pub use network::{Network, Pif, Vif};
pub use storage::{Pbd, Sr, Vbd, VbdType, Vdi};
pub use task::{Task, TaskStatus};
pub use vm::{PowerState, Vm, VmGuestMetrics, VmMetrics, Vtpm};

pub use lenient::timestamp as parse_timestamp;
pub(crate) use lenient::timestamp;

use serde::de::DeserializeOwned;

use crate::refs::Ref;

/// The record of a class.
pub trait Record: DeserializeOwned + Send + 'static {
    /// Its reference.
    type Ref: Ref;
}

/// Defines a record: `field: Type = "wire name"`.
macro_rules! record {
    (
        $(#[$doc:meta])*
        $name:ident, $reference:ty {
            $($(#[$field_doc:meta])* $field:ident: $kind:ty = $wire:literal,)+
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)+
        }

        impl crate::record::Record for $name {
            type Ref = $reference;
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut fields = serde_json::Map::deserialize(deserializer)?;
                Ok(Self {
                    $($field: match fields.remove($wire) {
                        None | Some(serde_json::Value::Null) => Default::default(),
                        Some(value) => crate::record::lenient::Lenient::read(value).map_err(|error| {
                            serde::de::Error::custom(format_args!(
                                "{}.{}: {error}", <$reference as crate::refs::Ref>::CLASS, $wire
                            ))
                        })?,
                    },)+
                })
            }
        }
    };
}

/// Defines an enumeration that keeps what it does not know.
macro_rules! enumeration {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $wire:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// Something that this release of ours does not know.
            Other(String),
        }

        impl $name {
            /// As it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $wire,)+
                    Self::Other(text) => text,
                }
            }
        }

        impl crate::record::lenient::Lenient for $name {
            fn read(value: serde_json::Value) -> Result<Self, String> {
                let text = String::read(value)?;
                // case differs between records and errors
                $(if text.eq_ignore_ascii_case($wire) { return Ok(Self::$variant); })+
                Ok(Self::Other(text))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use {enumeration, record};

#[cfg(test)]
mod tests;
