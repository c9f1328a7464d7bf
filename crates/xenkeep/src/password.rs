//! Where a password comes from: a file, stdin or a person. Never the command line, which others can read.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use xenkeep_api::{Problem, Secret};

use crate::{output::is_interactive, report::Usage};

/// Longest password: whatever is longer is the wrong file.
const MAX_BYTES: u64 = 4096;

#[derive(Debug, Clone, Args)]
pub(crate) struct PasswordSource {
    /// File with the password in its first line, or `-` for stdin; without it the password is asked for.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl PasswordSource {
    /// One was named.
    pub(crate) fn is_given(&self) -> bool {
        self.password_file.is_some()
    }

    /// The password; `whose` is what a person is asked for.
    pub(crate) fn read(&self, whose: &str) -> anyhow::Result<Secret> {
        match &self.password_file {
            Some(path) if path == Path::new("-") => {
                first_line(std::io::stdin().lock(), "stdin").context("the password can't be read from stdin")
            }
            Some(path) => {
                let name = path.display().to_string();
                std::fs::File::open(path)
                    .map_err(anyhow::Error::from)
                    .and_then(|file| first_line(file, &name))
                    .with_context(|| format!("the password can't be read from {name}"))
            }
            None if is_interactive() => Ok(Secret::new(rpassword::prompt_password(format!("{whose}: "))?)),
            None => Err(Usage::new("no password is given, and nobody is there to ask")
                .hint("name a file with `--password-file FILE`, or pipe the password in with `--password-file -`")
                .into()),
        }
    }
}

fn first_line(from: impl Read, name: &str) -> anyhow::Result<Secret> {
    let mut text = String::new();
    from.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    let text = Secret::new(text); // wiped when it is dropped
    let line = text.expose().lines().next().unwrap_or_default();
    if text.expose().len() as u64 > MAX_BYTES {
        return Err(Problem::new("password.too_long", format!("{name} holds more than {MAX_BYTES} bytes")).into());
    }
    if line.is_empty() {
        return Err(Problem::new("password.empty", format!("the first line of {name} is empty")).into());
    }
    Ok(Secret::new(line))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_line_counts_without_its_end() {
        for text in ["secret", "secret\n", "secret\r\n", "secret\nmore\n"] {
            assert_eq!(first_line(text.as_bytes(), "f").unwrap().expose(), "secret");
        }
        assert_eq!(first_line(" a b \n".as_bytes(), "f").unwrap().expose(), " a b ");
    }

    #[test]
    fn nothing_and_too_much_are_refused() {
        for text in ["", "\n", "\nsecret"] {
            assert_eq!(first_line(text.as_bytes(), "f").unwrap_err().to_string(), "the first line of f is empty");
        }
        let long = vec![b'x'; 5000];
        assert_eq!(first_line(long.as_slice(), "f").unwrap_err().to_string(), "f holds more than 4096 bytes");
    }
}
