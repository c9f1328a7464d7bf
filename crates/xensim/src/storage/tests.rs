#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const SR: &str = "sr";
const MIB: u64 = 1 << 20;

fn storage(bytes: u64, thick: bool) -> (Storage, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::new(dir.path()).unwrap();
    storage.add_sr(SR, Capacity { bytes, thick }).unwrap();
    (storage, dir)
}

fn content(storage: &Storage, vdi: &str) -> Vec<u8> {
    let reader = storage.reader(vdi).unwrap();
    let mut all = vec![0xaa; reader.size_bytes() as usize];
    reader.read(0, &mut all).unwrap();
    all
}

#[test]
fn a_new_disk_is_zero_and_takes_nothing() {
    let (storage, _dir) = storage(MIB, false);
    storage.create(SR, "a", 100 * MIB + 512).unwrap();
    assert!(content(&storage, "a").iter().all(|byte| *byte == 0));
    let usage = storage.usage(SR).unwrap();
    assert_eq!((usage.used_bytes, usage.virtual_bytes), (0, 100 * MIB + 512));
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let (storage, _dir) = storage(100 * MIB, false);
    storage.create(SR, "a", 10 * MIB).unwrap();
    storage.write("a", 5, b"before").unwrap();
    storage.snapshot("a", "s").unwrap();
    let reader = storage.reader("a").unwrap();
    storage.write("a", 5, b"behind").unwrap();
    storage.write("a", 9 * MIB, b"new").unwrap();
    assert_eq!(&content(&storage, "s")[5..11], b"before");
    assert_eq!(&content(&storage, "s")[9 * MIB as usize..][..3], [0; 3]);
    assert_eq!(&content(&storage, "a")[5..11], b"behind");
    let mut seen = [0; 6];
    reader.read(5, &mut seen).unwrap();
    assert_eq!(&seen, b"before");
}

#[test]
fn removing_gives_room_back() {
    let (storage, _dir) = storage(4 * CLUSTER_BYTES, false);
    let used = |storage: &Storage| storage.usage(SR).unwrap().used_bytes / CLUSTER_BYTES;
    storage.create(SR, "a", MIB).unwrap();
    storage.write("a", 0, &vec![1; 2 * CLUSTER_BYTES as usize]).unwrap();
    storage.snapshot("a", "s").unwrap();
    assert_eq!(used(&storage), 2);
    storage.write("a", 0, &vec![2; 2 * CLUSTER_BYTES as usize]).unwrap();
    assert_eq!(used(&storage), 4);
    let full = storage.write("a", 3 * CLUSTER_BYTES, b"x").unwrap_err();
    assert!(matches!(full, Error::Full { .. }));
    storage.remove("s").unwrap();
    assert_eq!(used(&storage), 2);
    storage.write("a", 3 * CLUSTER_BYTES, b"x").unwrap();
    storage.zero("a", 0, MIB).unwrap();
    assert_eq!(used(&storage), 0);
    assert!(content(&storage, "a").iter().all(|byte| *byte == 0));
}

#[test]
fn a_write_that_does_not_fit_changes_nothing() {
    let (storage, _dir) = storage(2 * CLUSTER_BYTES, false);
    storage.create(SR, "a", MIB).unwrap();
    storage.write("a", 0, b"old").unwrap();
    let big = vec![7; 3 * CLUSTER_BYTES as usize];
    assert!(matches!(storage.write("a", 0, &big), Err(Error::Full { .. })));
    assert_eq!(&content(&storage, "a")[..4], b"old\0");
}

#[test]
fn thick_storage_takes_full_sizes() {
    let (storage, _dir) = storage(5 * MIB, true);
    storage.create(SR, "a", 2 * MIB).unwrap();
    storage.snapshot("a", "s").unwrap();
    assert!(matches!(storage.snapshot("a", "t"), Err(Error::Full { .. })));
    assert_eq!(storage.usage(SR).unwrap().used_bytes, 4 * MIB);
    storage.remove("s").unwrap();
    storage.resize("a", 5 * MIB).unwrap();
    assert!(matches!(storage.resize("a", 6 * MIB), Err(Error::Full { .. })));
    assert_eq!(storage.usage(SR).unwrap().used_bytes, 5 * MIB);
}

#[test]
fn a_buried_snapshot_can_be_read_and_takes_no_room() {
    let (storage, _dir) = storage(2 * CLUSTER_BYTES, false);
    storage.create(SR, "a", MIB).unwrap();
    storage.write("a", 0, b"first").unwrap();
    storage.snapshot("a", "s").unwrap();
    storage.write("a", 0, b"later").unwrap();
    let buried = Buried { uuid: "s".into(), snapshot_of: "a".into(), name: "disk".into(), size: MIB, vm: "vm".into() };
    storage.bury(buried.clone()).unwrap();
    assert_eq!(storage.buried(), [buried]);
    assert!(!storage.exists("s"));
    assert_eq!(storage.usage(SR).unwrap().used_bytes, CLUSTER_BYTES);
    storage.write("a", CLUSTER_BYTES, b"fits").unwrap();
    let mut seen = [0; 5];
    storage.reader_of_any("s").unwrap().read(0, &mut seen).unwrap();
    assert_eq!(&seen, b"first");
}

