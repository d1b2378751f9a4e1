//! The documents say what is so: the README's table of limits is that of the embedded defaults.

use std::collections::BTreeMap;

#[test]
fn the_readme_lists_every_limit_with_its_default() {
    let defaults: toml::Table = include_str!("../config/default.toml").parse().unwrap();
    let expected: BTreeMap<String, String> = defaults["limits"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect();
    let listed: BTreeMap<String, String> = include_str!("../README.md")
        .lines()
        .skip_while(|line| *line != "## Limits")
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(key, rest)| (key.to_owned(), rest.split(' ').next().unwrap().to_owned()))
        .collect();
    assert_eq!(listed, expected);
}
