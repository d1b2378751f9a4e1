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

#[cfg(test)]
mod tests {
    use crate::config::{Config, Rule};

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    fn rule(condition: &str) -> String {
        format!("[[auth.channels]]\nchannel = 'private-{{a}}.{{b}}'\n{condition}")
    }

    #[test]
    fn rules_of_a_file_take_the_place_of_the_defaults() {
        let config = Config::from_toml(&rule("user = '{a}'")).unwrap();
        let [Rule { channel, user, .. }] = &config.auth.channels[..] else {
            panic!("{:?}", config.auth.channels)
        };
        assert_eq!(
            (channel.as_str(), user.as_deref()),
            ("private-{a}.{b}", Some("{a}"))
        );
    }

    #[test]
    fn a_rule_without_conditions_is_one_for_every_valid_token() {
        let config = Config::from_toml(&rule("")).unwrap();
        let rule = &config.auth.channels[0];
        assert!(rule.user.is_none() && rule.roles.is_empty() && rule.claim.is_empty());
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused() {
        let channel =
            |pattern: &str| complaint(&format!("[[auth.channels]]\nchannel = '{pattern}'"));
        let at = "config:2:11: auth.channels[0].channel";
        for pattern in ["private-{user", "private-user}", "private-{a{b}"] {
            let said = format!("{at} is \"{pattern}\", where a {{ or }} has no partner");
            assert_eq!(channel(pattern), said);
        }
        assert_eq!(
            channel("private-{}"),
            format!("{at} is \"private-{{}}\", where a capture has no name between {{ and }}")
        );
        assert_eq!(
            channel("private-{a}.{a}"),
            format!("{at} is \"private-{{a}}.{{a}}\", which captures {{a}} twice")
        );
        assert_eq!(channel(""), format!("{at} is empty"));
        assert_eq!(
            complaint("[[auth.channels]]\nuser = '7'"),
            "config:1:1: auth.channels[0].channel is missing"
        );
    }

    #[test]
    fn a_condition_names_only_what_the_channel_captures() {
        assert_eq!(
            complaint(&rule(
                "user = '{c}'\nclaim = { rooms = '{d}', all = '{b}' }"
            )),
            "config:3:8: auth.channels[0].user names {c}, which \"private-{a}.{b}\" does not capture\n\
             config:4:19: auth.channels[0].claim.rooms names {d}, which \"private-{a}.{b}\" does not capture"
        );
    }

    #[test]
    fn roles_that_are_named_are_not_none() {
        assert_eq!(
            complaint(&rule("roles = []")),
            "config:3:9: auth.channels[0].roles is empty"
        );
    }

    #[test]
    fn guards_come_from_the_file() {
        let config =
            Config::from_toml("[[auth.guards]]\nchannel = 'admin'\nroles = ['admin']").unwrap();
        assert_eq!(config.auth.guards[0].channel, "admin");
        assert_eq!(config.auth.guards[0].roles, ["admin"]);
        assert_eq!(
            complaint("[[auth.guards]]\nroles = ['admin']"),
            "config:1:1: auth.guards[0].channel is missing"
        );
    }
}
