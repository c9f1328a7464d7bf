//! Runs one job: moves bytes between pool and datastore.
