//! What a run says while it goes on: lines of words, and a bar on terminals.

use std::fmt::Display;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::DemoError;

/// Where words go, line by line.
pub(crate) struct Voice<'a>(&'a mut dyn Write);

impl<'a> Voice<'a> {
    pub(crate) fn new(words: &'a mut dyn Write) -> Self {
        Voice(words)
    }

    /// Says a line, at once: a run takes long.
    pub(crate) fn say(&mut self, line: impl Display) -> Result<(), DemoError> {
        writeln!(self.0, "{line}").and_then(|()| self.0.flush()).map_err(DemoError::Words)
    }
}

/// A bar over this time, on standard error. It draws itself on terminals only.
pub(crate) fn progress_bar(time: Duration, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(time.as_millis() as u64);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
