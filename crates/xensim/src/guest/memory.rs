//! The memory of a machine: random, and remembered. It is written to the image of a suspended machine, and read back when
//! the machine is resumed, so that an image which lost a byte on its way resumes nothing.

use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use crate::{
    error::ApiError,
    model::Ref,
    storage::{self, Storage},
    world::World,
};

/// What an image begins with; behind it stands the number that all of the memory comes of.
const MAGIC: &[u8; 24] = b"xensim memory image v1\r\n";
/// The image holds pieces of this size, with holes between them, as guests leave memory untouched.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces of an image.
const PIECES: u64 = 100;
/// No image is smaller.
pub(crate) const MIN_IMAGE_BYTES: u64 = 4 << 20;

impl World {
    /// SHA-256 of what is in the memory of a machine that runs.
    pub fn memory_sha256(&self, vm: &Ref) -> Option<String> {
        let memory = self.domains.get(vm)?.memory;
        let mut sum = Sha256::new();
        pieces(memory).for_each(|piece| sum.update(piece));
        Some(hex::encode(sum.finalize()))
    }
}

/// All pieces of a memory, in order.
fn pieces(memory: u64) -> impl Iterator<Item = Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(memory);
    (0..PIECES).map(move |_| {
        let mut piece = vec![0; PIECE_BYTES];
        rng.fill(&mut piece[..]);
        piece
    })
}

/// Where a piece stands in an image of that size. The first page is the header's.
fn offset(number: u64, size: u64) -> u64 {
    let pages = size / PIECE_BYTES as u64;
    (1 + number * (pages.saturating_sub(1) / PIECES).max(1)) * PIECE_BYTES as u64
}

/// Writes memory to the disk that holds the image.
pub(crate) async fn save(storage: &Storage, vdi: String, memory: u64) -> Result<(), ApiError> {
    let storage = storage.clone();
    blocking(move || {
        let size = storage.size_bytes(&vdi)?;
        for (number, piece) in (0..).zip(pieces(memory)) {
            storage.write(&vdi, offset(number, size), &piece)?;
        }
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&memory.to_le_bytes());
        storage.write(&vdi, 0, &head)
    })
    .await?
    .map_err(ApiError::from)
}

/// Reads memory from the disk that holds the image; fails if it is not, to the byte, what was saved.
pub(crate) async fn load(storage: &Storage, vdi: String) -> Result<u64, ApiError> {
    let storage = storage.clone();
    let memory = blocking(move || {
        let reader = storage.reader(&vdi)?;
        let mut head = [0; MAGIC.len() + 8];
        reader.read(0, &mut head)?;
        let (magic, number) = head.split_at(MAGIC.len());
        let memory = u64::from_le_bytes(number.try_into().unwrap_or_default());
        let mut found = vec![0; PIECE_BYTES];
        for (number, piece) in (0..).zip(pieces(memory)) {
            reader.read(offset(number, reader.size_bytes()), &mut found)?;
            if magic != MAGIC || found != piece {
                return Ok(None);
            }
        }
        Ok::<_, storage::Error>(Some(memory))
    })
    .await??;
    memory.ok_or_else(|| {
        ApiError::internal("Xenops_interface.Xenopsd_error([S(Internal_error);S(Suspend_image_failure)])")
    })
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}
