//! The deduplicating repository: restic format version 2 in a local directory.
