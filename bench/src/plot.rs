//! Curves as SVG files: what something costs as its work grows. Written by hand, for it is a few lines and a rectangle;
//! it has its own background, light or dark as the reader's system is, so it is legible on any page.

use std::{fmt::Write, fs, path::Path};

use crate::{
    error::BenchError,
    report::{Unit, number},
    results::Results,
};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
/// Room around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [76.0, 40.0, 36.0, 48.0];

/// A curve that a document shows.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    curve: &'static str,
    figure: &'static str,
    unit: Unit,
    x_name: &'static str,
    /// Whether equal steps to the right are equal factors.
    by_factors: bool,
}

/// All of them, in the order in which they are shown.
pub(crate) const PLOTS: [Plot; 6] = [
    Plot {
        file: "delivery.svg",
        title: "CPU per delivery, 50,000 deliveries/s",
        curve: "delivery",
        figure: "CPU per delivery",
        unit: Unit::Micros,
        x_name: "subscribers",
        by_factors: true,
    },
    Plot {
        file: "subscribe.svg",
        title: "CPU per join and leave of a fresh channel",
        curve: "subscribe",
        figure: "CPU per join and leave",
        unit: Unit::Micros,
        x_name: "channels",
        by_factors: true,
    },
    Plot {
        file: "subscription-memory.svg",
        title: "memory per subscription, 100 channels a connection",
        curve: "subscribe",
        figure: "RSS per subscription",
        unit: Unit::Kib,
        x_name: "channels",
        by_factors: true,
    },
    Plot {
        file: "presence.svg",
        title: "CPU per join and leave, presence channel",
        curve: "presence",
        figure: "CPU per join and leave",
        unit: Unit::Micros,
        x_name: "members",
        by_factors: false,
    },
    Plot {
        file: "member-added.svg",
        title: "CPU per member_added while all join",
        curve: "presence",
        figure: "CPU per member_added",
        unit: Unit::Micros,
        x_name: "members",
        by_factors: true,
    },
    Plot {
        file: "memory.svg",
        title: "resident memory",
        curve: "idle",
        figure: "RSS",
        unit: Unit::Kib,
        x_name: "connections",
        by_factors: false,
    },
];

impl Plot {
    /// Who has a curve here, and the curve.
    fn series(&self, results: &Results) -> Vec<(&'static str, Vec<(f64, f64)>)> {
        ["gema", "floor", "peer"]
            .into_iter()
            .map(|server| (server, results.curve(self.curve, self.figure, server)))
            .filter(|(_, points)| !points.is_empty())
            .collect()
    }

    /// The picture, if there is anything to show.
    pub(crate) fn svg(&self, results: &Results) -> Option<String> {
        let series = self.series(results);
        (!series.is_empty()).then(|| self.draw(&series))
    }

