//! What went wrong, told on stderr: the sentence, its causes, what to do.

use std::{
    fmt,
    io::{self, Write},
};

use xenkeep_api::{Problem, http};

use crate::{Exit, cli::Format, output::one_line};

/// A command line that can be parsed but not followed: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) Problem);

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Problem::new("usage", message))
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self(self.0.hint(hint))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Usage {}

/// Tells why a command failed, and with which code to exit.
pub(crate) fn failure(error: &anyhow::Error, format: Format) -> Exit {
    if is_broken_pipe(error) {
        return Exit::Failed; // whoever read us (`| head`) has gone, and wants to hear nothing
    }
    let text = match format {
        Format::Table => for_people(error),
        Format::Json => for_programs(error),
    };
    // Nobody is left to tell when stderr is gone.
    let _ = io::stderr().write_all(text.as_bytes());
    if error.downcast_ref::<Usage>().is_some() { Exit::Usage } else { Exit::Failed }
}

fn for_people(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // Some libraries repeat their cause in their own sentence.
        if !lines.iter().any(|line| line.contains(&text)) {
            lines.push(text);
        }
    }
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        text += if index == 0 { "error: " } else { "  cause: " };
        text += &one_line(line);
        text.push('\n');
    }
    if let Some(hint) = problem_of(error).and_then(|problem| problem.hint.as_deref()).or_else(|| own_hint(error)) {
        text += &format!("hint: {}\n", one_line(hint));
    }
    text
}

fn for_programs(error: &anyhow::Error) -> String {
    let problem = problem_of(error).cloned().unwrap_or_else(|| {
        let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
        let mut problem = Problem::new(own_code(error), causes.join(": "));
        problem.hint = own_hint(error).map(ToOwned::to_owned);
        problem
    });
    serde_json::to_string(&problem).unwrap_or_default() + "\n"
}

fn problem_of(error: &anyhow::Error) -> Option<&Problem> {
    error.chain().find_map(|cause| {
        cause
            .downcast_ref::<Problem>()
            .or_else(|| cause.downcast_ref::<http::Error>().and_then(http::Error::problem))
            .or_else(|| cause.downcast_ref::<Usage>().map(|usage| &usage.0))
    })
}

fn http_error(error: &anyhow::Error) -> Option<&http::Error> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

fn own_code(error: &anyhow::Error) -> &'static str {
    match http_error(error) {
        Some(http::Error::Unreachable { .. } | http::Error::Cut { .. }) => "server.unreachable",
        Some(http::Error::Stranger { .. } | http::Error::Answer { .. } | http::Error::TooLong { .. }) => {
            "server.not_understood"
        }
        Some(_) => "server.address",
        None => "failed",
    }
}

fn own_hint(error: &anyhow::Error) -> Option<&'static str> {
    match http_error(error)? {
        http::Error::Unreachable { .. } | http::Error::Cut { .. } => {
            Some("see whether the server runs (`xenkeep server --data DIR`) and whether its address is right")
        }
        http::Error::Answer { .. } => Some("use the `xenkeep` of the server's version"),
        _ => None,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests;
