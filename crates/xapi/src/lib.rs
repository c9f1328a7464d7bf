//! Client of a pool: session, typed records, tasks, bulk streams.
