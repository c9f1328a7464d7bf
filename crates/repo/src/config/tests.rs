#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_config_of_restic_is_understood() {
    let json = r#"{"version":2,"id":"5cef0c14b67d3eeb889ed8c7993a89c7befd9d3a4a5b7aec731354dd41ba6a2a","chunker_polynomial":"20271fa49a6f81"}"#;
    let config: Config = serde_json::from_str(json).unwrap();
    config.check().unwrap();
    assert_eq!(config.xenkeep.chunk_bytes, 512 << 10);
}

#[test]
fn other_versions_and_wild_chunk_sizes_are_refused() {
    let mut config = Config::new(1 << 20).unwrap();
    config.check().unwrap();
    config.version = 1;
    assert!(matches!(config.check(), Err(Error::UnsupportedVersion { found: 1 })));
    for chunk_bytes in [0, 1, 64 << 10, 700 << 10, 8 << 20, u32::MAX] {
        assert!(matches!(Config::new(chunk_bytes), Err(Error::Invalid(_))));
        config = Config { version: 2, xenkeep: Ours { chunk_bytes }, ..Config::new(1 << 20).unwrap() };
        assert!(matches!(config.check(), Err(Error::Damaged { .. })));
    }
}
