//! A picture of a run: arrivals, stock and waits over time, as SVG.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::cell::Row;
use crate::measure::Trace;
use crate::time::{Nanos, millis, seconds};

/// The width and the height, in pixels.
const SIZE: (u32, u32) = (1000, 720);

/// The points of a curve, so that a picture of a long run stays small.
const STEPS: u16 = 800;

/// A picture that cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("{file}: the picture cannot be written: {error}")]
pub struct PictureError {
    file: String,
    error: Box<dyn Error>,
}

/// Draws the runs of all rows whose course was recorded into a folder, which it creates.
///
/// # Errors
///
/// [`PictureError`] names the file or the folder that cannot be written.
pub fn draw_all(rows: &[Row], folder: &Path) -> Result<(), PictureError> {
    std::fs::create_dir_all(folder).map_err(|error| PictureError {
        file: folder.display().to_string(),
        error: error.into(),
    })?;
    rows.iter().try_for_each(|row| draw(row, folder))
}

/// Draws the run of a row, if its course was recorded.
fn draw(row: &Row, folder: &Path) -> Result<(), PictureError> {
    let Some(trace) = &row.trace else { return Ok(()) };
    let title =
        format!("{}, {} ms, {} takes, {}", row.pattern, millis(row.rtt), row.taker, row.law);
    let name: String =
        title.replace(", ", "-").replace(|char: char| !char.is_ascii_alphanumeric(), "-");
    let file = folder.join(name + ".svg");
    let failed = |error| PictureError { file: file.display().to_string(), error };
    panels(&file, &title, trace).map_err(failed)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A curve: its name, its colour, and its points.
type Curve = (&'static str, RGBColor, Vec<(f64, f64)>);

fn panels(file: &Path, title: &str, trace: &Trace) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let areas = root.split_evenly((3, 1));
    let span = 0.0..seconds(trace.end);
    let waits: Vec<(f64, f64)> =
        steps(trace, trace.waits.iter().map(|&(at, wait)| (at, millis(wait))))
            .into_iter()
            .filter_map(|(at, range)| Some((at, range?.1)))
            .collect();
    let curves: [(&str, Vec<Curve>); 2] = [
        ("arrivals a second", vec![("arrivals", BLACK, rate(trace))]),
        (
            "connections",
            vec![("capacity", RED, stock(trace, |s| s.2)), ("idle", BLUE, stock(trace, |s| s.1))],
        ),
    ];
    for (area, (label, curves)) in areas.iter().zip(curves) {
        let top = curves.iter().flat_map(|curve| &curve.2).map(|point| point.1).fold(1.0, f64::max);
        lines(area, span.clone(), top, label, curves)?;
    }
    if let Some(area) = areas.last() {
        let top = waits.iter().map(|point| point.1).fold(1.0, f64::max);
        let mut chart = chart(area).build_cartesian_2d(span, 0.0..top * 1.1)?;
        chart
            .configure_mesh()
            .max_light_lines(0)
            .x_desc("seconds")
            .y_desc("longest waits (ms)")
            .draw()?;
        chart.draw_series(waits.iter().map(|point| Circle::new(*point, 2, RED.filled())))?;
    }
    root.present()?;
    Ok(())
}

fn chart<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(8).x_label_area_size(34).y_label_area_size(56);
    chart
}

fn lines(
    area: &Area<'_>,
    span: Range<f64>,
    top: f64,
    label: &str,
    curves: Vec<Curve>,
) -> Result<(), Box<dyn Error>> {
    let mut chart = chart(area).build_cartesian_2d(span, 0.0..top * 1.1)?;
    chart.configure_mesh().max_light_lines(0).x_desc("seconds").y_desc(label).draw()?;
    let named = curves.len() > 1;
    for (name, colour, points) in curves {
        let series = chart.draw_series(LineSeries::new(points, colour))?;
        if named {
            series
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
        }
    }
    if named {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .draw()?;
    }
    Ok(())
}

/// Sorts values into the steps of the picture: the time of each step in seconds, and its least and its
/// greatest value.
fn steps(
    trace: &Trace,
    values: impl Iterator<Item = (Nanos, f64)>,
) -> Vec<(f64, Option<(f64, f64)>)> {
    let width = (trace.end / u64::from(STEPS)).max(1);
    let mut steps: Vec<(f64, Option<(f64, f64)>)> =
        (0..=u64::from(STEPS)).map(|step| (seconds(step * width), None)).collect();
    for (at, value) in values {
        let step = usize::try_from(at / width).ok().and_then(|step| steps.get_mut(step));
        if let Some((_, range)) = step {
            let (least, most) = range.unwrap_or((value, value));
            *range = Some((least.min(value), most.max(value)));
        }
    }
    steps
}

/// The arrivals a second, in each step.
fn rate(trace: &Trace) -> Vec<(f64, f64)> {
    let width = seconds((trace.end / u64::from(STEPS)).max(1));
    let mut points: Vec<(f64, f64)> =
        (0..=STEPS).map(|step| (f64::from(step) * width, 0.0)).collect();
    for at in &trace.arrivals {
        let step = usize::try_from(at / (trace.end / u64::from(STEPS)).max(1)).ok();
        if let Some((_, rate)) = step.and_then(|step| points.get_mut(step)) {
            *rate += 1.0 / width;
        }
    }
    points
}

/// A number of the stock over time: in each step its least and its greatest value.
fn stock(trace: &Trace, number: fn(&(Nanos, u32, u32)) -> u32) -> Vec<(f64, f64)> {
    let values = trace.stock.iter().map(|stock| (stock.0, f64::from(number(stock))));
    let mut last = 0.0;
    let mut points = Vec::new();
    for (at, range) in steps(trace, values) {
        let (least, most) = range.unwrap_or((last, last));
        points.extend([(at, least), (at, most)]);
        // The value that a step without changes keeps.
        let before = trace.stock.partition_point(|stock| seconds(stock.0) <= at);
        last = before
            .checked_sub(1)
            .and_then(|last| trace.stock.get(last))
            .map_or(0.0, |stock| f64::from(number(stock)));
    }
    points
}
