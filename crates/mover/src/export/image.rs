//! One disk of a point as an image: byte by byte, VHD, qcow2.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use sha2::{Digest, Sha256};
use xenkeep_api::{ExportCompression, ExportFormat, Problem};
use xenkeep_disk::{
    Blocks, Data, DiskRead, qcow2,
    vhd::{self, ImageId},
};

use super::{ExportSpec, Outlet, PIECE_BYTES, unreadable};
use crate::{
    context::{JobContext, Stop},
    open::OpenPoint,
    problem::bytes,
};

/// A disk that is ready to be sent: what must be known before its first byte is.
pub(super) struct Image {
    position: String,
    disk: Arc<dyn DiskRead>,
    form: Form,
}

enum Form {
    Raw,
    Vhd(vhd::Plan),
    Qcow2(qcow2::Plan),
}

/// Opens the disk at `position`, and lays the image out. A compressed one is made once for that.
pub(super) async fn prepare(
    cx: &JobContext,
    spec: &ExportSpec,
    point: &OpenPoint,
    position: &str,
) -> Result<Image, Stop> {
    let disk = point.disk(position).await?;
    let form = match spec.format {
        ExportFormat::Vhd => Form::Vhd(cx.or_cancelled(vhd_plan(spec, point, position, &*disk)).await?),
        ExportFormat::Qcow2 => Form::Qcow2(cx.or_cancelled(qcow2_plan(cx, spec, &disk)).await?),
        ExportFormat::Raw | ExportFormat::Xva | ExportFormat::File => Form::Raw,
    };
    Ok(Image { position: position.to_owned(), disk, form })
}

async fn vhd_plan(
    spec: &ExportSpec,
    point: &OpenPoint,
    position: &str,
    disk: &dyn DiskRead,
) -> Result<vhd::Plan, Stop> {
    let size = disk.size();
    if size > vhd::MAX_SIZE {
        let message =
            format!("disk {position} has {}, more than a VHD can hold ({})", bytes(size), bytes(vhd::MAX_SIZE));
        return Err(Problem::new("export.disk_too_large", message).hint("export it as qcow2 or raw").into());
    }
    // The same point gives the same bytes each time.
    let id = Sha256::digest(format!("{}/{position}", spec.point));
    let id = ImageId(id[..16].try_into().map_err(|error| Problem::internal(&error))?);
    let mut plan = vhd::Plan::new(size, id).map_err(unreadable)?.created_at(point.file.taken_at.as_second());
    plan.include_data(disk).await.map_err(unreadable)?;
    Ok(plan)
}

async fn qcow2_plan(cx: &JobContext, spec: &ExportSpec, disk: &Arc<dyn DiskRead>) -> Result<qcow2::Plan, Stop> {
    let size = disk.size();
    let Some(compression) = spec.compression else {
        let mut plan = qcow2::Plan::new(size).map_err(unreadable)?;
        plan.include_data(&**disk).await.map_err(unreadable)?;
        return Ok(plan);
    };
    cx.step("measure");
    let compression = match compression {
        ExportCompression::Zstd => qcow2::Compression::Zstd,
        ExportCompression::Zlib => qcow2::Compression::Zlib,
    };
    let plan = qcow2::Plan::compressed(size, Arc::clone(disk).blocks(), compression).await.map_err(unreadable)?;
    cx.info(format!("{} compressed make an image of {}", bytes(size), bytes(plan.total_bytes())));
    Ok(plan)
}

/// Sends it.
pub(super) async fn send(cx: &JobContext, image: Image, out: &mut Outlet<'_>) -> Result<(), Stop> {
    let done = cx.board.disk(&image.position, image.disk.size());
    let blocks = image.disk.blocks().inspect(move |block| {
        if let Ok(block) = block {
            done.add(block.len);
        }
    });
    let blocks = blocks.boxed();
    let mut pieces = match image.form {
        Form::Raw => raw(blocks),
        Form::Vhd(plan) => plan.stream(blocks),
        Form::Qcow2(plan) => plan.stream(blocks),
    };
    while let Some(piece) = cx.or_cancelled(async { pieces.next().await.transpose().map_err(unreadable) }).await? {
        out.send(piece).await?;
    }
    Ok(())
}

/// The disk byte by byte.
fn raw(blocks: Blocks) -> BoxStream<'static, Result<Bytes, xenkeep_disk::Error>> {
    let zeros = Bytes::from(vec![0; PIECE_BYTES]);
    let pieces = move |block: Result<xenkeep_disk::Block, xenkeep_disk::Error>| {
        let (piece, mut left) = match block {
            Ok(block) => match block.data {
                Data::Bytes(bytes) => (Some(Ok(bytes)), 0),
                Data::Zero => (None, block.len),
                Data::Unchanged => {
                    let text = "a whole disk has an unchanged block";
                    (Some(Err(xenkeep_disk::Error::Damaged(text.to_owned()))), 0)
                }
            },
            Err(error) => (Some(Err(error)), 0),
        };
        let zeros = zeros.clone();
        let holes = std::iter::from_fn(move || {
            let len = left.min(PIECE_BYTES as u64);
            left -= len;
            (len > 0).then(|| Ok(zeros.slice(..len as usize)))
        });
        stream::iter(piece.into_iter().chain(holes))
    };
    blocks.flat_map(pieces).boxed()
}
