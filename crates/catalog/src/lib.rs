//! The database: what there is and what has happened.
