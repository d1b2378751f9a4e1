//! Figures and how they are shown: medians over rounds, ratios to what they are held against, a table for people and JSON for tools.

use std::fmt::{self, Write};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// What a figure counts; decides how it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Micros,
    Kib,
    Percent,
    Count,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Micros => "us",
            Self::Kib => "KiB",
            Self::Percent => "%",
            Self::Count => "",
        }
    }
}

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(name: &str, unit: Unit, value: f64) -> Self {
        Self {
            name: name.to_owned(),
            unit,
            value,
        }
    }

    pub(crate) fn count(name: &str, value: u64) -> Self {
        Self::new(name, Unit::Count, value as f64)
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = number(self.value, self.unit);
        write!(f, "{:<40} {text:>12}", self.name)
    }
}

/// A histogram of microseconds up to one minute with two significant digits; small enough for the cache.
pub(crate) fn histogram() -> Histogram<u64> {
    const MINUTE_US: u64 = 60_000_000;
    Histogram::new_with_bounds(1, MINUTE_US, 2).unwrap_or_else(|_| unreachable!("valid bounds"))
}

/// The percentiles people ask for, of times in microseconds.
pub(crate) fn latency(name: &str, times_us: &Histogram<u64>) -> Vec<Figure> {
    [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)]
        .map(|(label, quantile)| {
            let value = times_us.value_at_quantile(quantile) as f64;
            Figure::new(&format!("{name} {label}"), Unit::Micros, value)
        })
        .into()
}

/// All rounds of one scenario.
#[derive(Debug)]
pub(crate) struct Comparison {
    scenario: String,
    /// What gema is held against: the floor, or itself alone.
    base_name: &'static str,
    gema: Vec<Vec<Figure>>,
    base: Vec<Vec<Figure>>,
}

/// One figure of a comparison over all rounds.
struct Row<'a> {
    figure: &'a Figure,
    gema: Vec<f64>,
    base: Vec<f64>,
}

impl Row<'_> {
    /// gema's median over the base's, where the base has the figure and it is not zero.
    fn ratio(&self) -> Option<f64> {
        let base = median(&self.base).filter(|&base| base > 0.0)?;
        Some(median(&self.gema)? / base)
    }
}

impl Comparison {
    pub(crate) fn new(scenario: &str, base_name: &'static str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            base_name,
            gema: Vec::new(),
            base: Vec::new(),
        }
    }

    /// Enters one round of gema.
    pub(crate) fn add_gema(&mut self, figures: Vec<Figure>) {
        self.gema.push(figures);
    }

    /// Enters one round of what it is held against.
    pub(crate) fn add_base(&mut self, figures: Vec<Figure>) {
        self.base.push(figures);
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let values = |rounds: &[Vec<Figure>], name: &str| {
            rounds
                .iter()
                .filter_map(|figures| figures.iter().find(|f| f.name == name))
                .map(|figure| figure.value)
                .collect()
        };
        self.gema
            .first()
            .into_iter()
            .flatten()
            .map(move |figure| Row {
                figure,
                gema: values(&self.gema, &figure.name),
                base: values(&self.base, &figure.name),
            })
    }

    /// The medians as a Markdown table under the scenario's name.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "\n{}\n\n| {:<34} | {:>12} | {:>12} | {:>6} |\n|{:-<36}|{:->14}|{:->14}|{:->8}|\n",
            self.scenario, "median", "gema", self.base_name, "ratio", "", ":", ":", ":"
        );
        for row in self.rows() {
            let show = |values: &[f64]| median(values).map(|value| number(value, row.figure.unit));
            let ratio = row.ratio().map(|ratio| format!("{ratio:.2}"));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {:<34} | {:>12} | {:>12} | {:>6} |",
                row.figure.name,
                show(&row.gema).unwrap_or_default(),
                show(&row.base).unwrap_or_default(),
                ratio.unwrap_or_default()
            );
        }
        text
    }

    /// Every round's values, the medians and the ratio.
    pub(crate) fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .rows()
            .map(|row| {
                json!({
                    "figure": row.figure.name,
                    "unit": row.figure.unit.name(),
                    "gema": {"median": median(&row.gema), "rounds": row.gema},
                    self.base_name: {"median": median(&row.base), "rounds": row.base},
                    "ratio": row.ratio(),
                })
            })
            .collect();
        json!({"scenario": self.scenario, "figures": figures})
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

/// Three significant digits for small values, none behind the point for large ones; counts as they are.
fn number(value: f64, unit: Unit) -> String {
    let digits = match unit {
        Unit::Count => 0,
        _ if value >= 100.0 => 0,
        _ if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {}", unit.name())
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_depend_on_the_order_of_the_rounds() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 9.0, 1.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn a_ratio_is_shown_only_where_the_base_has_the_figure() {
        let mut comparison = Comparison::new("fan-out", "floor");
        for value in [4.0, 6.0, 5.0] {
            comparison.add_gema(vec![
                Figure::new("CPU", Unit::Micros, value),
                Figure::count("lost", 0),
                Figure::new("RSS", Unit::Kib, 900.0),
            ]);
            comparison.add_base(vec![
                Figure::new("CPU", Unit::Micros, 4.0),
                Figure::count("lost", 0),
            ]);
        }
        let table = comparison.table();
        let line = |name: &str| {
            let start = format!("| {name} ");
            table
                .lines()
                .find(|l| l.starts_with(&start))
                .unwrap()
                .to_owned()
        };
        let cells = |name: &str| -> Vec<String> {
            line(name)
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        assert_eq!(cells("CPU")[2..5], ["5.00 us", "4.00 us", "1.25"]);
        assert_eq!(cells("lost")[2..5], ["0", "0", ""]);
        assert_eq!(cells("RSS")[2..5], ["900 KiB", "", ""]);
        let json = comparison.json();
        assert_eq!(json["figures"][0]["ratio"], 1.25);
        assert_eq!(json["figures"][0]["gema"]["rounds"], json!([4.0, 6.0, 5.0]));
        assert_eq!(json["figures"][2]["floor"]["median"], Value::Null);
    }

    #[test]
    fn percentiles_are_those_of_the_recorded_times() {
        let mut times = histogram();
        for us in 1..=100 {
            times.saturating_record(us);
        }
        let figures = latency("delivery", &times);
        assert_eq!(figures[0].name, "delivery p50");
        let values: Vec<f64> = figures.iter().map(|f| f.value).collect();
        assert_eq!(values, [50.0, 99.0, 100.0, 100.0]);
    }
}
