//! The header of a pack.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| xenkeep_repo::fuzzing::pack_header(input));
