//! The page: plots as SVG, and the figures that they were drawn from.

use std::fmt::Write as _;
use std::path::Path;

use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use crate::error::BenchError;
use crate::limit::Limit;
use crate::results::{Line, mebibytes};

/// Which loads the lines are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By committers.
    Closed,
    /// By offered rate.
    Open,
}

/// A plot: what is drawn against what.
struct Plot {
    /// The name of a file for it.
    name: String,
    title: String,
    x: (&'static str, fn(&Line) -> Option<f64>),
    y: (&'static str, fn(&Line) -> Option<f64>),
}

impl Kind {
    /// How much was asked, in one word.
    pub fn load(self) -> &'static str {
        match self {
            Kind::Closed => "N",
            Kind::Open => "offered/s",
        }
    }

    fn plots(self, size: usize) -> Vec<Plot> {
        let committers = |line: &Line| Some(line.committers as f64);
        let offered = |line: &Line| line.offered_per_second.map(|rate| rate as f64);
        let throughput = |line: &Line| line.figures.commits_per_second;
        let title = |what: &str| format!("{what}, records of {size} bytes");
        let plot = |name, what, x, y| Plot {
            name: format!("{name}-{size}.svg"),
            title: title(what),
            x,
            y,
        };
        match self {
            Kind::Closed => vec![
                plot(
                    "throughput",
                    "Throughput",
                    ("committers", committers as fn(&Line) -> _),
                    ("commits per second", throughput as fn(&Line) -> _),
                ),
                plot(
                    "p50",
                    "Median latency against throughput",
                    ("commits per second", throughput),
                    ("p50 in µs", |line| line.figures.p50_us),
                ),
                plot(
                    "p99",
                    "99th percentile against throughput",
                    ("commits per second", throughput),
                    ("p99 in µs", |line| line.figures.p99_us),
                ),
            ],
            Kind::Open => vec![
                plot(
                    "open-loop-p50",
                    "Median latency at an offered rate",
                    ("offered commits per second", offered),
                    ("p50 in µs", |line| line.figures.p50_us),
                ),
                plot(
                    "open-loop-p99",
                    "99th percentile at an offered rate",
                    ("offered commits per second", offered),
                    ("p99 in µs", |line| line.figures.p99_us),
                ),
            ],
        }
    }
}

/// Writes the page.
pub fn write(
    file: &Path,
    kind: Kind,
    lines: &[Line],
    limit: &Limit,
    about: &str,
) -> Result<(), BenchError> {
    let failed = |source| BenchError::Report { path: file.to_owned(), source };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(file, page(kind, lines, limit, about)?).map_err(failed)
}

/// Writes each plot into a file of its own.
pub fn write_plots(folder: &Path, kind: Kind, lines: &[Line]) -> Result<(), BenchError> {
    let failed = |source| BenchError::Report { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    for (plot, lines) in plots(kind, lines) {
        std::fs::write(folder.join(&plot.name), draw(&plot, &lines)?).map_err(failed)?;
    }
    Ok(())
}

/// Each plot, with the lines that belong on it.
fn plots(kind: Kind, lines: &[Line]) -> impl Iterator<Item = (Plot, Vec<&Line>)> {
    let mut sizes: Vec<_> = lines.iter().map(|line| line.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.into_iter().flat_map(move |size| {
        let of_size: Vec<_> = lines.iter().filter(|line| line.size == size).collect();
        kind.plots(size).into_iter().map(move |plot| (plot, of_size.clone()))
    })
}

const HEAD: &str =
    "<!doctype html><meta charset=\"utf-8\"><title>Group commit, side by side</title>
<style>body{font:15px/1.4 sans-serif;max-width:62em;margin:2em auto;padding:0 1em}
svg{max-width:100%;height:auto}table{border-collapse:collapse}
td,th{padding:.2em .6em;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}pre{overflow-x:auto}</style>
<h1>Group commit, side by side</h1>\n";

fn page(kind: Kind, lines: &[Line], limit: &Limit, about: &str) -> Result<String, BenchError> {
    let mut page = HEAD.to_owned();
    let _ =
        writeln!(page, "<p>{}. Medians over rounds; scales are logarithmic.</p>", escape(about));
    for (plot, lines) in plots(kind, lines) {
        page += &draw(&plot, &lines)?;
    }
    page += &table(lines);
    let _ =
        writeln!(page, "<h2>What the disk allows</h2>\n<pre>{}</pre>", escape(&limit.text(lines)));
    page += "<table><tr><th>bytes<th>write and fdatasync, µs\n";
    for point in limit.points() {
        let _ = writeln!(page, "<tr><td>{}<td>{:.1}", point.bytes, point.write_and_sync_us);
    }
    page += "</table>\n";
    Ok(page)
}

fn table(lines: &[Line]) -> String {
    let mut table = String::from(
        "<h2>Figures</h2>\n<table><tr><th>engine<th>committers<th>offered/s<th>bytes<th>commits/s<th>p50 µs\
         <th>p99 µs<th>p99.9 µs<th>syncs<th>commits per sync<th>CPU µs per commit<th>MiB written<th>of the bound\n",
    );
    for line in lines {
        let cell = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let figures = &line.figures;
        let cells = [
            cell((line.committers > 0).then_some(line.committers as f64), 0),
            cell(line.offered_per_second.map(|rate| rate as f64), 0),
            line.size.to_string(),
            cell(figures.commits_per_second, 0),
            cell(figures.p50_us, 0),
            cell(figures.p99_us, 0),
            cell(figures.p999_us, 0),
            cell(figures.syncs.map(|syncs| syncs as f64), 0),
            cell(figures.commits_per_sync, 1),
            cell(figures.cpu_us_per_commit, 2),
            cell(mebibytes(figures.bytes_written), 1),
            cell(line.bounds.map(|bounds| bounds.efficiency * 100.0), 0) + " %",
        ];
        let error = line.error.as_deref().map(|error| format!("<td>{}", escape(error)));
        let _ = writeln!(
            table,
            "<tr><td>{}<td>{}{}",
            escape(&line.engine),
            cells.join("<td>"),
            error.unwrap_or_default()
        );
    }
    table + "</table>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One plot, with a line per engine. Nothing, if there is nothing to draw.
fn draw(plot: &Plot, lines: &[&Line]) -> Result<String, BenchError> {
    let failed = |error: &dyn ToString| BenchError::Plot(error.to_string());
    let point = |line: &&Line| {
        let point = ((plot.x.1)(line)?, (plot.y.1)(line)?);
        (point.0 > 0.0 && point.1 > 0.0).then_some(point)
    };
    let all: Vec<(f64, f64)> = lines.iter().filter_map(point).collect();
    if all.is_empty() {
        return Ok(String::new());
    }
    let around = |values: Vec<f64>| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        (least / 1.3)..(most * 1.3)
    };
    let x = around(all.iter().map(|point| point.0).collect());
    let y = around(all.iter().map(|point| point.1).collect());
    let mut engines: Vec<_> = lines.iter().map(|line| line.engine.as_str()).collect();
    engines.dedup();
    engines.sort_unstable();
    engines.dedup();

    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (960, 560)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(&plot.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(86)
            .build_cartesian_2d(x.log_scale(), y.log_scale())
            .map_err(|error| failed(&error))?;
        chart
            .configure_mesh()
            .x_desc(plot.x.0)
            .y_desc(plot.y.0)
            .x_label_formatter(&short)
            .y_label_formatter(&short)
            .draw()
            .map_err(|error| failed(&error))?;
        for (index, engine) in engines.iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let own = lines.iter().filter(|line| line.engine == **engine);
            let points: Vec<_> = own.filter_map(point).collect();
            let line = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
            chart.draw_series(line).map_err(|error| failed(&error))?.label(*engine).legend(
                move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)),
            );
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()
            .map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))?;
    }
    Ok(svg)
}

/// 1500 is 1.5k.
fn short(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}
