//! The session reference: who knows it is logged in, so it is never shown.

use std::fmt;

/// A session of the pool.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Session(String);

impl Session {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// For requests alone.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the session in it.
    pub(crate) fn mask(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, MASK) }
    }
}

/// What stands in place of a session.
const MASK: &str = "(session)";

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Parameters of XAPI's error `code`, without the session.
pub(crate) fn mask_params(code: &str, params: Vec<String>, session: Option<&Session>) -> Vec<String> {
    if code == "SESSION_INVALID" {
        return params.iter().map(|_| MASK.to_owned()).collect();
    }
    match session {
        Some(session) => params.iter().map(|param| session.mask(param)).collect(),
        None => params,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_never_shown() {
        let session = Session::new("OpaqueRef:5e55".into());
        assert!(!format!("{session:?}").contains("5e55"));
        assert_eq!(session.mask("bad session_id=OpaqueRef:5e55&x"), "bad session_id=(session)&x");
        assert_eq!(mask_params("SESSION_INVALID", vec!["OpaqueRef:0ther".into()], None), ["(session)"]);
        assert_eq!(mask_params("X", vec!["OpaqueRef:5e55".into()], Some(&session)), ["(session)"]);
    }
}
