//! Asking for a bulk stream, and following where the pool sends it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::head::{Answer, Head, page};
use crate::connect::{Connector, Io};
use crate::{Error, Pool, Result};

/// A master sends us to a member that sees the SR; more hops mean confusion.
const HOPS_MAX: usize = 4;
/// So long an error page may take.
const PAGE: Duration = Duration::from_secs(5);

/// A stream that the pool has accepted.
pub(super) struct Opened {
    pub(super) io: Box<dyn Io>,
    /// None to a PUT whose pool keeps its answer until it has the body.
    pub(super) answer: Option<Answer>,
    /// What already came of the body.
    pub(super) begun: Bytes,
    pub(super) address: String,
}

impl Pool {
    /// Sends `head` to the master, and on to whomever it names. The body of a PUT must not be on its way before this
    /// returns: the pool answers before it reads, and after a redirect a body would be lost. One that stays silent for a
    /// while (a proxy in between, say) is sent the body all the same.
    pub(super) async fn open(&self, head: &Head) -> Result<Opened> {
        self.open_at(head, self.master_connector()).await
    }

    /// The same, beginning at another host of the pool.
    pub(super) async fn open_at(&self, head: &Head, mut connector: Arc<dyn Connector>) -> Result<Opened> {
        let mut known = false;
        for _ in 0..HOPS_MAX {
            let opened = match self.ask(head, &connector).await {
                // a member may have a new certificate since we asked for it
                Err(Error::CertificateUnknown { .. }) if !known => {
                    known = true;
                    self.forget_members().await;
                    connector = self.member(&format!("https://{}", connector.address())).await?;
                    continue;
                }
                other => other?,
            };
            let Some(answer) = &opened.answer else {
                tracing::warn!(path = head.path, host = %opened.address, "no answer yet: sending the body all the same");
                return Ok(opened);
            };
            match answer.status {
                200..=299 => return Ok(opened),
                301 | 302 | 303 | 307 | 308 => {
                    let Some(location) = answer.header("location") else {
                        let what = "a redirect without a location".to_owned();
                        return Err(Error::Protocol { address: opened.address, what });
                    };
                    connector = self.member(location).await?;
                    tracing::debug!(path = head.path, member = %connector.address(), "sent on to a member");
                }
                _ => return Err(self.refused(head, opened).await),
            }
        }
        Err(Error::TooManyRedirects { address: connector.address().to_string() })
    }

    async fn ask(&self, head: &Head, connector: &Arc<dyn Connector>) -> Result<Opened> {
        let link = self.link();
        let address = connector.address().to_string();
        let bytes = head.write(&address, link.session())?;
        let mut io = connector.connect().await?;
        let lost = |source| Error::Lost { address: address.clone(), source };
        io.write_all(&bytes).await.map_err(lost)?;
        io.flush().await.map_err(lost)?;
        let timeouts = &self.options().timeouts;
        let patience = if head.method == "PUT" { timeouts.upload_head } else { timeouts.head };
        let (answer, begun) = match timeout(patience, Answer::read(&mut io, &address)).await {
            Ok(read) => read.map(|(answer, begun)| (Some(answer), begun))?,
            Err(_) if head.method == "PUT" => (None, Bytes::new()),
            Err(_) => return Err(Error::Silent { address, what: "the head of an answer", after: patience }),
        };
        Ok(Opened { io, answer, begun, address })
    }

    async fn refused(&self, head: &Head, mut opened: Opened) -> Error {
        let link = self.link();
        let words = timeout(PAGE, page(&mut opened.io, &opened.begun, link.session())).await.unwrap_or_default();
        let answer = opened.answer.unwrap_or_default();
        let reason = if words.is_empty() { link.session().mask(&answer.reason) } else { words };
        Error::Http { status: answer.status, reason, path: head.path.to_owned() }
    }
}
