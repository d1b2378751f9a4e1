//! Figures and how they are shown: medians over rounds, ratios to what they are held against, a table for people and
//! JSON for tools.

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
    /// Of two of the others.
    Ratio,
}

impl Unit {
    /// The unit of that name, as JSON has it.
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "us" => Self::Micros,
            "KiB" => Self::Kib,
            "%" => Self::Percent,
            "ratio" => Self::Ratio,
            _ => Self::Count,
        }
    }

    fn in_json(self) -> &'static str {
        match self {
            Self::Ratio => "ratio",
            _ => self.name(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Micros => "us",
            Self::Kib => "KiB",
            Self::Percent => "%",
            Self::Count | Self::Ratio => "",
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

/// All rounds of one scenario, a column a server; the first is what the others are there to compare with.
#[derive(Debug)]
pub(crate) struct Comparison {
    scenario: String,
    columns: Vec<(String, Vec<Vec<Figure>>)>,
}

impl Comparison {
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            columns: Vec::new(),
        }
    }

    /// Gives the server a column, behind those that are there.
    pub(crate) fn column(&mut self, server: &str) {
        self.columns.push((server.to_owned(), Vec::new()));
    }

    /// Enters one round of a server that has a column.
    pub(crate) fn add(&mut self, server: &str, figures: Vec<Figure>) {
        if let Some((_, rounds)) = self.columns.iter_mut().find(|(name, _)| name == server) {
            rounds.push(figures);
        }
    }

    /// Every round's values, the medians, and for each later column the first one's median over its.
    pub(crate) fn json(&self) -> Value {
        let mut names: Vec<(&str, Unit)> = Vec::new();
        for figure in self.columns.iter().flat_map(|(_, rounds)| rounds).flatten() {
            if !names.iter().any(|(name, _)| *name == figure.name) {
                names.push((&figure.name, figure.unit));
            }
        }
        let figures: Vec<Value> = names
            .iter()
            .map(|&(name, unit)| {
                let mut row = json!({"figure": name, "unit": unit.in_json()});
                let mut first = None;
                for (at, (server, rounds)) in self.columns.iter().enumerate() {
                    let values: Vec<f64> = rounds
                        .iter()
                        .filter_map(|figures| figures.iter().find(|f| f.name == name))
                        .map(|figure| figure.value)
                        .collect();
                    let middle = median(&values);
                    row[server] = json!({"median": middle, "rounds": values});
                    if at == 0 {
                        first = middle;
                    } else if let Some((first, base)) = first.zip(middle.filter(|&base| base > 0.0))
                    {
                        row[server]["ratio"] = json!(first / base);
                    }
                }
                row
            })
            .collect();
        let servers: Vec<&String> = self.columns.iter().map(|(name, _)| name).collect();
        json!({"scenario": self.scenario, "servers": servers, "figures": figures})
    }
}

/// A result as [`Comparison::json`] gives it, as a Markdown table under the scenario's name; `skip` leaves out figures
/// by their name.
pub(crate) fn table(result: &Value, skip: impl Fn(&str) -> bool) -> String {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().into_iter().flatten();
        list.filter_map(|text| Some(text.as_str()?.to_owned()))
            .collect()
    };
    let servers = texts(&result["servers"]);
    let mut text = format!("\n{}\n\n", result["scenario"].as_str().unwrap_or_default());
    let mut line = |cells: Vec<String>| {
        let mut cells = cells.into_iter();
        let name = cells.next().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = write!(text, "| {name:<44} |");
        for cell in cells {
            let _ = write!(text, " {cell:>12} |");
        }
        text.push('\n');
    };
    let mut head = vec!["median".to_owned()];
    for (at, server) in servers.iter().enumerate() {
        head.push(server.clone());
        if at > 0 {
            head.push("ratio".to_owned());
        }
    }
    let columns = head.len();
    line(head);
    let mut rule = vec!["-".repeat(44)];
    rule.extend(std::iter::repeat_n(
        format!("{}:", "-".repeat(11)),
        columns - 1,
    ));
    line(rule);
    for figure in result["figures"].as_array().into_iter().flatten() {
        let name = figure["figure"].as_str().unwrap_or_default();
        if skip(name) {
            continue;
        }
        let unit = Unit::named(figure["unit"].as_str().unwrap_or_default());
        let mut cells = vec![name.to_owned()];
        for (at, server) in servers.iter().enumerate() {
            let value = &figure[server];
            let shown = value["median"].as_f64().map(|value| number(value, unit));
            cells.push(shown.unwrap_or_default());
            if at > 0 {
                let ratio = value["ratio"].as_f64().map(|ratio| format!("{ratio:.2}"));
                cells.push(ratio.unwrap_or_default());
            }
        }
        line(cells);
    }
    text
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
pub(crate) fn number(value: f64, unit: Unit) -> String {
    let (value, name) = match unit {
        Unit::Micros if value >= 10_000.0 => (value / 1_000.0, "ms"),
        Unit::Kib if value >= 10_240.0 => (value / 1_024.0, "MiB"),
        _ => (value, unit.name()),
    };
    let digits = match unit {
        Unit::Count => 0,
        _ if value.abs() >= 100.0 => 0,
        _ if value.abs() >= 10.0 => 1,
        _ => 2,
    };
    let plain = format!("{value:.digits$}");
    let (sign, plain) = plain
        .strip_prefix('-')
        .map_or(("", &*plain), |rest| ("-", rest));
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{rest} {name}")
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
    fn a_ratio_is_shown_only_where_both_have_the_figure() {
        let mut comparison = Comparison::new("fan-out");
        comparison.column("gema");
        comparison.column("floor");
        for value in [4.0, 6.0, 5.0] {
            comparison.add(
                "gema",
                vec![
                    Figure::new("CPU", Unit::Micros, value),
                    Figure::count("lost", 0),
                    Figure::new("RSS", Unit::Kib, 900.0),
                ],
            );
            let floor = vec![
                Figure::new("CPU", Unit::Micros, 4.0),
                Figure::count("lost", 0),
            ];
            comparison.add("floor", floor);
        }
        let json = comparison.json();
        let table = table(&json, |name| name == "hidden");
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
        assert_eq!(cells("median")[2..5], ["gema", "floor", "ratio"]);
        assert_eq!(cells("CPU")[2..5], ["5.00 us", "4.00 us", "1.25"]);
        assert_eq!(cells("lost")[2..5], ["0", "0", ""]);
        assert_eq!(cells("RSS")[2..5], ["900 KiB", "", ""]);
        assert_eq!(json["figures"][0]["floor"]["ratio"], 1.25);
        assert_eq!(json["figures"][0]["gema"]["rounds"], json!([4.0, 6.0, 5.0]));
        assert_eq!(json["figures"][2]["floor"]["median"], Value::Null);
    }

    #[test]
    fn numbers_are_short_and_say_their_unit() {
        assert_eq!(number(1_234_567.0, Unit::Count), "1,234,567");
        assert_eq!(number(-12_345.0, Unit::Kib), "-12,345 KiB");
        assert_eq!(number(20_480.0, Unit::Kib), "20.0 MiB");
        assert_eq!(number(123_456.0, Unit::Micros), "123 ms");
        assert_eq!(number(5.294, Unit::Micros), "5.29 us");
        assert_eq!(number(1.0, Unit::Ratio), "1.00");
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
