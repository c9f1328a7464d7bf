//! A directory.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| xenkeep_repo::fuzzing::tree(input));
