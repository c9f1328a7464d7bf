use super::Compression;
use super::plan::Plan;

const VERSION: u32 = 3;
const HEADER_BYTES: u32 = 104;
/// With the kind of compression, and padding.
const LONG_HEADER_BYTES: u32 = 112;
const COMPRESSION_TYPE: u64 = 1 << 3;
const ZSTD: u8 = 1;
/// A counter of 16 bits for each cluster of the image.
const REFCOUNT_ORDER: u32 = 4;
const REFCOUNT_BYTES: u64 = 2;
const ENTRY_BYTES: u64 = 8;
/// The cluster is used once, and may be written to.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
const SECTOR_BYTES: u64 = 512;

/// Where everything stands in an image: header, table of the blocks of counters, these, table of the tables (L1), these
/// (L2), data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    cluster_bytes: u64,
    counter_tables_at: u64,
    counter_table_clusters: u64,
    counter_blocks: u64,
    l1_at: u64,
    l1_entries: u64,
    l2_at: u64,
    data_at: u64,
    pub(super) total_bytes: u64,
}

/// Where a cluster of the disk goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of the cluster on the disk.
    pub(super) number: u64,
    /// Bytes of nothing before it.
    pub(super) gap: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Layout {
    pub(super) fn of(plan: &Plan) -> Self {
        let cluster_bytes = plan.cluster_bytes();
        let per_table = cluster_bytes / ENTRY_BYTES;
        let l1_entries = (plan.lengths.len() as u64).div_ceil(per_table);
        let l1_clusters = (l1_entries * ENTRY_BYTES).div_ceil(cluster_bytes);
        let l2_clusters = tables(plan).count() as u64;
        let data_bytes = places(plan, 0).last().map_or(0, |place| place.offset + place.len);
        let others = 1 + l1_clusters + l2_clusters + data_bytes.div_ceil(cluster_bytes);
        // The counters count their own blocks too.
        let (mut counter_blocks, mut counter_table_clusters) = (1, 1);
        loop {
            let clusters = others + counter_blocks + counter_table_clusters;
            let blocks = clusters.div_ceil(cluster_bytes / REFCOUNT_BYTES);
            let table_clusters = (blocks * ENTRY_BYTES).div_ceil(cluster_bytes);
            if (blocks, table_clusters) == (counter_blocks, counter_table_clusters) {
                break;
            }
            (counter_blocks, counter_table_clusters) = (blocks, table_clusters);
        }
        let counter_tables_at = cluster_bytes;
        let l1_at = counter_tables_at + (counter_table_clusters + counter_blocks) * cluster_bytes;
        let l2_at = l1_at + l1_clusters * cluster_bytes;
        let data_at = l2_at + l2_clusters * cluster_bytes;
        let total_bytes = data_at + data_bytes.next_multiple_of(cluster_bytes);
        Layout {
            cluster_bytes,
            counter_tables_at,
            counter_table_clusters,
            counter_blocks,
            l1_at,
            l1_entries,
            l2_at,
            data_at,
            total_bytes,
        }
    }

    /// All that stands before the data.
    pub(super) fn head(&self, plan: &Plan) -> Vec<u8> {
        let mut head = Vec::with_capacity(self.data_at as usize);
        head.extend_from_slice(&self.header(plan));
        head.resize(self.counter_tables_at as usize, 0);
        let blocks_at = self.counter_tables_at + self.counter_table_clusters * self.cluster_bytes;
        for block in 0..self.counter_blocks {
            head.extend_from_slice(&(blocks_at + block * self.cluster_bytes).to_be_bytes());
        }
        head.resize(blocks_at as usize, 0);
        for counter in self.counters(plan) {
            head.extend_from_slice(&counter.to_be_bytes());
        }
        head.resize(self.l1_at as usize, 0);
        head.resize((self.l1_at + self.l1_entries * ENTRY_BYTES) as usize, 0);
        for (at, table) in tables(plan).enumerate() {
            let entry = COPIED | (self.l2_at + at as u64 * self.cluster_bytes);
            let place = (self.l1_at + table * ENTRY_BYTES) as usize;
            head[place..place + 8].copy_from_slice(&entry.to_be_bytes());
        }
        head.resize(self.l2_at as usize, 0);
        self.append_tables(plan, &mut head);
        head.resize(self.data_at as usize, 0);
        head
    }

    /// Where the data go, in order.
    pub(super) fn places<'a>(&self, plan: &'a Plan) -> impl Iterator<Item = Place> + use<'a> {
        places(plan, self.data_at)
    }

    fn header(&self, plan: &Plan) -> Vec<u8> {
        let zstd = plan.compression == Some(Compression::Zstd);
        let mut header = Vec::with_capacity(LONG_HEADER_BYTES as usize + 8);
        let mut word = |word: u32| header.extend_from_slice(&word.to_be_bytes());
        let mut long = |number: u64| [(number >> 32) as u32, number as u32].into_iter().for_each(&mut word);
        long((u64::from(u32::from_be_bytes(*b"QFI\xfb")) << 32) | u64::from(VERSION));
        long(0); // no backing file
        long(u64::from(plan.cluster_bits)); // length of its name, then this
        long(plan.size);
        long(self.l1_entries); // not encrypted, then this
        long(self.l1_at);
        long(self.counter_tables_at);
        long(self.counter_table_clusters << 32); // this, then no snapshots
        long(0);
        long(if zstd { COMPRESSION_TYPE } else { 0 }); // incompatible features
        long(0);
        long(0);
        long((u64::from(REFCOUNT_ORDER) << 32) | u64::from(if zstd { LONG_HEADER_BYTES } else { HEADER_BYTES }));
        if zstd {
            header.extend_from_slice(&[ZSTD, 0, 0, 0, 0, 0, 0, 0]);
        }
        header.extend_from_slice(&[0; 8]); // end of the extensions
        header
    }

    /// How often each cluster of the image is used: compressed ones may share it.
    fn counters(&self, plan: &Plan) -> Vec<u16> {
        let mut counters = vec![1_u16; (self.data_at / self.cluster_bytes) as usize];
        counters.resize((self.total_bytes / self.cluster_bytes) as usize, 0);
        for place in self.places(plan) {
            let last = (place.offset + place.len - 1) / self.cluster_bytes;
            for counter in &mut counters[(place.offset / self.cluster_bytes) as usize..=last as usize] {
                *counter = counter.saturating_add(1);
            }
        }
        counters
    }

    fn append_tables(&self, plan: &Plan, head: &mut Vec<u8>) {
        let per_table = self.cluster_bytes / ENTRY_BYTES;
        let mut places = self.places(plan).peekable();
        for table in tables(plan) {
            let end = head.len() + self.cluster_bytes as usize;
            for number in table * per_table..(table + 1) * per_table {
                let entry = places.next_if(|place| place.number == number).map_or(0, |place| self.entry(plan, place));
                head.extend_from_slice(&entry.to_be_bytes());
            }
            head.resize(end, 0);
        }
    }

    fn entry(&self, plan: &Plan, place: Place) -> u64 {
        if place.len == self.cluster_bytes {
            return COPIED | place.offset;
        }
        let more_sectors = (place.offset + place.len - 1) / SECTOR_BYTES - place.offset / SECTOR_BYTES;
        COMPRESSED | more_sectors << (62 - (plan.cluster_bits - 8)) | place.offset
    }
}

/// Numbers of the L2 tables that are there.
fn tables(plan: &Plan) -> impl Iterator<Item = u64> + '_ {
    let per_table = (plan.cluster_bytes() / ENTRY_BYTES) as usize;
    let used = |(at, lengths): (usize, &[u32])| lengths.iter().any(|length| *length > 0).then_some(at as u64);
    plan.lengths.chunks(per_table).enumerate().filter_map(used)
}

/// Clusters follow each other; those that are not compressed begin where one of the image does.
fn places(plan: &Plan, data_at: u64) -> impl Iterator<Item = Place> + use<'_> {
    let cluster_bytes = plan.cluster_bytes();
    let mut next = data_at;
    plan.lengths.iter().enumerate().filter(|(_, length)| **length > 0).map(move |(number, length)| {
        let len = u64::from(*length);
        let offset = if len == cluster_bytes { next.next_multiple_of(cluster_bytes) } else { next };
        let place = Place { number: number as u64, gap: offset - next, offset, len };
        next = offset + len;
        place
    })
}
