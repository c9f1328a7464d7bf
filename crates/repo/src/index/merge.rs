use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::run::{Record, Run, RunWriter};

/// Writes one run of what is in memory (sorted) and in some runs. With `numbers`, packs get new numbers, and what lies in
/// packs without one is left out. Nothing is written if there is nothing.
pub(super) fn merge(
    path: &Path,
    recent: Vec<Record>,
    runs: &[Arc<Run>],
    numbers: Option<&[Option<u32>]>,
) -> io::Result<Option<Run>> {
    let most = recent.len() as u64 + runs.iter().map(|run| run.records).sum::<u64>();
    if most == 0 {
        return Ok(None);
    }
    let mut sources: Vec<Box<dyn Iterator<Item = io::Result<Record>>>> = vec![Box::new(recent.into_iter().map(Ok))];
    for run in runs {
        sources.push(Box::new(run.read()));
    }
    let mut writer = RunWriter::new(path, most)?;
    let merged = write(&mut writer, sources, numbers).and_then(|()| writer.finish());
    if merged.is_err() {
        drop(std::fs::remove_file(path));
    }
    merged.map(Some)
}

fn write(
    writer: &mut RunWriter,
    mut sources: Vec<Box<dyn Iterator<Item = io::Result<Record>>>>,
    numbers: Option<&[Option<u32>]>,
) -> io::Result<()> {
    let mut heads = BinaryHeap::with_capacity(sources.len());
    for (source, records) in sources.iter_mut().enumerate() {
        if let Some(record) = records.next() {
            heads.push(Reverse((record?, source)));
        }
    }
    while let Some(mut head) = heads.peek_mut() {
        let Reverse((record, source)) = *head;
        match sources[source].next() {
            Some(next) => *head = Reverse((next?, source)),
            None => drop(std::collections::binary_heap::PeekMut::pop(head)),
        }
        match numbers {
            None => writer.push(record)?,
            Some(numbers) => {
                let slot = record.slot();
                if let Some(number) = numbers.get(slot.pack() as usize).copied().flatten() {
                    writer.push(Record::new(&record.id(), &slot.renumbered(number)))?;
                }
            }
        }
    }
    Ok(())
}
