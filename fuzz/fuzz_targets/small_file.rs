//! Locks, config and key files.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| xenkeep_repo::fuzzing::small_file(input));
