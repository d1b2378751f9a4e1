//! docs/configuration.md is made of config/default.toml and the structs of `raw`: the comment above a key says what it is
//! for, the structs know its type, and the checks, asked, which numbers they take. The tests here fail when the committed
//! page differs; `UPDATE_DOCS=1` has them write it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use toml::Table as TomlTable;

use super::layers::Slot;
use super::raw::{self, Keys, Kind, Raw, RawGuard, RawRule, RawWebhook, Table, join};
use super::{Config, variables};

const DEFAULTS: &str = include_str!("../../config/default.toml");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const BEGIN: &str = "<!-- generated from config/default.toml: begin -->\n";
const END: &str = "<!-- generated from config/default.toml: end -->\n";
const UPDATE: &str = "UPDATE_DOCS=1 cargo test --locked --lib the_page_of_settings_is_what";

/// A table of the file, with all that is told of it.
struct Section {
    /// As in `auth.channels`.
    name: String,
    about: String,
    entries: Vec<Entry>,
}

/// A key.
struct Entry {
    key: String,
    about: String,
    /// As it is written.
    value: String,
}

#[test]
fn the_page_of_settings_is_what_the_defaults_say() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("where it begins");
    let (_, after) = rest.split_once(END).expect("where it ends");
    let tables = render(&sections(DEFAULTS));
    let wanted = format!("{before}{BEGIN}{tables}{END}{after}");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, &wanted).unwrap();
        return;
    }
    assert!(
        page == wanted,
        "docs/configuration.md is not what config/default.toml and the code say; this writes it: {UPDATE}"
    );
}

#[test]
fn the_page_of_settings_has_every_key_that_is_accepted_and_no_other() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut section = "";
    let mut listed = BTreeSet::new();
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim_matches(['`', '[', ']']);
        } else if let Some((key, _)) = line
            .strip_prefix("| `")
            .and_then(|row| row.split_once("` |"))
        {
            assert!(listed.insert(join(section, key)), "twice: {section}.{key}");
        }
    }
    let mut known = Vec::new();
    raw::paths(Raw::KEYS, "", &mut known);
    let known: BTreeSet<String> = known
        .iter()
        .map(|path| path.replace("[0]", ""))
        .filter(|path| {
            let kind = kind_of(Raw::KEYS, path);
            !matches!(kind, Kind::Table(_) | Kind::Tables(_))
        })
        .collect();
    assert!(known.len() > 80, "{known:?}");
    assert_eq!(listed, known);
}

/// Reads the defaults as a reader does: a comment is about what stands right below it, and a key or table that is only
/// an example is one, too.
fn sections(defaults: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut at = 0;
    let mut about = String::new();
    for line in defaults.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = bare
            .strip_prefix('[')
            .and_then(|bare| bare.strip_suffix(']'))
        {
            let name = name.trim_matches(['[', ']']);
            let about = std::mem::take(&mut about);
            at = sections
                .iter()
                .position(|section| section.name == name)
                .unwrap_or_else(|| {
                    assert!(!about.is_empty(), "nothing says what [{name}] is for");
                    sections.push(Section {
                        name: name.to_owned(),
                        about,
                        entries: Vec::new(),
                    });
                    sections.len() - 1
                });
        } else if let Some((key, value)) = assignment(bare) {
            let about = std::mem::take(&mut about);
            let section = &mut sections[at];
            if section.entries.iter().any(|entry| entry.key == key) {
                assert!(
                    about.is_empty(),
                    "{}.{key} is explained twice",
                    section.name
                );
                continue;
            }
            assert!(
                !about.is_empty(),
                "nothing says what {}.{key} is for",
                section.name
            );
            section.entries.push(Entry {
                key: key.to_owned(),
                about,
                value: value.to_owned(),
            });
        } else if let Some(text) = line.strip_prefix("# ") {
            if !about.is_empty() {
                about.push(' ');
            }
            about.push_str(text);
        } else {
            // Of what stands above an empty line nothing is about the next key.
            assert!(line.is_empty() || line == "#", "not understood: {line}");
            about.clear();
        }
    }
    sections
}

/// `key = value`, unless it is prose.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(" = ")?;
    let is_key = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    (!key.is_empty() && key.bytes().all(is_key)).then_some((key, value))
}

fn render(sections: &[Section]) -> String {
    let mut page = String::new();
    for section in sections {
        let Section {
            name,
            about,
            entries,
        } = section;
        let is_list = matches!(kind_of(Raw::KEYS, name), Kind::Tables(_));
        let heading = match is_list {
            true => format!("[[{name}]]"),
            false => format!("[{name}]"),
        };
        // Those of the first app are variables, other lists come from files alone.
        let has_variables = !is_list || name == "apps";
        write!(page, "\n## `{heading}`\n\n{}\n\n", markdown(about)).unwrap();
        page += match has_variables {
            true => "| key | takes | default | what | also set by |\n|---|---|---|---|---|\n",
            false => "| key | takes | default | what |\n|---|---|---|---|\n",
        };
        for Entry { key, about, value } in entries {
            let path = join(name, key);
            let takes = takes(name, key, kind_of(Raw::KEYS, &path));
            let mut about = markdown(about);
            let default = match default_in_list(name, key) {
                None => code(value),
                Some(Some(default)) => code(&default),
                Some(None) => {
                    write!(about, " Example: {}", code(value)).unwrap();
                    "-".to_owned()
                }
            };
            write!(page, "| `{key}` | {takes} | {default} | {about} |").unwrap();
            match has_variables {
                true => writeln!(page, " {} |", others(name, key)).unwrap(),
                false => page.push('\n'),
            }
        }
    }
    page + "\n"
}

