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

/// Whether a character does something to a terminal instead of being seen in it: it drives it, ends
/// a line, or turns the direction of what follows.
fn acts(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Without characters that act: a note of somebody else must not drive this terminal, nor show
/// itself as something that it is not.
pub fn printable(text: &str) -> String {
    let shown = |letter: char| match letter {
        '\n' | '\t' => letter,
        _ if acts(letter) => char::REPLACEMENT_CHARACTER,
        _ => letter,
    };
    text.chars().map(shown).collect()
}

/// JSON that can be shown in a terminal: the same values, in which every character that acts is an
/// escape. JSON itself wants that of U+0000 to U+001F alone.
pub fn json_text(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            // between values; inside of texts they are escapes already
            '\n' => text.push(letter),
            // all of them have four digits; outside of texts there are none
            _ if acts(letter) => text += &format!("\\u{:04x}", u32::from(letter)),
            _ => text.push(letter),
        }
    }
    text
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
        let text = serde_json::to_string_pretty(data).map_err(io::Error::from)?;
        self.write(&(json_text(&text) + "\n"))
    }

    /// Prints data for programs that read line by line.
    pub fn line(&self, data: &Value) -> Result<(), Failure> {
        self.write(&(json_text(&data.to_string()) + "\n"))
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

    #[test]
    fn text_is_not_turned_round_and_other_scripts_stay() {
        assert_eq!(
            printable("a\u{202e}b\u{2067}c\u{61c}d\u{2028}e\u{7f}"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}"
        );
        let scripts = "שלום, می\u{200c}خواهم, 👩\u{200d}💻, ü";
        assert_eq!(printable(scripts), scripts);
    }

    #[test]
    fn json_keeps_its_values_and_drives_no_terminal() {
        let every: String = (0..0x2100).filter_map(char::from_u32).collect();
        let data = serde_json::json!({ (every.clone()): [every, "👩\u{200d}💻"] });
        for text in [data.to_string(), format!("{data:#}")] {
            let shown = json_text(&text);
            assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), data);
            assert!(!shown.chars().any(|letter| acts(letter) && letter != '\n'));
        }
    }
}
