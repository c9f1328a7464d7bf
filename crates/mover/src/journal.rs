//! What a job made outside, and how to undo it.