#[test]
fn a_copy_goes_to_another_repository() {
    let (storage, _dir) = storage(10 * MIB, false);
    storage.add_sr("small", Capacity { bytes: CLUSTER_BYTES, thick: false }).unwrap();
    storage.create(SR, "a", 3 * MIB).unwrap();
    storage.write("a", MIB - 3, b"across").unwrap();
    storage.copy("a", "b", SR).unwrap();
    assert_eq!(content(&storage, "a"), content(&storage, "b"));
    assert!(matches!(storage.copy("a", "c", "small"), Err(Error::Full { .. })));
    assert!(!storage.exists("c"));
    assert_eq!(storage.usage("small").unwrap().used_bytes, 0);
}

#[test]
fn nothing_lies_outside() {
    let (storage, _dir) = storage(10 * MIB, false);
    storage.create(SR, "a", 1000).unwrap();
    for (offset, len) in [(1000, 1), (999, 2), (u64::MAX, 1)] {
        let write = storage.write("a", offset, &vec![1; len]);
        assert!(matches!(write, Err(Error::OutOfRange { .. })), "{offset} {len}");
    }
    storage.write("a", 999, b"x").unwrap();
}

#[test]
fn zeros_become_holes() {
    let (storage, _dir) = storage(10 * MIB, false);
    storage.create(SR, "a", 2 * MIB).unwrap();
    let mut data = vec![0; MIB as usize];
    data[3 * CLUSTER_BYTES as usize] = 1;
    storage.write_unless_zero("a", 100, &data).unwrap();
    assert_eq!(&content(&storage, "a")[100..][..data.len()], data);
    assert_eq!(storage.utilisation_bytes("a").unwrap(), CLUSTER_BYTES);
}

#[derive(Debug, Clone)]
enum Step {
    Write { disk: usize, offset: u64, len: usize, byte: u8 },
    Zero { disk: usize, offset: u64, len: usize },
    Snapshot { disk: usize },
    Remove { disk: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let range = || (0..MIB, 1..200_000usize);
    let step = prop_oneof![
        4 => (0..6usize, range(), any::<u8>())
            .prop_map(|(disk, (offset, len), byte)| Step::Write { disk, offset, len, byte }),
        2 => (0..6usize, range()).prop_map(|(disk, (offset, len))| Step::Zero { disk, offset, len }),
        2 => (0..6usize).prop_map(|disk| Step::Snapshot { disk }),
        1 => (0..6usize).prop_map(|disk| Step::Remove { disk }),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is written, zeroed, snapshotted and removed: each disk reads like a plain vector.
    #[test]
    fn disks_behave_like_plain_vectors(steps in steps()) {
        let (storage, _dir) = storage(1 << 40, false);
        storage.create(SR, "0", MIB).unwrap();
        let mut plain = vec![("0".to_owned(), vec![0; MIB as usize])];
        for (number, step) in (1..).zip(steps) {
            let (Step::Write { disk, .. } | Step::Zero { disk, .. } | Step::Snapshot { disk } | Step::Remove { disk }) = step;
            let count = plain.len();
            let chosen = disk % count;
            let (name, model) = &mut plain[chosen];
            match step {
                Step::Write { offset, len, byte, .. } => {
                    let len = len.min((MIB - offset) as usize);
                    storage.write(name, offset, &vec![byte; len]).unwrap();
                    model[offset as usize..][..len].fill(byte);
                }
                Step::Zero { offset, len, .. } => {
                    let len = len.min((MIB - offset) as usize);
                    storage.zero(name, offset, len as u64).unwrap();
                    model[offset as usize..][..len].fill(0);
                }
                Step::Snapshot { .. } => {
                    let (to, model) = (number.to_string(), model.clone());
                    storage.snapshot(name, &to).unwrap();
                    plain.push((to, model));
                }
                Step::Remove { .. } if count > 1 => {
                    storage.remove(name).unwrap();
                    plain.remove(chosen);
                }
                Step::Remove { .. } => {}
            }
        }
        for (name, model) in &plain {
            prop_assert!(&content(&storage, name) == model, "disk {name} differs");
        }
        for (name, _) in &plain {
            storage.remove(name).unwrap();
        }
        prop_assert_eq!(storage.usage(SR).unwrap().used_bytes, 0);
    }
}
