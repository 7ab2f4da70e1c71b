//! The findings, and how they are printed.
use std::{fmt::Display, io};

use crate::command::{outcome::Status, terminal::console::Console, values::Escaped};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is wrong.
    Ok,
    /// It works, but badly or not for every client.
    Warning,
    /// It does not work.
    Problem,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) subject: &'static str,
    /// What the check has seen.
    pub(super) what: String,
    /// What to do about it.
    pub(super) cure: String,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, what: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, subject, what: what.into(), cure: String::new() }
    }

    pub(super) fn warning(subject: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warning, subject, what: what.into(), cure: cure.into() }
    }

    pub(super) fn problem(subject: &'static str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Problem, subject, what: what.into(), cure: cure.into() }
    }
}

/// Prints and counts findings.
#[derive(Debug, Default)]
pub(super) struct Report {
    warnings: usize,
    problems: usize,
}

impl Report {
    /// Prints a finding.
    ///
    /// # Errors
    /// If printing fails.
    pub(super) fn add(&mut self, finding: &Finding) -> io::Result<()> {
        let Finding { verdict, subject, what, cure } = finding;
        let word = match verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => {
                self.warnings += 1;
                "warning"
            }
            Verdict::Problem => {
                self.problems += 1;
                "problem"
            }
        };
        line(&format_args!("{word:<9}{subject:<13}"), &wrapped(what))?;
        line(&"", &wrapped(cure))
    }

    /// Prints the number of problems and warnings.
    ///
    /// # Errors
    /// If printing fails.
    pub(super) fn finish(&self) -> io::Result<Status> {
        let count = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        Console::Plain.say(format_args!("{}, {}", count(self.problems, "problem"), count(self.warnings, "warning")))?;
        Ok(if self.problems == 0 { Status::Done } else { Status::Failed })
    }
}

/// The width of the column of findings.
const WIDTH: usize = 90;

/// Prints lines in the column of findings, the first one after a label.
fn line(label: &dyn Display, lines: &[String]) -> io::Result<()> {
    for (index, text) in lines.iter().enumerate() {
        let label = if index == 0 { label.to_string() } else { String::new() };
        Console::Plain.say(format_args!("{}", format!("{label:<22}{}", Escaped(text)).trim_end()))?;
    }
    Ok(())
}

/// Wraps paragraphs into lines. Indented lines are not wrapped.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // Whether the next word may be added to the last line.
    let mut is_open = false;
    for line in text.lines() {
        if line.is_empty() || line.starts_with(' ') {
            lines.push(line.to_owned());
            is_open = false;
            continue;
        }
        for word in line.split_whitespace() {
            match lines.last_mut().filter(|last| is_open && last.chars().count() + word.chars().count() < WIDTH) {
                Some(last) => {
                    last.push(' ');
                    last.push_str(word);
                }
                None => lines.push(word.to_owned()),
            }
            is_open = true;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_without_indentation_are_wrapped() {
        let prose = "word ".repeat(40);
        let code = format!("    {}", "x ".repeat(80));
        let lines = wrapped(&format!("one\ntwo\n\n{code}\n\n{prose}"));
        assert_eq!(lines[0], "one two");
        assert_eq!(lines[1..4], ["", &code, ""]);
        assert_eq!(lines.len(), 4 + 3);
        assert!(lines[4..].iter().all(|line| line.chars().count() <= WIDTH), "{lines:?}");
    }
}
