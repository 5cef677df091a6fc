//! The picture: how far each figure is from its goal.

use std::path::Path;

use plotters::prelude::*;

use crate::Outcome;

/// A line of the picture.
pub(crate) struct Bar {
    pub(crate) name: String,
    /// The tenth percentile, the median and the ninetieth, each over the goal: below 1 is better.
    pub(crate) spread: [f64; 3],
    pub(crate) is_reached: bool,
}

/// The picture shows an eighth of the goal to eight times the goal, on a logarithmic scale.
const WIDEST: f64 = 3.0;

/// Draws the bars from top to bottom.
pub(crate) fn draw(path: &Path, title: &str, bars: &[Bar]) -> Outcome {
    let height = 90 + 18 * u32::try_from(bars.len())?;
    let root = SVGBackend::new(path, (1_000, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let rows = f64::from(u32::try_from(bars.len())?);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .margin_left(470)
        .x_label_area_size(30)
        .build_cartesian_2d(-WIDEST..WIDEST, rows..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(7)
        .x_label_formatter(&|power: &f64| format!("{:.3}", power.exp2()))
        .x_desc("of the goal; the left is better")
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (0.0, rows)], BLACK))?;
    let place = |value: f64| value.log2().clamp(-WIDEST, WIDEST);
    for (row, bar) in (0_u32..).zip(bars) {
        let y = f64::from(row) + 0.5;
        let colour = if bar.is_reached { GREEN.mix(0.8) } else { RED.mix(0.8) };
        let [low, middle, high] = bar.spread.map(place);
        chart.draw_series([PathElement::new([(low, y), (high, y)], colour)])?;
        chart.draw_series([Circle::new((middle, y), 4, colour.filled())])?;
        let (_, top) = chart.backend_coord(&(0.0, y));
        root.draw_text(&bar.name, &("sans-serif", 12).into_text_style(&root), (10, top - 6))?;
    }
    root.present()?;
    Ok(())
}