/// What a key is when it is left out of an entry of a list that files alone have; the outer `None` for other tables.
fn default_in_list(section: &str, key: &str) -> Option<Option<String>> {
    fn left_out<T: for<'de> Deserialize<'de> + Serialize>() -> TomlTable {
        TomlTable::try_from(T::deserialize(TomlTable::new()).unwrap()).unwrap()
    }
    let defaults = match section {
        "apps.webhooks" => left_out::<RawWebhook>(),
        "auth.channels" => left_out::<RawRule>(),
        "auth.guards" => left_out::<RawGuard>(),
        _ => return None,
    };
    Some(defaults.get(key).map(ToString::to_string))
}

/// The kind of the key with this path, lists by their name alone.
fn kind_of(keys: Keys, path: &str) -> Kind {
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let found = keys.iter().find(|(key, _)| *key == name);
    let (_, kind) = found.unwrap_or_else(|| panic!("no key is called {path}"));
    match kind {
        Kind::Table(keys) | Kind::Tables(keys) if !rest.is_empty() => kind_of(keys, rest),
        kind => *kind,
    }
}

/// What to write for the key; of a number, which ones the checks let pass.
fn takes(section: &str, key: &str, kind: Kind) -> String {
    match kind {
        Kind::Text => "text".into(),
        Kind::Flag => "true or false".into(),
        Kind::TextList => "list of texts".into(),
        Kind::TextMap => "table of texts".into(),
        Kind::Whole(max) => {
            let range = [0, max]
                .iter()
                .find_map(|number| range(section, key, *number));
            let all = (max < u64::from(u32::MAX)).then(|| format!("from 0 to {max}"));
            let range = range.or(all).map(|range| format!(" {range}"));
            format!("whole number{}", range.unwrap_or_default())
        }
        Kind::Table(_) | Kind::Tables(_) => panic!("{section}.{key} is a table"),
    }
}

/// What the checks say the number should be, if this one is not.
fn range(section: &str, key: &str, number: u64) -> Option<String> {
    let complaints = Config::from_toml(&alone(section, key, number)).err()?;
    let complaints = complaints.to_string();
    let about = format!(".{key} is {number}; it must be ");
    let range = complaints
        .lines()
        .find_map(|line| Some(line.split_once(&about)?.1));
    let range = range.unwrap_or_else(|| panic!("{section}.{key} = {number}: {complaints}"));
    Some(range.replace("at least", "from"))
}

/// A file with this one setting.
fn alone(section: &str, key: &str, number: u64) -> String {
    let app = "[[apps]]\nid = 'a'\nkey = 'k'\nsecret = 's'\n";
    match section {
        "apps" => format!("{app}{key} = {number}"),
        "apps.webhooks" => {
            format!("{app}[[apps.webhooks]]\nurl = 'https://a.example'\n{key} = {number}")
        }
        section => format!("{section}.{key} = {number}"),
    }
}

/// The variables and flags of a key.
fn others(section: &str, key: &str) -> String {
    let path = match section {
        "apps" => format!("apps[0].{key}"),
        section => join(section, key),
    };
    let slot = Slot::all(1).find(|(slot, _)| slot.path() == path);
    let (slot, _) = slot.unwrap_or_else(|| panic!("no variable sets {path}"));
    let mut names = vec![variables::variable(&slot)];
    for (slot, aliases) in variables::ALIASES {
        if slot.path() == path {
            names.extend(aliases.iter().map(ToString::to_string));
        }
    }
    if section == "server" && ["host", "port"].contains(&key) {
        names.push(format!("--{key}"));
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// A value in a cell.
fn code(value: &str) -> String {
    format!("`{}`", value.replace('|', "\\|"))
}

/// A comment in Markdown: what stands in quotes is code, pages are links, and no character means more than itself.
fn markdown(text: &str) -> String {
    let mut page = String::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            page += &code(&format!("\"{part}\""));
            continue;
        }
        for word in part.split_inclusive(' ') {
            match word
                .find("docs/")
                .and_then(|at| Some((at, word.find(".md")?)))
            {
                Some((at, end)) => {
                    let name = &word[at + "docs/".len()..end];
                    page += &format!("{}[{name}.md]({name}.md){}", &word[..at], &word[end + 3..]);
                }
                None => {
                    page += &word
                        .replace('*', "\\*")
                        .replace('|', "\\|")
                        .replace('<', "&lt;");
                }
            }
        }
    }
    page
}
