//! What every step of a job is given.
