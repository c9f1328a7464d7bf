//! A question before something is destroyed.

use std::io::{self, BufRead, Write};

use crate::{
    output::{Console, is_interactive},
    report::Usage,
};

/// Says what will happen, and asks; only `y` and `yes` mean yes.
///
/// # Errors
/// [`Usage`] when nobody is there to ask: silence is no consent.
pub(crate) fn ask(console: Console, consequences: &str, question: &str) -> anyhow::Result<bool> {
    console.note(consequences);
    if console.is_json() || !is_interactive() {
        return Err(Usage::new("this needs a yes, and nobody is there to ask")
            .hint("say `--yes` if it shall be done without asking")
            .into());
    }
    write!(io::stderr(), "{question} [y/N] ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

/// Says what will happen, and asks for a name; only exactly that means yes.
///
/// # Errors
/// [`Usage`] when nobody is there to ask.
pub(crate) fn type_name(console: Console, consequences: &str, name: &str) -> anyhow::Result<bool> {
    console.note(consequences);
    if console.is_json() || !is_interactive() {
        return Err(Usage::new("this needs the pool's name typed, and nobody is there to ask")
            .hint("say `--confirm POOL` if it shall be done without asking")
            .into());
    }
    write!(io::stderr(), "Type the name of the pool to go on: ")?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\r', '\n']) == name)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for (answer, yes) in
            [("y\n", true), ("Yes\n", true), ("YES", true), ("\n", false), ("", false), ("n\n", false), ("yo\n", false)]
        {
            assert_eq!(is_yes(answer), yes, "{answer:?}");
        }
    }
}
