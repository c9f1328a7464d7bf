//! Ids of our own records: random uuids, one type a noun so that they can't be mixed up.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new, random id.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id! {
    /// A client: a pool that is backed up.
    ClientId
}
id! {
    /// A datastore.
    DatastoreId
}
id! {
    /// A job: one run of one thing.
    JobId
}
id! {
    /// A task: what to back up, and how.
    TaskId
}
id! {
    /// A run: all jobs of one start.
    RunId
}
id! {
    /// A schedule: when something starts.
    ScheduleId
}
