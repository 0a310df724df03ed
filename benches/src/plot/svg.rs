//! Drawing, through the library.

use std::fs;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 450);
const PANEL_HEIGHT: u32 = 150;
const FONT: &str = "sans-serif";

/// Told apart by those who see colours differently, and clear of both backgrounds.
const COLORS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(150, 130, 0),
];

pub const QUIET: RGBColor = RGBColor(140, 140, 140);

/// What the viewer's preference replaces.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) {\
    [fill=\"#FFFFFF\"] { fill: #0d1117 } [fill=\"#000000\"] { fill: #e6edf3 } \
    [stroke=\"#000000\"] { stroke: #8b949e } [stroke=\"#D0D0D0\"] { stroke: #30363d } }</style>\n";
const GRID: RGBColor = RGBColor(0xd0, 0xd0, 0xd0);

pub struct Axes<'a> {
    pub x: &'a str,
    pub y: &'a str,
}

pub struct Line {
    name: String,
    pub points: Vec<(f64, f64)>,
    color: Option<usize>,
    dashed: bool,
}

pub struct Bar {
    pub name: String,
    pub value: f64,
    pub label: String,
    pub color: RGBColor,
}

impl Line {
    pub fn solid(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, color: None, dashed: false }
    }

    pub fn dots(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self::solid(name, points)
    }

    pub fn dashed(name: &str, points: Vec<(f64, f64)>, color: usize) -> Self {
        Self { name: name.to_owned(), points, color: Some(color), dashed: true }
    }

    pub fn colored(self, color: usize) -> Self {
        Self { color: Some(color), ..self }
    }

    fn color(&self, place: usize) -> RGBColor {
        line_color(self.color.unwrap_or(place))
    }
}

pub fn line_color(place: usize) -> RGBColor {
    COLORS[place % COLORS.len()]
}

/// The grid and the names of the axes; a macro, as each kind of axis makes a type of its own.
macro_rules! mesh {
    ($chart:expr, $axes:expr) => {
        $chart
            .configure_mesh()
            .x_desc($axes.x)
            .y_desc($axes.y)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(BLACK)
            .label_style((FONT, 13).into_font().color(&BLACK))
            .axis_desc_style((FONT, 14).into_font().color(&BLACK))
            .draw()?
    };
}

macro_rules! legend {
    ($chart:expr) => {
        $chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .label_font((FONT, 13).into_font().color(&BLACK))
            .draw()?
    };
}

/// False if there is nothing to draw.
pub fn chart(file: &Path, axes: &Axes<'_>, lines: &[Line]) -> Result<bool> {
    let Some((width, height)) = extent(lines) else { return Ok(false) };
    draw(file, SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(0.0..width, 0.0..height)?;
        mesh!(chart, axes);
        for (place, line) in lines.iter().enumerate() {
            let color = line.color(place);
            let points = line.points.iter().copied();
            let style = color.stroke_width(2);
            if line.dashed {
                let dashes = DashedLineSeries::new(points, 6, 5, style);
                chart
                    .draw_series(dashes)?
                    .label(&line.name)
                    .legend(move |(x, y)| sample(x, y, color, 8));
            } else {
                chart
                    .draw_series(LineSeries::new(points, style))?
                    .label(&line.name)
                    .legend(move |(x, y)| sample(x, y, color, 20));
            }
        }
        legend!(chart);
        Ok(())
    })
}

/// Dots over a logarithmic axis.
pub fn scatter(file: &Path, axes: &Axes<'_>, lines: &[Line]) -> Result<bool> {
    let Some((width, height)) = extent(lines) else { return Ok(false) };
    draw(file, SIZE, |area| {
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d((1.0..width).log_scale(), 0.0..height)?;
        mesh!(chart, axes);
        for (place, line) in lines.iter().enumerate() {
            let color = line.color(place);
            let dot = |point: &(f64, f64)| Circle::new(*point, 2, color.filled());
            chart
                .draw_series(line.points.iter().map(dot))?
                .label(&line.name)
                .legend(move |(x, y)| sample(x, y, color, 8));
        }
        legend!(chart);
        Ok(())
    })
}

/// A panel of bars for each name.
pub fn bars(file: &Path, panels: &[(String, Vec<Bar>)]) -> Result<bool> {
    if panels.is_empty() {
        return Ok(false);
    }
    let rows = panels.len().div_ceil(2);
    draw(file, (SIZE.0, PANEL_HEIGHT * rows as u32), |area| {
        for (panel, (title, bars)) in area.split_evenly((rows, 2)).iter().zip(panels) {
            draw_bars(panel, title, bars)?;
        }
        Ok(())
    })
}

fn draw_bars(panel: &Area<'_>, title: &str, bars: &[Bar]) -> Result<(), Failure> {
    const NAMES: i32 = 110;
    const ROW: i32 = 20;
    const TOP: i32 = 34;
    let text = |size: i32| (FONT, size).into_font().color(&BLACK);
    panel.draw(&Text::new(title.to_owned(), (12, 10), text(14)))?;
    let largest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(panel.dim_in_pixel().0) - f64::from(NAMES) - 110.0;
    for (bar, top) in bars.iter().zip((TOP..).step_by(ROW as usize)) {
        let end = NAMES + (room * bar.value / largest).round() as i32;
        panel.draw(&Text::new(bar.name.clone(), (12, top + 1), text(12)))?;
        let area = [(NAMES, top), (end.max(NAMES + 1), top + ROW - 6)];
        panel.draw(&Rectangle::new(area, bar.color.filled()))?;
        panel.draw(&Text::new(bar.label.clone(), (end + 6, top + 1), text(12)))?;
    }
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Failure = Box<dyn std::error::Error>;

fn draw(
    file: &Path,
    size: (u32, u32),
    paint: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<bool> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let painted = area.fill(&WHITE).map_err(Failure::from).and_then(|()| paint(&area));
        painted.map_err(|error| anyhow!("{}: {error}", file.display()))?;
        area.present()?;
    }
    let start = svg.find("<rect").unwrap_or_default();
    svg.insert_str(start, DARK);
    fs::write(file, svg)?;
    Ok(true)
}

fn extent(lines: &[Line]) -> Option<(f64, f64)> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let width = points().map(|point| point.0).fold(0.0, f64::max);
    let height = points().map(|point| point.1).fold(0.0, f64::max);
    (width > 1.0 && height > 0.0).then_some((width * 1.04, height * 1.04))
}

fn sample(x: i32, y: i32, color: RGBColor, length: i32) -> PathElement<(i32, i32)> {
    PathElement::new([(x, y), (x + length, y)], color.stroke_width(3))
}
