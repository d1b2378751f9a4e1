//! Channel rules and guards: that their patterns can be read, and their conditions met.
//! Matching a channel against them is the authorizer's; here is what can be known before any request.

use super::check::Check;
use super::error::Why;
use super::raw::{RawGuard, RawRule};
use super::{Guard, Rule};

/// `[[auth.channels]]`, all mistakes noted.
pub(super) fn rules(check: &mut Check<'_>, raw: &[RawRule]) -> Vec<Rule> {
    raw.iter()
        .enumerate()
        .map(|(index, rule)| {
            let path = format!("auth.channels[{index}]");
            let channel = check.required(&format!("{path}.channel"), rule.channel.as_deref());
            let captured = captures_of_channel(check, &format!("{path}.channel"), &channel);
            let mut condition = |path: String, template: &str| {
                if let Some(captured) = &captured {
                    known_captures(check, path, template, &channel, captured);
                }
            };
            if let Some(user) = &rule.user {
                condition(format!("{path}.user"), user);
            }
            let claim = rule.claim.clone().unwrap_or_default();
            for (name, value) in &claim {
                condition(format!("{path}.claim.{name}"), value);
            }
            Rule {
                user: rule.user.clone(),
                roles: roles(check, &path, rule.roles.as_deref()),
                claim,
                channel,
            }
        })
        .collect()
}

/// `[[auth.guards]]`, all mistakes noted.
pub(super) fn guards(check: &mut Check<'_>, raw: &[RawGuard]) -> Vec<Guard> {
    raw.iter()
        .enumerate()
        .map(|(index, guard)| {
            let path = format!("auth.guards[{index}]");
            let channel = check.required(&format!("{path}.channel"), guard.channel.as_deref());
            captures_of_channel(check, &format!("{path}.channel"), &channel);
            Guard {
                channel,
                roles: roles(check, &path, guard.roles.as_deref()),
            }
        })
        .collect()
}

/// A list of roles that is there and empty would lock everybody out or let everybody in, depending on who
/// reads it; so it is refused.
fn roles(check: &mut Check<'_>, path: &str, roles: Option<&[String]>) -> Vec<String> {
    if roles.is_some_and(<[String]>::is_empty) {
        check.refuse(format!("{path}.roles"), Why::Empty);
    }
    roles.unwrap_or_default().to_vec()
}

/// The names captured, or nothing if the pattern cannot be read.
fn captures_of_channel(check: &mut Check<'_>, path: &str, channel: &str) -> Option<Vec<String>> {
    let captured = read_captures(channel).and_then(|names| {
        let repeated = names
            .iter()
            .enumerate()
            .find(|(index, name)| names[..*index].contains(name));
        match repeated {
            Some((_, name)) => Err(Why::RepeatedCapture {
                given: channel.to_owned(),
                name: name.clone(),
            }),
            None => Ok(names),
        }
    });
    captured
        .map_err(|why| check.refuse(path.to_owned(), why))
        .ok()
}

fn known_captures(
    check: &mut Check<'_>,
    path: String,
    template: &str,
    channel: &str,
    captured: &[String],
) {
    match read_captures(template) {
        Err(why) => check.refuse(path, why),
        Ok(names) => {
            if let Some(name) = names.into_iter().find(|name| !captured.contains(name)) {
                let channel = channel.to_owned();
                check.refuse(path, Why::UnknownCapture { name, channel });
            }
        }
    }
}

/// The names between braces, in order.
fn read_captures(pattern: &str) -> Result<Vec<String>, Why> {
    let given = || pattern.to_owned();
    let mut names = Vec::new();
    let mut rest = pattern;
    while let Some(brace) = rest.find(['{', '}']) {
        let inner = rest[brace..]
            .strip_prefix('{')
            .ok_or_else(|| Why::UnclosedCapture { given: given() })?;
        let (name, after) = inner
            .split_once('}')
            .filter(|(name, _)| !name.contains('{'))
            .ok_or_else(|| Why::UnclosedCapture { given: given() })?;
        if name.is_empty() {
            return Err(Why::UnnamedCapture { given: given() });
        }
        names.push(name.to_owned());
        rest = after;
    }
    Ok(names)
}
