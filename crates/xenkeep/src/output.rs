//! What goes to stdout and stderr.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::Format;

/// stdout for results, stderr for all that is said on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    format: Format,
}

impl Console {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// The result: `value` for programs, what `text` makes for people.
    pub(crate) fn result<T: Serialize + ?Sized>(self, value: &T, text: impl FnOnce() -> String) -> io::Result<()> {
        match self.format {
            Format::Json => self.print(&serde_json::to_string_pretty(value)?),
            Format::Table => self.print(&text()),
        }
    }

    /// Text on stdout, ended by a newline.
    pub(crate) fn print(self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// Something to know beside the result: a line on stderr. Programs are not told.
    pub(crate) fn note(self, text: &str) {
        if !self.is_json() {
            // Nobody is left to tell when stderr is gone.
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

/// A person can answer: questions go to stderr, answers come from stdin.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A column of a table.
pub(crate) enum Column {
    /// Text, to the left.
    Text(&'static str),
    /// A number, to the right.
    Number(&'static str),
}

/// A listing: a header and a line each, no borders, so that it can be cut and searched.
pub(crate) fn table<const N: usize>(columns: [Column; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(Column::Text(name) | Column::Number(name))| *name));
    for row in rows {
        table.add_row(row.map(|text| Cell::new(one_line(&text))));
    }
    for (index, column) in columns.iter().enumerate() {
        if let Some(shown) = table.column_mut(index) {
            shown.set_padding((0, 2));
            if let Column::Number(_) = column {
                shown.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// What is known of one thing: a name and a value each.
pub(crate) fn details<const N: usize>(lines: [(&str, String); N]) -> String {
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:width$}  {}\n", one_line(value)))
        .collect()
}

/// Names come from pools: control characters in them must not move the cursor or break lines.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
