use super::Buffers;

#[test]
fn memory_comes_back_when_the_last_reader_has_gone() {
    let buffers = Buffers::new(1);
    let mut buffer = buffers.take(1000);
    buffer.extend_from_slice(b"contents");
    let memory = buffer.as_ptr();
    let bytes = buffer.freeze();
    let part = bytes.slice(3..);
    drop(bytes);
    assert_eq!(part, b"tents"[..]);
    assert_ne!(buffers.take(1000).as_ptr(), memory, "it is still being read");
    drop(part);

    let again = buffers.take(1000);
    assert!(again.is_empty());
    assert!(again.capacity() >= 1000);
}

#[test]
fn no_more_is_kept_than_was_allowed() {
    let buffers = Buffers::new(2);
    let taken: Vec<_> = (0..5).map(|_| buffers.take(10)).collect();
    drop(taken);
    assert_eq!(buffers.0.spare.lock().expect("nobody panics").len(), 2);
}

#[test]
fn a_buffer_grows_with_what_is_asked_for() {
    let buffers = Buffers::new(1);
    drop(buffers.take(10));
    assert!(buffers.take(5000).capacity() >= 5000);
}
