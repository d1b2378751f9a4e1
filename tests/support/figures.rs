//! What `GET /metrics` says, read as Prometheus reads it, and as strictly as `promtool check metrics`.

use std::collections::{BTreeMap, BTreeSet};

use super::Server;
use super::http::Answer;

/// One scrape.
#[derive(Debug, Default)]
pub struct Figures {
    /// Type by the family's name.
    pub types: BTreeMap<String, String>,
    /// Value by series: name and labels as they are written.
    series: BTreeMap<String, f64>,
}

impl Server {
    pub fn admin_url(&self, path: &str) -> String {
        let address = self.admin.expect("a server with an admin listener");
        format!("http://{address}{path}")
    }

    pub async fn figures(&self) -> Figures {
        let response = self.http.get(self.admin_url("/metrics")).send().await;
        let answer = Answer::of(response.expect("an answer")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        Figures::parse(&answer.text)
    }
}

impl Figures {
    /// The value of a series such as `channels` or `subscriptions{kind="public"}`, `gema_` left out; zero where there
    /// is none.
    pub fn of(&self, series: &str) -> f64 {
        let value = self.series.get(&format!("gema_{series}"));
        value.copied().unwrap_or(0.0)
    }

    /// Fails where Prometheus or its linter would.
    pub fn parse(text: &str) -> Figures {
        let mut figures = Figures::default();
        let mut described = BTreeSet::new();
        let mut family = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').expect("a help text");
                assert!(!help.is_empty(), "{line}");
                assert!(described.insert(name.to_owned()), "described twice: {name}");
                family = name.to_owned();
            } else if let Some(of) = line.strip_prefix("# TYPE ") {
                let (name, kind) = of.split_once(' ').expect("a type");
                assert_eq!(name, family, "the type stands below its help");
                let known = figures.types.insert(name.to_owned(), kind.to_owned());
                assert!(known.is_none(), "typed twice: {name}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            } else {
                assert!(!line.starts_with('#'), "{line}");
                let (series, value) = line.rsplit_once(' ').expect("a value");
                let name = series.split('{').next().expect("a name");
                let base = match figures.types.get(&family).map(String::as_str) {
                    Some("histogram") => ["_bucket", "_sum", "_count"]
                        .iter()
                        .find_map(|suffix| name.strip_suffix(suffix))
                        .expect("a part of a histogram"),
                    Some(_) => name,
                    None => panic!("not typed: {line}"),
                };
                assert_eq!(base, family, "a series stands below its family");
                let value = value.parse().expect("a number");
                let known = figures.series.insert(series.to_owned(), value);
                assert!(known.is_none(), "written twice: {series}");
            }
        }
        let typed: BTreeSet<String> = figures.types.keys().cloned().collect();
        assert_eq!(typed, described);
        figures
    }
}
