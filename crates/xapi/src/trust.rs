//! Which certificates a host may show.
//!
//! | host | rule |
//! |---|---|
//! | the endpoint, pinned | exactly the pinned one |
//! | the endpoint, at first contact | any, and from then on that one |
//! | the master that a member names | the one whose thumbprint the (trusted) member gives with its answer; else one that was learned earlier; else, at first contact only, any |
//! | a host that the master redirects a stream to | one of those that the pool lists over the session |

use std::sync::{Mutex, PoisonError};

use crate::{Error, Fingerprint};

/// Which certificates one host may show. Shared by all connections to it.
#[derive(Debug)]
pub(crate) struct Trust {
    rule: Mutex<Rule>,
    refused: Mutex<Option<Fingerprint>>,
}

#[derive(Debug, Clone)]
enum Rule {
    Exactly(Fingerprint),
    Learn,
    OneOf(Vec<Fingerprint>),
}

impl Trust {
    fn new(rule: Rule) -> Self {
        Self { rule: Mutex::new(rule), refused: Mutex::new(None) }
    }

    /// Exactly this one.
    pub(crate) fn exactly(fingerprint: Fingerprint) -> Self {
        Self::new(Rule::Exactly(fingerprint))
    }

    /// Any, and from then on that one.
    pub(crate) fn first_contact() -> Self {
        Self::new(Rule::Learn)
    }

    /// One of those that somebody whom we trust has named.
    pub(crate) fn one_of(fingerprints: Vec<Fingerprint>) -> Self {
        Self::new(Rule::OneOf(fingerprints))
    }

    /// May the host show it? Asked within the handshake, before the host has proved that it holds the key.
    pub(crate) fn allows(&self, found: Fingerprint) -> bool {
        let allowed = match &*self.rule.lock().unwrap_or_else(PoisonError::into_inner) {
            Rule::Exactly(expected) => *expected == found,
            Rule::Learn => true,
            Rule::OneOf(known) => known.contains(&found),
        };
        if !allowed {
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        }
        allowed
    }

    /// The handshake is done: the host holds the key of `found`. False if another connection has learned another one.
    pub(crate) fn proved(&self, found: Fingerprint) -> bool {
        let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*rule, Rule::Learn) {
            *rule = Rule::Exactly(found);
        }
        drop(rule);
        self.allows(found)
    }

    /// The error for the certificate that was refused last, if one was.
    pub(crate) fn refusal(&self, address: String) -> Option<Error> {
        let found = self.refused.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(match &*self.rule.lock().unwrap_or_else(PoisonError::into_inner) {
            Rule::Exactly(expected) => Error::CertificateChanged { address, expected: *expected, found },
            Rule::Learn | Rule::OneOf(_) => Error::CertificateUnknown { address, found },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_contact_learns_one_and_keeps_to_it() {
        let (a, b) = (Fingerprint::of_der(b"a"), Fingerprint::of_der(b"b"));
        let trust = Trust::first_contact();
        assert!(trust.allows(a) && trust.allows(b), "nothing is proved yet");
        assert!(trust.proved(b));
        assert!(!trust.proved(a) && !trust.allows(a) && trust.allows(b));
        assert!(matches!(
            trust.refusal("h:443".into()),
            Some(Error::CertificateChanged { expected, found, .. }) if expected == b && found == a
        ));
        assert!(trust.refusal("h:443".into()).is_none(), "told once");
    }

    #[test]
    fn members_are_known_or_not() {
        let (a, b) = (Fingerprint::of_der(b"a"), Fingerprint::of_der(b"b"));
        let trust = Trust::one_of(vec![a]);
        assert!(trust.proved(a) && !trust.allows(b));
        assert!(matches!(trust.refusal("h:1".into()), Some(Error::CertificateUnknown { found, .. }) if found == b));
    }
}
