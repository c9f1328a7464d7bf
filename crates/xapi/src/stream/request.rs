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
    pub(super) answer: Answer,
    /// What already came of the body.
    pub(super) begun: Bytes,
    pub(super) address: String,
}

impl Pool {
    /// Sends `head` to the master, and on to whomever it names. The body of a PUT must not be on its way before this
    /// returns: the pool answers before it reads, and after a redirect a body would be lost.
    pub(super) async fn open(&self, head: &Head) -> Result<Opened> {
        let mut connector = self.master_connector();
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
            match opened.answer.status {
                200..=299 => return Ok(opened),
                301 | 302 | 303 | 307 | 308 => {
                    let Some(location) = opened.answer.header("location") else {
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
        let patience = self.options().timeouts.head;
        let (answer, begun) = match timeout(patience, Answer::read(&mut io, connector.as_ref())).await {
            Ok(read) => read?,
            Err(_) => return Err(Error::Silent { address, what: "the head of an answer", after: patience }),
        };
        Ok(Opened { io, answer, begun, address })
    }

    async fn refused(&self, head: &Head, mut opened: Opened) -> Error {
        let link = self.link();
        let words = timeout(PAGE, page(&mut opened.io, &opened.begun, link.session())).await.unwrap_or_default();
        let reason = if words.is_empty() { link.session().mask(&opened.answer.reason) } else { words };
        Error::Http { status: opened.answer.status, reason, path: head.path.to_owned() }
    }
}
