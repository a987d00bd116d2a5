//! Figures as SVG.

use std::error::Error;
use std::path::Path;

use plotters::coord::ranged1d::Ranged;
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 480);
const COLORS: [RGBColor; 4] =
    [RGBColor(31, 119, 180), RGBColor(214, 94, 20), RGBColor(90, 150, 60), RGBColor(120, 90, 160)];

/// A line: its name and its points.
pub type Line = (String, Vec<(f64, f64)>);

/// Draws lines over a logarithmic x axis into `file`.
pub fn lines(file: &Path, title: &str, axes: (&str, &str), lines: &[Line]) {
    let points = lines.iter().flat_map(|(_, points)| points);
    let (mut left, mut right, mut top) = (f64::INFINITY, 1.0f64, 0.0f64);
    for (x, y) in points {
        (left, right, top) = (left.min(*x), right.max(*x), top.max(*y));
    }
    let x = (left.min(right)..right.max(left * 2.0)).log_scale();
    draw_lines(file, title, axes, lines, x, top * 1.15).expect("plot");
}

fn draw_lines<X>(
    file: &Path,
    title: &str,
    (x_name, y_name): (&str, &str),
    lines: &[Line],
    x: X,
    top: f64,
) -> Result<(), Box<dyn Error>>
where
    X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    X::CoordDescType: plotters::coord::ranged1d::ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(x, 0f64..top)?;
    chart.configure_mesh().x_desc(x_name).y_desc(y_name).light_line_style(TRANSPARENT).draw()?;
    for ((name, points), color) in lines.iter().zip(COLORS) {
        let style = color.stroke_width(2);
        chart
            .draw_series(LineSeries::new(points.iter().copied(), style))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    root.present()?;
    Ok(())
}

/// Draws groups of bars into `file`: each group has a name and one value per kind.
pub fn bars(file: &Path, title: &str, unit: &str, kinds: &[&str], groups: &[(String, Vec<f64>)]) {
    draw_bars(file, title, unit, kinds, groups).expect("plot");
}

fn draw_bars(
    file: &Path,
    title: &str,
    unit: &str,
    kinds: &[&str],
    groups: &[(String, Vec<f64>)],
) -> Result<(), Box<dyn Error>> {
    let top = groups.iter().flat_map(|(_, values)| values).fold(0.0f64, |top, v| top.max(*v));
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d(0f64..groups.len() as f64, 0f64..top * 1.2)?;
    let name = |x: &f64| groups.get(*x as usize).map_or(String::new(), |(name, _)| name.clone());
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(groups.len() + 1)
        .x_label_formatter(&name)
        .y_desc(unit)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let width = 0.8 / kinds.len() as f64;
    for (kind, (name, color)) in kinds.iter().zip(COLORS).enumerate() {
        let bars = groups.iter().enumerate().map(|(group, (_, values))| {
            let left = group as f64 + 0.1 + kind as f64 * width;
            let corners = [(left, 0.0), (left + width * 0.95, values[kind])];
            Rectangle::new(corners, color.filled())
        });
        chart
            .draw_series(bars)?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
    root.present()?;
    Ok(())
}
