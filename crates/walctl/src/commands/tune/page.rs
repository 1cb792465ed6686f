//! The report: one HTML file with its plots in it, which opens offline.

use std::fmt::Write as _;

use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use super::matrix::{Cell, Group};
use super::{Tune, takes};
use crate::measure::log::Settings;
use crate::output::Failure;

const HEAD: &str = "<!doctype html>
<html lang=\"en\"><meta charset=\"utf-8\"><title>walctl tune</title>
<style>body{font:15px/1.45 sans-serif;max-width:64em;margin:2em auto;padding:0 1em;color:#222}
svg{max-width:100%;height:auto}table{border-collapse:collapse;margin:1em 0}figure{margin:1em 0}
td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd;vertical-align:top}
td.words,th.words{text-align:left}tr.taken td{background:#eef6ea}.worthless{background:#fbe9e7;padding:.7em}</style>
";

/// What is drawn against the number of clients.
struct Plot {
    name: &'static str,
    title: &'static str,
    unit: &'static str,
    value: fn(&Cell) -> f64,
}

const PLOTS: [Plot; 2] = [
    Plot {
        name: "throughput",
        title: "Throughput",
        unit: "commits per second",
        value: |cell| cell.figures.commits_per_second,
    },
    Plot {
        name: "p99",
        title: "99th percentile of the latency",
        unit: "p99 in us",
        value: |cell| cell.figures.latency.p99_us,
    },
];

/// The whole page.
///
/// # Errors
/// A plot could not be drawn.
pub(super) fn page(tune: &Tune, groups: &[Group], device: &str) -> Result<String, Failure> {
    let mut page = HEAD.to_owned();
    let mut line = |text: String| {
        page += &text;
        page.push('\n');
    };
    line("<h1>Settings for a log on this disk</h1>".to_owned());
    line(format!(
        "<p>{}: {}. Records of {} bytes; medians of {} rounds of {} s each, measured {}. Simulated disks: a sync sleeps for \
         the given time, and nothing is synced.</p>",
        escape(&tune.directory),
        escape(device),
        tune.record_bytes,
        tune.rounds,
        tune.cell_seconds,
        escape(&tune.measured),
    ));
    if let Some(warning) = &tune.warning {
        line(format!("<p class=\"worthless\">{}</p>", escape(warning)));
    }
    line("<h2>Recommendation</h2>".to_owned());
    line(recommendations(tune));
    for disk in &tune.disks {
        line(format!("<h2>Disk: {}</h2>", escape(&disk.name)));
        let groups: Vec<_> = groups.iter().filter(|it| it.disk.name() == disk.name).collect();
        for plot in &PLOTS {
            let svg = draw(plot, &groups)?;
            line(format!("<figure id=\"{}-{}\">{svg}</figure>", disk.name, plot.name));
        }
        line(cells(&groups));
    }
    line("</html>".to_owned());
    Ok(page)
}

fn recommendations(tune: &Tune) -> String {
    let mut table = "<table><tr><th class=\"words\">disk<th>clients<th class=\"words\">setting\
                     <th class=\"words\">reason"
        .to_owned();
    for advice in &tune.recommendations {
        let _ = write!(
            table,
            "\n<tr><td class=\"words\">{}<td>{}<td class=\"words\"><code>{}</code><td class=\"words\">{}",
            escape(&advice.disk),
            advice.clients,
            escape(&advice.setting),
            escape(&advice.reason),
        );
    }
    table + "</table>"
}

fn cells(groups: &[&Group]) -> String {
    let mut table = "<table><tr><th>clients<th class=\"words\">setting<th>commits/s<th>p50 us<th>p99 us<th>p99.9 us\
                     <th>syncs/s<th>commits per sync<th>CPU us per commit"
        .to_owned();
    for group in groups {
        for cell in &group.cells {
            let class = if takes(group, cell) { " class=\"taken\"" } else { "" };
            let it = &cell.figures;
            let _ = write!(
                table,
                "\n<tr{class}><td>{}<td class=\"words\">{}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.0}<td>{:.1}<td>{:.2}",
                group.clients,
                cell.settings.words(),
                it.commits_per_second,
                it.latency.p50_us,
                it.latency.p99_us,
                it.latency.p999_us,
                it.syncs_per_second,
                it.commits_per_sync,
                it.cpu_us_per_commit,
            );
        }
    }
    table + "</table>\n<p>A coloured row is the one that is recommended.</p>"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// One plot with a line for each setting. Both scales are logarithmic, so what is zero is left out.
fn draw(plot: &Plot, groups: &[&Group]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::refused(format_args!("the report can not be drawn: {error}"))
    };
    let settings: Vec<Settings> = groups
        .first()
        .map(|group| group.cells.iter().map(|cell| cell.settings).collect())
        .unwrap_or_default();
    let lines: Vec<Vec<(f64, f64)>> =
        (0..settings.len()).map(|index| points(plot, groups, index)).collect();
    let around = |values: &mut dyn Iterator<Item = f64>| {
        let (least, most) =
            values.fold((f64::INFINITY, 0.0), |(a, b), it| (f64::min(a, it), f64::max(b, it)));
        if most > 0.0 { least / 1.3..most * 1.3 } else { 1.0..10.0 }
    };
    let x = around(&mut lines.iter().flatten().map(|(x, _)| *x));
    // Room for the names of the lines, on the right of them all.
    let x = x.start..x.end * (x.end / x.start).powf(0.4);
    let y = around(&mut lines.iter().flatten().map(|(_, y)| *y));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (960, 480)).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(plot.title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(86)
            .build_cartesian_2d(x.log_scale(), y.log_scale())
            .map_err(|error| failed(&error))?;
        let mut mesh = chart.configure_mesh();
        let mesh = mesh.x_desc("clients").y_desc(plot.unit);
        let mesh = mesh.x_label_formatter(&short).y_label_formatter(&short);
        mesh.draw().map_err(|error| failed(&error))?;
        for (index, (settings, points)) in settings.iter().zip(lines).enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let is_default = *settings == Settings::default();
            let style = colour.stroke_width(if is_default { 4 } else { 2 });
            let name = settings.words() + if is_default { " (default)" } else { "" };
            let line = LineSeries::new(points, style).point_size(3);
            let series = chart.draw_series(line).map_err(|error| failed(&error))?;
            series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        let mut labels = chart.configure_series_labels();
        let labels = labels.position(SeriesLabelPosition::UpperRight);
        let labels = labels.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3));
        labels.draw().map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))?;
    }
    // Inside HTML the name space is known, and its name looks like an address.
    Ok(svg.replace(" xmlns=\"http://www.w3.org/2000/svg\"", ""))
}

fn points(plot: &Plot, groups: &[&Group], index: usize) -> Vec<(f64, f64)> {
    let point = |group: &&Group| {
        let value = (plot.value)(group.cells.get(index)?);
        (value > 0.0).then_some((group.clients as f64, value))
    };
    groups.iter().filter_map(point).collect()
}

/// 1500 is 1.5k.
fn short(value: &f64) -> String {
    match *value {
        value if value >= 1e6 => format!("{}M", value / 1e6),
        value if value >= 1e3 => format!("{}k", value / 1e3),
        value => format!("{value}"),
    }
}
