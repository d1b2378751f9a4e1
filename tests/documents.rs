//! The documents say what is so: the README's limits are the embedded defaults, the features of Pusher have their tests,
//! the description of the API has the version and limits of the program, and every link leads somewhere.

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

/// The text of a document without its fenced blocks and without what stands in backticks.
fn prose(document: &str) -> String {
    let mut fenced = false;
    let mut prose = String::new();
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            // Every second part stands between backticks.
            let parts = line.split('`').enumerate();
            prose.extend(parts.map(|(n, part)| if n % 2 == 0 { part } else { "``" }));
            prose.push('\n');
        }
    }
    prose
}

/// Where the links of a document lead to within the repository, as they are written.
fn links(document: &str) -> Vec<String> {
    let prose = prose(document);
    let targets = prose.split("](").skip(1);
    targets
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .filter(|target| !target.contains("://"))
        .collect()
}

/// The anchors of a document's headings, as GitHub makes them: small letters and digits, dashes for spaces.
fn anchors(document: &str) -> Vec<String> {
    let mut fenced = false;
    let mut anchors: Vec<String> = Vec::new();
    for line in document.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        let Some((level, title)) = line.split_once(' ') else {
            continue;
        };
        if fenced || level.is_empty() || level.chars().any(|c| c != '#') {
            continue;
        }
        let kept = title.trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let before = anchors.iter().filter(|other| **other == anchor).count();
        anchors.push(match before {
            0 => anchor,
            n => format!("{anchor}-{n}"),
        });
    }
    anchors
}

#[test]
fn every_link_of_the_documents_leads_to_a_file_and_a_heading_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = vec![root.join("README.md"), root.join("ARCHITECTURE.md")];
    let pages = std::fs::read_dir(root.join("docs")).unwrap();
    documents.extend(pages.map(|page| page.unwrap().path()));
    documents.retain(|path| path.extension().is_some_and(|is| is == "md"));

    let mut followed = 0;
    let mut dead = Vec::new();
    for path in &documents {
        let text = std::fs::read_to_string(path).unwrap();
        for link in links(&text) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.with_file_name(file),
            };
            let is_there = target.exists()
                && (anchor.is_empty()
                    || anchors(&std::fs::read_to_string(&target).unwrap())
                        .iter()
                        .any(|heading| heading == anchor));
            if !is_there {
                dead.push(format!("{}: {link}", path.display()));
            }
            followed += 1;
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
    assert!(followed > 150, "links have been found: {followed}");
}

#[test]
fn the_index_of_the_documents_names_every_page() {
    let index = links(include_str!("../docs/README.md"));
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for page in std::fs::read_dir(docs).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let is_page = name.ends_with(".md") && name != "README.md";
        assert!(!is_page || index.contains(&name), "{name} is not named");
    }
}