    fn draw(&self, series: &[(&str, Vec<(f64, f64)>)]) -> String {
        let all = || series.iter().flat_map(|(_, points)| points);
        let least_x = all().map(|p| p.0).fold(f64::MAX, f64::min).max(1.0);
        let most_x = all().map(|p| p.0).fold(1.0, f64::max);
        let most_y = all().map(|p| p.1).fold(0.0, f64::max);
        let (scale, unit) = match self.unit {
            Unit::Micros if most_y >= 1_000.0 => (1_000.0, "ms"),
            Unit::Micros => (1.0, "us"),
            Unit::Kib if most_y >= 1_024.0 => (1_024.0, "MiB"),
            _ => (1.0, "KiB"),
        };
        let top = round_up(most_y / scale) * scale;
        let [left, above, right, below] = MARGIN;
        let (width, height) = (WIDTH - left - right, HEIGHT - above - below);
        let place = |value: f64| match self.by_factors {
            true => {
                (value.max(1.0) / least_x).log10() / (most_x / least_x).log10().max(f64::EPSILON)
            }
            false => value / most_x,
        };
        let x = |value: f64| left + place(value) * width;
        let y = |value: f64| above + height - value / top * height;

        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" font-family="system-ui, sans-serif" font-size="12">
<style>
.page {{ fill: #ffffff }} text {{ fill: #1f2328 }} .grid {{ stroke: #d0d7de }}
.gema {{ stroke: #0969da; fill: #0969da }} .floor {{ stroke: #6e7781; fill: #6e7781 }} .peer {{ stroke: #bc4c00; fill: #bc4c00 }}
polyline {{ fill: none !important; stroke-width: 2 }}
@media (prefers-color-scheme: dark) {{
.page {{ fill: #0d1117 }} text {{ fill: #e6edf3 }} .grid {{ stroke: #30363d }}
.gema {{ stroke: #58a6ff; fill: #58a6ff }} .floor {{ stroke: #8b949e; fill: #8b949e }} .peer {{ stroke: #f0883e; fill: #f0883e }}
}}
</style>
<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>
<text x="{left}" y="24" font-size="14" font-weight="600">{title}</text>
"##,
            title = escaped(self.title),
        );
        for step in 0..=4 {
            let value = top * f64::from(step) / 4.0;
            let at = y(value);
            let _ = writeln!(
                svg,
                r#"<line class="grid" x1="{left}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}"/><text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                left + width,
                left - 8.0,
                at + 4.0,
                tick(value / scale, unit)
            );
        }
        let mut marks: Vec<f64> = all().map(|p| p.0).collect();
        marks.sort_unstable_by(f64::total_cmp);
        marks.dedup();
        for mark in marks {
            let _ = writeln!(
                svg,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                x(mark),
                above + height + 18.0,
                number(mark, Unit::Count)
            );
        }
        let _ = writeln!(
            svg,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            left + width / 2.0,
            HEIGHT - 10.0,
            escaped(self.x_name)
        );
        for (place, (server, points)) in series.iter().enumerate() {
            let line: Vec<String> = points
                .iter()
                .map(|(px, py)| format!("{:.1},{:.1}", x(*px), y(*py)))
                .collect();
            let _ = writeln!(
                svg,
                r#"<polyline class="{server}" points="{}"/>"#,
                line.join(" ")
            );
            for (px, py) in points {
                let _ = writeln!(
                    svg,
                    r#"<circle class="{server}" cx="{:.1}" cy="{:.1}" r="3.5"><title>{server}, {}: {}</title></circle>"#,
                    x(*px),
                    y(*py),
                    number(*px, Unit::Count),
                    number(*py, self.unit)
                );
            }
            let at = left + width - 70.0 * (series.len() - place) as f64 + 20.0;
            let _ = writeln!(
                svg,
                r#"<rect class="{server}" x="{at:.1}" y="15" width="10" height="10"/><text x="{:.1}" y="24">{server}</text>"#,
                at + 15.0
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Writes all plots that have something to show into a directory, which is made where it is missing.
pub(crate) fn write_all(results: &Results, to: &Path) -> Result<(), BenchError> {
    fs::create_dir_all(to).map_err(BenchError::io("making the directory of the plots"))?;
    for plot in &PLOTS {
        if let Some(svg) = plot.svg(results) {
            fs::write(to.join(plot.file), svg).map_err(BenchError::io("writing a plot"))?;
        }
    }
    Ok(())
}

/// The next number of the form 1, 2, 4, 5 or 8 times a power of ten: its quarters are short to write.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value);
    step.unwrap_or(10.0) * power
}

/// A number on an axis, without digits that say nothing.
fn tick(value: f64, unit: &str) -> String {
    let text = format!("{value:.3}");
    format!(
        "{} {unit}",
        text.trim_end_matches('0').trim_end_matches('.')
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::results::tests::one;

    #[test]
    fn a_plot_has_a_line_for_each_server_and_a_point_for_each_size() {
        let mut results = Results::about(json!({}), 1);
        assert_eq!(PLOTS[0].svg(&results), None);
        for (x, us) in [(100, 5.0), (1_000, 5.5), (10_000, 7.0)] {
            let id = format!("fanout-{x}");
            results.put(&id, Some(("delivery", x)), one("CPU per delivery", us, 4.0));
        }
        let svg = PLOTS[0].svg(&results).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 6);
        assert!(svg.contains("gema, 10,000: 7.00 us"), "{svg}");
        assert!(svg.contains(">6 us<"), "{svg}");
        assert!(svg.contains("prefers-color-scheme: dark"));
        // Within the picture, and the dearer point higher up.
        let line = svg
            .lines()
            .find(|l| l.starts_with(r#"<polyline class="gema""#))
            .unwrap();
        let points = line.split('"').nth(3).unwrap();
        let points: Vec<(f64, f64)> = points
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(
            points
                .iter()
                .all(|&(x, y)| (76.0..=604.0).contains(&x) && (40.0..=272.0).contains(&y))
        );
        assert!(points[0].1 > points[2].1);
    }

    #[test]
    fn an_axis_ends_at_a_short_number() {
        for (value, end) in [
            (0.0, 1.0),
            (0.11, 0.2),
            (7.2, 8.0),
            (8.1, 10.0),
            (21_000.0, 40_000.0),
        ] {
            let found = round_up(value);
            assert!((found - end).abs() < end * 1e-9, "{value}: {found}");
        }
    }
}
