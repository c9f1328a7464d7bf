//! Full copies of disks.

use super::{account, add, check_idle, copied_fields};
use crate::{
    error::ApiError,
    model::{Ref, Value},
    ops::sr,
    rpc::{Args, Ctx, Later},
    storage::{self, Storage},
    world::World,
};

pub(super) fn copy(ctx: Ctx, args: Args) -> Later {
    Box::pin(async move {
        let (vdi, mut sr, into) = (args.reference(0), args.reference(1), args.reference(3));
        ctx.world.db.read(|t| check_idle(t, &vdi, "copy"))?;
        if sr.is_null() {
            sr = ctx.world.db.read(|t| t.reference(&into, "SR"));
        }
        let operation = Operation::begin(&ctx.world, &vdi, "copy", &ctx.task);
        let copied = if into.is_null() {
            copy_of(&ctx.world, &vdi, &sr).await
        } else {
            copy_into(&ctx.world, &vdi, &into).await
        };
        drop(operation);
        copied.map(Value::from)
    })
}

/// Makes a full copy of a disk on an SR.
pub async fn copy_of(world: &World, vdi: &Ref, sr: &Ref) -> Result<Ref, ApiError> {
    let (from, sr_uuid) = world.db.read(|t| {
        sr::check_usable(t, sr)?;
        Ok::<_, ApiError>((t.str(vdi, "uuid"), t.str(sr, "uuid")))
    })?;
    let uuid = uuid::Uuid::new_v4().to_string();
    let (storage, to) = (world.storage.clone(), uuid.clone());
    blocking(move || storage.copy(&from, &to, &sr_uuid)).await??;
    let fields = world.db.read(|t| copied_fields(t, vdi, sr, &uuid));
    Ok(add(world, &fields))
}

async fn copy_into(world: &World, vdi: &Ref, into: &Ref) -> Result<Ref, ApiError> {
    world.db.read(|t| {
        check_idle(t, into, "copy")?;
        if t.bool(into, "read_only") || t.bool(into, "is_a_snapshot") {
            return Err(ApiError::new("VDI_READONLY", [into]));
        }
        let size = t.int(vdi, "virtual_size");
        if t.int(into, "virtual_size") < size {
            return Err(ApiError::new("VDI_TOO_SMALL", [into.to_string(), size.to_string()]));
        }
        Ok::<_, ApiError>(())
    })?;
    let (from, to) = world.db.read(|t| (t.str(vdi, "uuid"), t.str(into, "uuid")));
    let storage = world.storage.clone();
    blocking(move || overwrite(&storage, &from, &to)).await??;
    account(world, into);
    Ok(into.clone())
}

/// Gives one disk the content of another that is no bigger.
fn overwrite(storage: &Storage, from: &str, to: &str) -> Result<(), storage::Error> {
    const PIECE_BYTES: u64 = 1 << 20;
    let reader = storage.reader(from)?;
    storage.zero(to, 0, storage.size_bytes(to)?)?;
    let mut position = 0;
    while let Some(run) = reader.next_data(position, PIECE_BYTES) {
        let mut piece = vec![0; usize::try_from(run.end - run.start).unwrap_or(0)];
        reader.read(run.start, &mut piece)?;
        storage.write(to, run.start, &piece)?;
        position = run.end;
    }
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(ApiError::internal)
}

/// An operation that a disk is busy with; it ends when this is dropped.
#[derive(Debug)]
pub struct Operation {
    world: World,
    vdi: Ref,
    task: Ref,
}

impl Operation {
    /// Notes in the disk's `current_operations` what it is busy with.
    pub fn begin(world: &World, vdi: &Ref, operation: &str, task: &Ref) -> Operation {
        world.db.write(|t| t.map_insert(vdi, "current_operations", task.as_str(), operation));
        Operation { world: world.clone(), vdi: vdi.clone(), task: task.clone() }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.world.db.write(|t| t.map_remove(&self.vdi, "current_operations", self.task.as_str()));
    }
}
