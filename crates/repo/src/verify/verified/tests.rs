#![allow(clippy::unwrap_used)]

use super::*;

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn batches_come_back_from_files_of_bounded_size_and_the_latest_counts() {
    let times: Times = (0..1000_u64).map(|pack| (pack << 40, time(1000 + pack as i64 % 3))).collect();
    let files = split(&times, 300);
    assert_eq!(files.len(), 4);
    let mut back = Times::default();
    let older = Batch { at: time(1), packs: STANDARD.encode(0_u64.to_be_bytes()) };
    take_in(&mut back, &older);
    for file in &files {
        let json = serde_json::to_vec(file).unwrap();
        serde_json::from_slice::<RecordFile>(&json).unwrap().batches.iter().for_each(|batch| take_in(&mut back, batch));
    }
    take_in(&mut back, &older);
    assert_eq!(back, times);
    take_in(&mut back, &Batch { at: time(1), packs: "rubbish".to_owned() });
    assert_eq!(back, times);
}

#[test]
fn a_file_is_small() {
    let times: Times = (0..330_000_u64).map(|pack| (pack.wrapping_mul(0x9e37_79b9_7f4a_7c15), time(1))).collect();
    let files = split(&times, FILE_PACKS);
    let (_, content) = sealed::seal(&crate::crypto::Key::random(), &files[0]);
    assert_eq!(files.len(), 1);
    assert!(content.len() < 3 << 20, "10 TiB need {} bytes", content.len());
}
