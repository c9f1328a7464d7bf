//! Server-sent events (WHATWG HTML, section 9.2), as much of them as the API uses: `event:` and `data:` lines, comments
//! as signs of life.

use bytes::Bytes;
use futures::stream::{self, Stream, TryStreamExt};

use super::{ANSWER_MAX_BYTES, Error};
use crate::Job;

/// The jobs in the `job` events of a stream.
pub(super) fn jobs<S>(bytes: S) -> impl Stream<Item = Result<Job, Error>> + Send
where
    S: Stream<Item = Result<Bytes, Error>> + Send + Unpin,
{
    stream::try_unfold((bytes, Parser::default()), |(mut bytes, mut parser)| async move {
        loop {
            while let Some(event) = parser.next() {
                if event.name == "job" {
                    let job = serde_json::from_str(&event.data).map_err(|source| Error::Answer { source })?;
                    return Ok(Some((job, (bytes, parser))));
                }
            }
            match bytes.try_next().await? {
                Some(piece) => parser.push(&piece)?,
                None => return Ok(None),
            }
        }
    })
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: String,
}

/// Takes bytes in any pieces and gives whole events.
#[derive(Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
    /// Where the first line that was not taken begins.
    line_start: usize,
    /// Up to here there is no further end of a line.
    scanned: usize,
    event: Event,
}

impl Parser {
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.bytes.drain(..self.line_start);
        self.scanned = self.bytes.len();
        self.line_start = 0;
        if self.bytes.len() + self.event.data.len() + piece.len() > ANSWER_MAX_BYTES {
            return Err(Error::TooLong { max_bytes: ANSWER_MAX_BYTES });
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        while let Some(length) = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let line = &self.bytes[self.line_start..self.scanned + length];
            self.scanned += length + 1;
            self.line_start = self.scanned;
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
            if line.is_empty() {
                let event = std::mem::take(&mut self.event);
                // An event without data is none, says the standard.
                if !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.event.name),
                "data" => {
                    if !self.event.data.is_empty() {
                        self.event.data.push('\n');
                    }
                    self.event.data.push_str(value);
                }
                _ => {} // comments (empty field name), `id`, `retry`
            }
        }
        self.scanned = self.bytes.len();
        None
    }
}
