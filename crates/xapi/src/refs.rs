//! References to XAPI's objects. They hold for a session only; what must last is a uuid.

use std::fmt::{Debug, Display};
use std::hash::Hash;

use serde::{Serialize, de::DeserializeOwned};

/// XAPI's reference to nothing.
const NULL: &str = "OpaqueRef:NULL";

/// A reference to an object of one class.
pub trait Ref:
    Clone + Debug + Display + Eq + Hash + Serialize + DeserializeOwned + From<String> + Send + Sync + 'static
{
    /// The class, as in `VM.start`.
    const CLASS: &'static str;

    /// As it stands on the wire.
    fn as_str(&self) -> &str;

    /// It refers to nothing.
    fn is_null(&self) -> bool {
        matches!(self.as_str(), NULL | "" | "Ref:NULL")
    }
}

macro_rules! refs {
    ($($(#[$doc:meta])* $name:ident = $class:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The reference to nothing.
            #[must_use]
            pub fn null() -> Self {
                Self(NULL.to_owned())
            }

            /// As it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// It refers to nothing.
            #[must_use]
            pub fn is_null(&self) -> bool {
                Ref::is_null(self)
            }
        }

        impl Ref for $name {
            const CLASS: &'static str = $class;

            fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::null()
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

refs! {
    /// A VM, a snapshot or a template.
    VmRef = "VM";
    /// A disk.
    VdiRef = "VDI";
    /// A disk's place in a VM.
    VbdRef = "VBD";
    /// A network card of a VM.
    VifRef = "VIF";
    /// A storage repository.
    SrRef = "SR";
    /// A host's way to an SR.
    PbdRef = "PBD";
    /// A network.
    NetworkRef = "network";
    /// A network card of a host.
    PifRef = "PIF";
    /// A host.
    HostRef = "host";
    /// What a host measures.
    HostMetricsRef = "host_metrics";
    /// The pool.
    PoolRef = "pool";
    /// Something that runs on the pool.
    TaskRef = "task";
    /// What the hypervisor says of a VM.
    VmMetricsRef = "VM_metrics";
    /// What the tools in a guest say of it.
    VmGuestMetricsRef = "VM_guest_metrics";
    /// A virtual TPM.
    VtpmRef = "VTPM";
    /// A certificate of a host.
    CertificateRef = "Certificate";
}
