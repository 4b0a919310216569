//! What goes to standard output, and how.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Utc};
use comfy_table::{Attribute, Cell, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

use crate::{args::Format, failure::Failure};

/// Blanks between two columns.
const GAP: u16 = 2;

/// The narrowest that text is wrapped to.
const MIN_WIDTH: usize = 40;

/// Standard output.
pub struct Output {
    format: Format,
    /// The terminal's width in columns; `None` when it is a file or a pipe.
    width: Option<usize>,
    colours: bool,
}

/// Whether to colour what goes to a stream: on terminals, unless `NO_COLOR` is set.
pub fn colours_wanted(terminal: bool) -> bool {
    let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    terminal && !refused && !dumb
}

/// Without control characters: a note of somebody else must not drive this terminal.
pub fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter,
        _ if letter.is_control() => char::REPLACEMENT_CHARACTER,
        _ => letter,
    };
    text.chars().map(shown).collect()
}

/// To the minute, in UTC.
pub fn date(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%MZ").to_string()
}

impl Output {
    pub fn new(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let width = terminal.then(|| textwrap::termwidth().max(MIN_WIDTH));
        Self { format, width, colours: colours_wanted(terminal) }
    }

    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Prints data for programs.
    pub fn json(&self, data: &Value) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(data).map_err(io::Error::from)?;
        text.push('\n');
        self.write(&text)
    }

    /// Prints data for programs that read line by line.
    pub fn line(&self, data: &Value) -> Result<(), Failure> {
        self.write(&format!("{data}\n"))
    }

    /// Prints a line for people; nothing when programs read.
    pub fn say(&self, line: &str) -> Result<(), Failure> {
        if self.is_json() { Ok(()) } else { self.write(&format!("{}\n", printable(line))) }
    }

    /// Prints columns under their names.
    pub fn table(&self, names: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let heads = names.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold));
        table.set_header(heads.collect::<Vec<_>>());
        for row in rows {
            table.add_row(row.iter().map(|cell| printable(cell).replace('\n', " ")));
        }
        if self.colours {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        match self.width.and_then(|width| u16::try_from(width).ok()) {
            Some(width) => {
                table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        // Slugs and ids are for copying: the first column is never broken.
        if let Some(column) = table.column_mut(0) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_string()).collect();
        self.write(&(lines.join("\n") + "\n"))
    }

    /// Prints names with their values, one a line; values that are absent are left out.
    pub fn fields(&self, fields: &[(&str, Option<String>)]) -> Result<(), Failure> {
        let longest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in fields {
            if let Some(value) = value {
                let blanks = " ".repeat(longest - name.len() + usize::from(GAP));
                text += &format!("{}{blanks}{}\n", self.bold(name), printable(value));
            }
        }
        self.write(&text)
    }

    /// Prints a headline, and a text below it, wrapped on terminals.
    pub fn record(&self, headline: &[String], text: &str) -> Result<(), Failure> {
        let mut parts = headline.iter().filter(|part| !part.is_empty()).map(|part| printable(part));
        let first = parts.next().map(|part| self.bold(&part)).unwrap_or_default();
        let rest: Vec<_> = parts.map(|part| self.dim(&part)).collect();
        let mut shown = [vec![first], rest].concat().join("  ");
        for line in printable(text).lines() {
            match self.width {
                Some(width) => {
                    let options =
                        textwrap::Options::new(width).initial_indent("  ").subsequent_indent("  ");
                    for wrapped in textwrap::wrap(line, options) {
                        shown = shown + "\n" + wrapped.trim_end();
                    }
                }
                None => shown = shown + "\n  " + line,
            }
        }
        self.write(&(shown + "\n\n"))
    }

    /// Writes to standard output, which may be gone already.
    pub fn write(&self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        Ok(stdout.flush()?)
    }

    fn bold(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    fn dim(&self, text: &str) -> String {
        self.styled(AnsiColor::BrightBlack.on_default(), text)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colours { format!("{style}{text}{style:#}") } else { text.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(
            printable("a\u{1b}[31mb\r\u{9b}c\nd\te"),
            "a\u{fffd}[31mb\u{fffd}\u{fffd}c\nd\te"
        );
    }
}
