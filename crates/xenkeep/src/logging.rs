//! The server's log: on stderr, where journald and people read it.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::report::Usage;

/// Starts it for this process. Only the first call counts.
pub(crate) fn start(filter: &str, json: bool) -> Result<(), Usage> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Usage::new(format!("\"{filter}\" is no filter for the log: {error}"))
            .hint("a level (error, warn, info, debug, trace), or several by part: `info,xapi=debug`")
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only when somebody logs already, as in tests.
    let _ = if json { log.json().try_init() } else { log.with_ansi(io::stderr().is_terminal()).try_init() };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_none_is_named() {
        let error = start("xapi=loud", false).unwrap_err();
        assert!(error.to_string().starts_with("\"xapi=loud\" is no filter for the log"), "{error}");
    }
}
