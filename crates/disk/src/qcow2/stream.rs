use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};

use super::layout::{Layout, Place};
use super::plan::Plan;
use crate::Error;
use crate::block::MAX_BLOCK_BYTES;

static ZEROS: [u8; MAX_BLOCK_BYTES] = [0; MAX_BLOCK_BYTES];

/// The bytes of an image: its head, then the packed clusters at their places.
pub(super) fn stream(
    plan: Plan,
    packed: BoxStream<'static, Result<(u64, Bytes), Error>>,
) -> BoxStream<'static, Result<Bytes, Error>> {
    let layout = Layout::of(&plan);
    let head = Bytes::from(layout.head(&plan));
    // Owned, since the stream outlives the plan's borrower.
    let places: Vec<Place> = layout.places(&plan).collect();
    let end = places.last().map_or(head.len() as u64, |place| place.offset + place.len);
    let body = Body { places: places.into_iter(), packed: packed.peekable(), padding: Some(layout.total_bytes - end) };
    let body = stream::try_unfold(body, |mut body| async move {
        let pieces = body.next().await?;
        Ok::<_, Error>(pieces.map(|pieces| (pieces, body)))
    });
    stream::iter([Ok(vec![head])])
        .chain(body)
        .map_ok(|pieces| stream::iter(pieces.into_iter().flat_map(cut).map(Ok)))
        .try_flatten()
        .boxed()
}

struct Body {
    places: std::vec::IntoIter<Place>,
    packed: stream::Peekable<BoxStream<'static, Result<(u64, Bytes), Error>>>,
    padding: Option<u64>,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Vec<Bytes>>, Error> {
        let Some(place) = self.places.next() else {
            if let Some(cluster) = self.packed.try_next().await? {
                return Err(unplanned(cluster.0));
            }
            return Ok(self.padding.take().map(zeros));
        };
        let is_next = |cluster: &Result<(u64, Bytes), Error>| {
            cluster.as_ref().map_or(true, |(number, _)| *number <= place.number)
        };
        let mut pieces = zeros(place.gap);
        match std::pin::Pin::new(&mut self.packed).next_if(is_next).await.transpose()? {
            Some((number, bytes)) if number == place.number && bytes.len() as u64 == place.len => pieces.push(bytes),
            Some((number, _)) => return Err(unplanned(number)),
            // It was not known to be zeros.
            None => pieces.extend(zeros(place.len)),
        }
        Ok(Some(pieces))
    }
}

fn unplanned(cluster: u64) -> Error {
    Error::damaged(format!("cluster {cluster} of the disk is not as it was when the qcow2 image was planned"))
}

fn zeros(mut len: u64) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while len > 0 {
        let some = len.min(ZEROS.len() as u64);
        pieces.push(Bytes::from_static(&ZEROS[..some as usize]));
        len -= some;
    }
    pieces
}

fn cut(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let len = bytes.len().min(MAX_BLOCK_BYTES);
        (len > 0).then(|| bytes.split_to(len))
    })
}
