//! The documents say what is so: the README's limits are the embedded defaults, the features of Pusher have their tests,
//! and the description of the API has the version and limits of the program.

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

/// The proofs in a cell: `` `file::name` `` of a Rust test, or `` `file` "name" `` of a test of the clients.
fn proofs(cell: &str) -> Vec<(&str, &str)> {
    let mut rest = cell.trim();
    let mut proofs = Vec::new();
    while let Some((quoted, after)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        if let Some(proof) = quoted.split_once("::") {
            proofs.push(proof);
            rest = after;
        } else {
            let named = after
                .strip_prefix(" \"")
                .and_then(|name| name.split_once('"'));
            let (name, after) = named.unwrap_or_else(|| panic!("no test named in {cell}"));
            proofs.push((quoted, name));
            rest = after;
        }
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
    assert!(rest.is_empty(), "cannot be read: {rest}");
    proofs
}

/// Whether the function exists and an attribute stands before it, which no helper has.
fn has_test(source: &str, name: &str) -> bool {
    let declared = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines
        .windows(2)
        .any(|pair| pair[0].starts_with("#[") && pair[1].contains(&declared))
}

/// Looks up the proof in the last cell of every row of a document's tables that have one; gives how many there are.
fn prove(document: &str, cells_a_row: usize) -> usize {
    let mut found = 0;
    let mut in_proofs = false;
    for row in document.lines() {
        if !row.starts_with('|') {
            in_proofs = false;
            continue;
        }
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let Some(proof) = cells.last().filter(|_| cells.len() == cells_a_row) else {
            assert!(!in_proofs, "not {cells_a_row} cells: {row}");
            continue;
        };
        if *proof == "proof" {
            in_proofs = true;
            continue;
        }
        if !in_proofs || row.starts_with("|---") {
            continue;
        }
        let proofs = proofs(proof);
        assert!(!proofs.is_empty(), "no proof: {row}");
        for (file, name) in proofs {
            let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
            let source =
                std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("no file {file}: {row}"));
            let declared = match file.ends_with(".rs") {
                true => has_test(&source, name),
                false => source.contains(&format!("test(\"{name}\"")),
            };
            assert!(declared, "{file} has no test '{name}': {row}");
            found += 1;
        }
    }
    found
}

#[test]
fn every_feature_in_the_table_of_compatibility_has_a_test_that_exists() {
    let found = prove(include_str!("../docs/pusher-compatibility.md"), 3);
    assert!(found > 90, "the table has been read: {found}");
}

#[test]
fn every_promise_of_a_cluster_has_a_test_that_exists() {
    let found = prove(include_str!("../docs/cluster.md"), 2);
    assert!(found > 25, "the table has been read: {found}");
}

#[test]
fn every_promise_about_restarts_has_a_test_that_exists() {
    let found = prove(include_str!("../docs/operating.md"), 2);
    assert_eq!(found, 5, "the table has been read");
}

#[test]
fn every_promise_about_security_has_a_test_that_exists() {
    let found = prove(include_str!("../docs/security.md"), 2);
    assert!(found > 40, "the table has been read: {found}");
}

#[test]
fn the_description_of_the_api_has_the_version_and_the_limits_of_the_program() {
    let description = include_str!("../config/openapi.yaml");
    let version = concat!("\n  version: ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(description.contains(version));
    let defaults: toml::Table = include_str!("../config/default.toml").parse().unwrap();
    let limit = |name: &str| defaults["limits"][name].as_integer().unwrap();
    for (schema, expected) in [
        (
            "ChannelName",
            format!("maxLength: {}", limit("channel_name_chars")),
        ),
        (
            "ChannelNames",
            format!("maxItems: {}", limit("channels_per_event")),
        ),
        (
            "EventName",
            format!("maxLength: {}", limit("event_name_chars")),
        ),
        ("Data", format!("maxLength: {}", limit("event_data_bytes"))),
    ] {
        let heading = format!("\n    {schema}:\n");
        let (_, after) = description.split_once(&heading).unwrap();
        let body: Vec<&str> = after
            .lines()
            .take_while(|line| line.starts_with("      "))
            .collect();
        assert!(
            body.iter().any(|line| line.trim() == expected),
            "{schema}: {expected}"
        );
    }
    let batch = format!("maxItems: {}\n", limit("events_per_batch"));
    assert!(description.contains(&batch));
}
