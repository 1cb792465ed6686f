//! Progress of long work, on standard error and on terminals only.

use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that shows how far something has come.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// Of bytes. It appears only if the work takes longer than a moment.
    pub(crate) fn bytes(what: &'static str) -> Self {
        Bar::new(what, 0, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
    }

    /// Of measurements, which take about as long each.
    pub(crate) fn steps(what: &'static str, total: u64) -> Self {
        Bar::new(what, total, "{msg} {wide_bar} {pos}/{len} {elapsed}, {eta} left")
    }

    fn new(what: &'static str, total: u64, template: &str) -> Self {
        let target = if stderr().is_terminal() {
            ProgressDrawTarget::stderr_with_hz(10)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Bar(bar)
    }

    /// One more measurement is done.
    pub(crate) fn step(&self) {
        self.0.inc(1);
    }

    /// How far it has come, and how far it has to go.
    pub(crate) fn at(&self, done: u64, total: u64) {
        if self.0.elapsed() > Duration::from_millis(200) {
            self.0.set_length(total);
            self.0.set_position(done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
