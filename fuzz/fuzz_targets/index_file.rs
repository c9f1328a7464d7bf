//! An index file.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| xenkeep_repo::fuzzing::index_file(input));
