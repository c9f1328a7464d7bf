use super::*;

/// Bytes that look random and are the same for ever (splitmix64).
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// The chunks of a stream that comes in pieces of this length.
fn chunks(stream: &[u8], piece: usize) -> Vec<Bytes> {
    let mut cutter = Cutter::default();
    let mut chunks = Vec::new();
    for bytes in stream.chunks(piece) {
        cutter.extend(bytes);
        chunks.extend(std::iter::from_fn(|| cutter.next_chunk()));
    }
    chunks.extend(std::iter::from_fn(|| cutter.last_chunk()));
    assert!(chunks.concat() == stream, "nothing is lost or moved");
    chunks
}

fn lengths(chunks: &[Bytes]) -> Vec<usize> {
    chunks.iter().map(Bytes::len).collect()
}

#[test]
fn cuts_are_where_they_have_always_been() {
    // Part of the format: if this fails, do not change the numbers here, but what made them change.
    let cuts = lengths(&chunks(&noise(1, 3 << 20), 1 << 20));
    assert_eq!(cuts, [278_755, 88_644, 296_107, 404_445, 750_279, 308_596, 612_881, 284_656, 121_365]);
    let zeros = vec![0; (2 << 20) + 5];
    assert_eq!(lengths(&chunks(&zeros, 1 << 20)), [MAX_BYTES, MAX_BYTES, 5]);
}

#[test]
fn pieces_make_no_difference() {
    let stream = noise(2, 5 << 20);
    let expected = lengths(&chunks(&stream, stream.len()));
    assert!(expected.len() > 8, "{expected:?}");
    for piece in [1 << 10, 65_537, 1 << 20, 3_000_001] {
        assert_eq!(lengths(&chunks(&stream, piece)), expected, "pieces of {piece}");
    }
    for len in &expected[..expected.len() - 1] {
        assert!((MIN_BYTES..=MAX_BYTES).contains(len), "{len}");
    }
}

#[test]
fn what_is_put_in_changes_the_chunks_around_it_only() {
    let stream = noise(3, 8 << 20);
    let mut changed = stream.clone();
    let place = 4_000_001;
    changed.splice(place..place, *b"a few bytes more");
    let (old, new) = (chunks(&stream, 1 << 20), chunks(&changed, 1 << 20));
    let kept = new.iter().filter(|chunk| old.contains(chunk)).count();
    assert!(new.len() - kept <= 3 && kept > 10, "{kept} of {} chunks kept", new.len());
}

#[test]
fn short_streams_are_one_chunk_and_empty_ones_none() {
    assert_eq!(lengths(&chunks(b"short", 2)), [5]);
    assert!(chunks(b"", 1).is_empty());
}
