//! The results of a comparison as they stand in its JSON file: written by `compare`, read by `report`, `plot` and
//! `capacity`.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    error::BenchError,
    report::{Figure, Unit, number},
};

/// A whole file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Results(Value);

impl Results {
    /// Results of this machine without any scenario yet.
    pub(crate) fn about(machine: Value, rounds: u32) -> Self {
        Self(json!({"machine": machine, "rounds": rounds, "results": [], "micro": []}))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, BenchError> {
        let wrong = |why: String| BenchError::Results {
            path: path.display().to_string(),
            why,
        };
        let text = fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let all: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        match all["results"].is_array() {
            true => Ok(Self(all)),
            false => Err(wrong(
                "not the results of a comparison: write them with compare --json".to_owned(),
            )),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), BenchError> {
        fs::write(path, format!("{:#}\n", self.0)).map_err(BenchError::io("writing the results"))
    }

    /// Notes that the sizes were tiny, so that nobody takes the figures for such.
    pub(crate) fn quick(&mut self, quick: bool) {
        self.0["quick"] = json!(quick);
    }

    pub(crate) fn is_quick(&self) -> bool {
        self.0["quick"] == true
    }

    /// Enters one scenario, in the place of what was there of it.
    pub(crate) fn put(&mut self, id: &str, point: Option<(&str, usize)>, mut result: Value) {
        result["id"] = json!(id);
        if let Some((curve, x)) = point {
            result["curve"] = json!(curve);
            result["x"] = json!(x);
        }
        let Some(list) = self.0["results"].as_array_mut() else {
            return;
        };
        match list.iter_mut().find(|old| old["id"] == id) {
            Some(old) => *old = result,
            None => list.push(result),
        }
    }

    /// Enters the micro-benchmarks.
    pub(crate) fn put_micro(&mut self, rows: Vec<Figure>) {
        let rows = rows.into_iter();
        let rows = rows.map(|row| json!({"name": row.name, "ns": row.value * 1e3}));
        self.0["micro"] = rows.collect();
    }

    /// Takes over what the newer ones have; what they do not have stays.
    pub(crate) fn merge(&mut self, newer: Self) {
        for result in newer.all() {
            let id = result["id"].as_str().unwrap_or_default();
            self.put(id, None, result.clone());
        }
        if newer.0["micro"]
            .as_array()
            .is_some_and(|rows| !rows.is_empty())
        {
            self.0["micro"] = newer.0["micro"].clone();
        }
        self.0["machine"] = newer.0["machine"].clone();
    }

    /// All scenarios.
    pub(crate) fn all(&self) -> &[Value] {
        self.0["results"].as_array().map_or(&[], Vec::as_slice)
    }

    /// One scenario, or null.
    pub(crate) fn of(&self, id: &str) -> &Value {
        self.all()
            .iter()
            .find(|result| result["id"] == id)
            .unwrap_or(&Value::Null)
    }

    /// The row of a figure in a scenario, or null.
    pub(crate) fn row(&self, id: &str, figure: &str) -> &Value {
        let rows = self.of(id)["figures"].as_array();
        rows.into_iter()
            .flatten()
            .find(|row| row["figure"] == figure)
            .unwrap_or(&Value::Null)
    }

    /// The median of gema's rounds.
    pub(crate) fn gema(&self, id: &str, figure: &str) -> Option<f64> {
        self.row(id, figure)["gema"]["median"].as_f64()
    }

    /// gema's median over another server's.
    pub(crate) fn ratio(&self, id: &str, figure: &str, other: &str) -> Option<f64> {
        self.row(id, figure)[other]["ratio"].as_f64()
    }

    /// The points of a curve for a server, by x; those without the figure are left out.
    pub(crate) fn curve(&self, curve: &str, figure: &str, server: &str) -> Vec<(f64, f64)> {
        let mut points: Vec<(f64, f64)> = self
            .all()
            .iter()
            .filter(|result| result["curve"] == curve)
            .filter_map(|result| {
                let x = result["x"].as_f64()?;
                let row = self.row(result["id"].as_str()?, figure);
                Some((x, row[server]["median"].as_f64()?))
            })
            .collect();
        points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        points
    }

    /// Rounds of the scenarios that are held against an aim.
    pub(crate) fn rounds(&self) -> u64 {
        self.0["rounds"].as_u64().unwrap_or(1)
    }

    pub(crate) fn machine(&self) -> &Value {
        &self.0["machine"]
    }

    pub(crate) fn machine_line(&self) -> String {
        let machine = self.machine();
        let text = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
        format!(
            "{} x {}, Linux {}, {}, commit {}",
            machine["cores"],
            text("cpu"),
            text("kernel"),
            text("date"),
            text("commit")
        )
    }

    /// The micro-benchmarks as a Markdown table; nothing when there are none.
    pub(crate) fn micro_table(&self) -> String {
        let rows = self.0["micro"].as_array().into_iter().flatten();
        let mut text = String::new();
        for row in rows {
            if text.is_empty() {
                text = "\n| piece of the protocol crate | time |\n|---|---:|\n".to_owned();
            }
            let name = row["name"].as_str().unwrap_or_default();
            let ns = row["ns"].as_f64().unwrap_or_default();
            text += &format!("| {name} | {} ns |\n", number(ns, Unit::Count));
        }
        text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A result with one figure of gema and the floor.
    pub(crate) fn one(figure: &str, gema: f64, floor: f64) -> Value {
        json!({"scenario": "s", "servers": ["gema", "floor"], "figures": [
            {"figure": figure, "unit": "us", "gema": {"median": gema},
             "floor": {"median": floor, "ratio": gema / floor}}]})
    }

    #[test]
    fn a_scenario_measured_again_takes_the_place_of_the_old_and_the_rest_stays() {
        let mut old = Results::about(json!({"commit": "a"}), 3);
        old.put("x", Some(("c", 10)), one("CPU", 2.0, 1.0));
        old.put("y", Some(("c", 5)), one("CPU", 3.0, 1.0));
        let mut new = Results::about(json!({"commit": "b"}), 1);
        new.put("x", Some(("c", 10)), one("CPU", 4.0, 1.0));
        old.merge(new);
        assert_eq!(old.gema("x", "CPU"), Some(4.0));
        assert_eq!(old.ratio("y", "CPU", "floor"), Some(3.0));
        assert_eq!(old.curve("c", "CPU", "gema"), [(5.0, 3.0), (10.0, 4.0)]);
        assert_eq!(old.machine()["commit"], "b");
        assert_eq!((old.gema("z", "CPU"), old.all().len()), (None, 2));
    }

    #[test]
    fn a_file_that_is_something_else_is_told_with_its_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "{}").unwrap();
        let error = Results::read(file.path()).unwrap_err().to_string();
        assert!(error.contains("compare --json"), "{error}");
    }
}
