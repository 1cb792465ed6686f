//! `top` on a terminal: a frame after the other, until `q`.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::{Look, Source, logs};
use crate::output::Failure;

/// Draws frames until the operator ends it. The terminal is as it was before then, also after an error or a panic.
pub(super) fn show(source: &Source, interval: Duration) -> Result<(), Failure> {
    // The first look before the screen is taken: a refusal stays readable.
    let first = source.look()?;
    let mut terminal = ratatui::try_init().map_err(Failure::refused)?;
    let shown = frames(&mut terminal, source, first, interval);
    ratatui::restore();
    shown
}

fn frames(
    terminal: &mut ratatui::DefaultTerminal,
    source: &Source,
    first: Look,
    interval: Duration,
) -> Result<(), Failure> {
    let (mut before, mut since) = (first, Instant::now());
    let mut lines = vec!["measuring ... (q ends it)".to_owned()];
    loop {
        draw(terminal, &lines)?;
        if is_ended(terminal, &lines, since + interval)? {
            return Ok(());
        }
        match source.look() {
            Ok(now) => {
                let shown = logs(&before, &now, since.elapsed());
                lines = shown
                    .into_iter()
                    .flat_map(|log| [log.lines, vec![String::new()]].concat())
                    .collect();
                (before, since) = (now, Instant::now());
            }
            // A server that restarts is back soon.
            Err(failure) => {
                lines = vec![format!("{failure}"), "trying again ... (q ends it)".to_owned()];
                since = Instant::now();
            }
        }
    }
}

fn draw(terminal: &mut ratatui::DefaultTerminal, lines: &[String]) -> Result<(), Failure> {
    let text: Vec<_> = lines.iter().map(|line| Line::raw(line.as_str())).collect();
    let drawn = terminal.draw(|frame| frame.render_widget(Paragraph::new(text), frame.area()));
    drawn.map(drop).map_err(Failure::refused)
}

/// Waits for the end of an interval, or for a key that ends it all. A terminal that changes its size is drawn again.
fn is_ended(
    terminal: &mut ratatui::DefaultTerminal,
    lines: &[String],
    until: Instant,
) -> Result<bool, Failure> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !event::poll(left).map_err(Failure::refused)? {
            return Ok(false);
        }
        match event::read().map_err(Failure::refused)? {
            Event::Key(key) if key.kind == KeyEventKind::Press => {
                let is_interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
            Event::Resize(..) => draw(terminal, lines)?,
            _ => {}
        }
    }
}
